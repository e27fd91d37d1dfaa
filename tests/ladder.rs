//! The retry ladder, with real brokers and a worker of its own process: what can't be settled in the worker waits in the
//! broker, comes back, and ends in one result that lists every id.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::orders::{Order, messages, orders};
use crate::support::rabbitmq::Node;
use crate::support::results::{Results, each_id_was_asked_for_once, each_order_is_released_once, lists_the_ids_of};
use crate::support::subscriber::{PATIENCE, delivery, depth_becomes, enqueue, take};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{JobResult, Message, Outcome, Properties, REMAINDER_KIND, header};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use jiff::Timestamp;

/// The retry steps of every worker here.
const STEPS: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// A broker for a test, and how a worker names it.
struct House {
    broker: Box<dyn Broker>,
    url: String,
    /// It lives as long as somebody holds it.
    _node: Arc<Node>,
}

/// On RabbitMQ, and on a file in this directory.
async fn houses(name: &str, directory: &Path) -> [House; 2] {
    let node = Node::shared().await;
    let url = node.virtual_host(name);
    let settings = BrokerSettings { url: Some(url.clone()), ..BrokerSettings::default() };
    let amqp = AmqpBroker::new(&settings).expect("valid settings").with_steps(&STEPS);
    let file = directory.join("queue.db");
    let embedded = EmbeddedBroker::open(&file).expect("a new file");
    let houses = [
        House { broker: Box::new(amqp), url, _node: Arc::clone(&node) },
        House { broker: Box::new(embedded), url: format!("sqlite:{}", file.display()), _node: node },
    ];
    for house in &houses {
        house.broker.declare().await.expect("declared");
    }
    houses
}

impl House {
    /// A worker that retries fast, so that a test need not wait.
    fn worker(&self, sandbox: &Sandbox, calls_per_second: f64) -> WorkerSettings {
        WorkerSettings::new(&self.url, sandbox, calls_per_second)
            .with("RETRY__STEPS", "[\"100ms\", \"400ms\"]")
            .with("RETRY__INITIAL_INTERVAL", "10ms")
            .with("RETRY__MAX_INTERVAL", "50ms")
    }

    /// Stops a worker and waits until nothing is left to do.
    async fn is_done(&self, mut worker: Worker) {
        worker.terminate();
        let ended = worker.ended(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        for queue in [Queue::Jobs, Queue::Unrouted].into_iter().chain(STEPS.map(|after| Queue::Retry { after })) {
            depth_becomes(&*self.broker, queue, 0).await;
        }
    }

    async fn results(&self, count: usize) -> std::collections::BTreeMap<String, Vec<JobResult>> {
        let mut results = Results::of(&*self.broker);
        results.until_jobs(count).await;
        results.close().await
    }

    async fn dead_letter(&self) -> Message {
        let mut subscription = self.broker.subscribe(Queue::Dead, 10);
        let letter = delivery(&mut subscription).await;
        subscription.settle(take(&letter));
        subscription.close(PATIENCE).await;
        letter.message
    }
}

fn sandbox_with(faults: &[&str]) -> SandboxSettings {
    let faults = faults.iter().map(|fault| fault.parse().expect("a fault rule")).collect();
    SandboxSettings { faults, ..SandboxSettings::default() }
}

/// The value of a series on a worker's metrics page.
async fn metric(worker: &Worker, series: &str) -> f64 {
    let (_, page) = worker.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_outlive_an_api_that_is_down_for_longer_than_a_worker_tries() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("down", directory.path()).await {
        let sandbox = Sandbox::start(sandbox_with(&["service-unavailable until=3s"])).await.expect("a sandbox");
        let orders = orders(20, 5);
        enqueue(&*house.broker, messages(&orders)).await;
        let settings = house.worker(&sandbox, 400.0).with("RETRY__ATTEMPTS_IN_PROCESS", "2");
        let worker = Worker::start(&settings.with("RETRY__MAX_ATTEMPTS", "1000")).await;
        let results = house.results(orders.len()).await;
        let mut postponed = 0.0;
        // For calls that failed, and because the account was held then.
        for why in ["failed", "held"] {
            postponed += metric(&worker, &format!("bulkrelease_jobs_postponed_total{{why=\"{why}\"}}")).await;
        }
        let back = metric(&worker, "bulkrelease_jobs_received_total{kind=\"remainder\",redelivered=\"false\"}").await;
        println!("{}: {postponed} postponed, {back} remainders came back", house.url);
        assert!(postponed > 0.0 && postponed == back);
        house.is_done(worker).await;
        each_order_is_released_once(&orders, &results);
        depth_becomes(&*house.broker, Queue::Dead, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_the_quota_can_not_serve_in_time_is_parked_and_finishes_with_no_call_too_many() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("parked", directory.path()).await {
        let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
        // One that a delivery has no time for, and others that have no room beside it.
        let order = |job: usize, first: usize, count: usize| {
            let ids = (first..first + count).map(|n| format!("i-{n}")).collect();
            Order { job: format!("job-{job}"), group: 0, ids }
        };
        let orders: Vec<_> =
            [order(0, 0, 2500)].into_iter().chain((1..=15).map(|n| order(n, 2400 + 100 * n, 100))).collect();
        enqueue(&*house.broker, messages(&orders)).await;
        // Forty calls at twenty-two a second, of which a delivery may take one second.
        let settings = house
            .worker(&sandbox, 22.0)
            .with("WORKER__MAX_HOLD", "1s")
            .with("WORKER__MAX_WAIT", "500ms")
            .with("WORKER__MAX_PENDING_IDS", "200")
            .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "900ms");
        let worker = Worker::start(&settings).await;
        let results = house.results(orders.len()).await;
        let parked = metric(&worker, "bulkrelease_jobs_postponed_total{why=\"parked\"}").await;
        println!("{}: parked {parked} times", house.url);
        assert!(parked > 5.0);
        house.is_done(worker).await;
        each_order_is_released_once(&orders, &results);
        each_id_was_asked_for_once(&orders, &sandbox.ledger());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_permit_is_left_unused_though_all_jobs_that_came_together_are_held_for_too_long() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("together", directory.path()).await {
        let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
        let ids = |job: usize| (0..100).map(|n| format!("i-{job}-{n}")).collect();
        let orders: Vec<_> = (0..100).map(|job| Order { job: format!("job-{job}"), group: 0, ids: ids(job) }).collect();
        enqueue(&*house.broker, messages(&orders)).await;
        // Five seconds of calls, of which a delivery may take two. On the last step nothing would be left to call for a minute.
        let settings = house
            .worker(&sandbox, 20.0)
            .with("RETRY__STEPS", "[\"100ms\", \"400ms\", \"1m\"]")
            .with("WORKER__MAX_HOLD", "2s")
            .with("WORKER__MAX_WAIT", "500ms")
            .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "900ms");
        let worker = Worker::start(&settings).await;
        let results = house.results(orders.len()).await;
        let parked = metric(&worker, "bulkrelease_jobs_postponed_total{why=\"parked\"}").await;
        let idle = metric(&worker, "bulkrelease_permits_idle_total{account=\"default\"}").await;
        println!("{}: parked {parked} times, {idle} permits unused", house.url);
        // On the last step they would wait for 1200; on a busy machine some fall due while a broker is slow.
        assert!(parked > 30.0 && idle <= 300.0, "{parked} {idle}");
        house.is_done(worker).await;
        each_order_is_released_once(&orders, &results);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_fail_again_and_again_end_in_one_result_and_a_dead_letter_that_tells_the_whole_way() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("given-up", directory.path()).await {
        let sandbox = Sandbox::start(sandbox_with(&["internal-error ids=i-bad-*"])).await.expect("a sandbox");
        let ids = |word: &str, count| (0..count).map(|n| format!("i-{word}-{n}")).collect::<Vec<_>>();
        let begun = Timestamp::now();
        // The good ones travel with the bad ones, and fail with them.
        let order = Order { job: "mixed".to_owned(), group: 0, ids: [ids("bad", 3), ids("good", 150)].concat() };
        enqueue(&*house.broker, vec![order.message()]).await;
        let settings = house.worker(&sandbox, 100.0).with("RETRY__ATTEMPTS_IN_PROCESS", "2");
        let worker = Worker::start(&settings.with("RETRY__MAX_ATTEMPTS", "5")).await;
        let results = house.results(1).await;
        let [result] = &results["mixed"][..] else { panic!("{} results", results["mixed"].len()) };
        lists_the_ids_of(&order, result);
        assert_eq!((result.counts.unresolved, result.counts.released), (100, 53), "{:?}", result.counts);
        assert_eq!(result.attempts, 5);
        assert!(result.received_at < result.finished_at - STEPS[0]);

        let letter = house.dead_letter().await;
        let headers = &letter.properties.headers;
        println!("{}: {headers:?}", house.url);
        for (name, value) in [
            (header::REASON, "Unresolved"),
            (header::CLASS, "unknown"),
            (header::CODE, "InternalError"),
            (header::ATTEMPTS, "5"),
            (header::ORIGIN, "release.jobs"),
        ] {
            assert_eq!(headers.get(name).map(String::as_str), Some(value), "{name}");
        }
        let time = |name: &str| headers[name].parse::<Timestamp>().expect("a time");
        let (first, last) = (time(header::FIRST_FAILURE), time(header::LAST_FAILURE));
        assert!(begun < first && first < last - STEPS[0] - STEPS[1], "from {first} to {last}");
        let fingerprint = &headers[header::FINGERPRINT];
        let series = format!("bulkrelease_dead_letters_total{{fingerprint=\"{fingerprint}\",reason=\"Unresolved\"}}");
        assert_eq!(metric(&worker, &series).await, 1.0);
        let body: serde_json::Value = serde_json::from_slice(&letter.body).expect("a job");
        assert_eq!(body["InstanceIds"].as_array().map(Vec::len), Some(100));
        assert_eq!(body["SuspectIds"], body["InstanceIds"]);
        house.is_done(worker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lone_job_that_fails_again_and_again_is_given_up_on_and_does_not_pass_for_an_outage() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("lone", directory.path()).await {
        let sandbox = Sandbox::start(sandbox_with(&["internal-error ids=i-bad-*"])).await.expect("a sandbox");
        let order = Order { job: "lone".to_owned(), group: 0, ids: (0..3).map(|n| format!("i-bad-{n}")).collect() };
        enqueue(&*house.broker, vec![order.message()]).await;
        // More than the failures after which the API would count as down.
        let settings = house.worker(&sandbox, 100.0).with("RETRY__ATTEMPTS_IN_PROCESS", "4");
        let worker = Worker::start(&settings.with("RETRY__MAX_ATTEMPTS", "8")).await;
        let results = house.results(1).await;
        let [result] = &results["lone"][..] else { panic!("{} results", results["lone"].len()) };
        assert_eq!((result.counts.unresolved, result.attempts), (3, 8));
        let letter = house.dead_letter().await;
        assert_eq!(letter.properties.headers.get(header::ATTEMPTS).map(String::as_str), Some("8"));
        assert_eq!(metric(&worker, "bulkrelease_jobs_postponed_total{why=\"held\"}").await, 0.0);
        house.is_done(worker).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_costs_a_query_and_not_a_call_for_each_id() {
    let directory = tempfile::tempdir().expect("a directory");
    let [house, _] = houses("read-back", directory.path()).await;
    let sandbox = Sandbox::start(sandbox_with(&["reset lands=true until=1s"])).await.expect("a sandbox");
    let ids = (0..300).map(|n| format!("i-{n}")).collect();
    let orders = [Order { job: "lost".to_owned(), group: 0, ids }];
    enqueue(&*house.broker, messages(&orders)).await;
    let worker = Worker::start(&house.worker(&sandbox, 100.0).with("ACCOUNTS__DEFAULT__READ_BACK", "true")).await;
    let result = house.results(1).await.remove("lost").expect("a result").remove(0);
    house.is_done(worker).await;
    let counts = sandbox.counts();
    println!("{} calls and {} queries for 300 ids whose every answer was lost at first", counts.calls, counts.queries);
    lists_the_ids_of(&orders[0], &result);
    assert_eq!(result.counts.released, 300);
    let presumed = result.instances.iter().filter(|instance| instance.presumed).count();
    assert!(presumed >= 100 && presumed.is_multiple_of(100), "{presumed}");
    // Of those whose answer was not lost.
    let answered = counts.calls - counts.faults.values().sum::<u64>();
    assert!(counts.queries > 0 && answered + counts.queries <= 15, "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_must_stop_in_the_middle_of_a_job_sends_on_what_it_knows() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("stopped", directory.path()).await {
        let sandbox =
            Sandbox::start(sandbox_with(&["hang lands=true ids=i-0 hang_for=60s until=6s"])).await.expect("a sandbox");
        let ids = (0..150).map(|n| format!("i-{n}")).collect();
        let order = Order { job: "half".to_owned(), group: 0, ids };
        enqueue(&*house.broker, vec![order.message()]).await;
        let settings = house
            .worker(&sandbox, 100.0)
            .with("ACCOUNTS__DEFAULT__READ_BACK", "true")
            .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "1s")
            .with("WORKER__DRAIN_DEADLINE", "500ms");
        let mut first = Worker::start(&settings).await;
        first.until("/metrics", 200, "class=\"released\",operation=\"ReleaseInstance\"} 1").await;
        first.terminate();
        let ended = first.ended(PATIENCE).await;
        assert!(ended.errors.contains("postponed 1 jobs"), "{}", ended.errors);

        let second = Worker::start(&settings).await;
        let result = house.results(1).await.remove("half").expect("a result").remove(0);
        house.is_done(second).await;
        lists_the_ids_of(&order, &result);
        let outcomes = |presumed| {
            let alike =
                result.instances.iter().filter(|one| one.outcome == Outcome::Released && one.presumed == presumed);
            alike.count()
        };
        assert_eq!((outcomes(false), outcomes(true)), (50, 100));
        let ledger = sandbox.ledger();
        let asked = ledger.times_asked();
        assert!((100..150).all(|n| asked[format!("i-{n}").as_str()] == 1), "what was settled was called again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remainder_that_can_not_be_read_is_a_dead_letter_byte_for_byte() {
    let directory = tempfile::tempdir().expect("a directory");
    for house in houses("malformed", directory.path()).await {
        let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
        let body = br#"{"Job":{"JobId":"j"},"Settled":[]} "#.to_vec();
        let properties = Properties { kind: Some(REMAINDER_KIND.to_owned()), ..Properties::default() };
        enqueue(&*house.broker, vec![Message { body: body.clone(), properties }]).await;
        let worker = Worker::start(&house.worker(&sandbox, 100.0)).await;
        let letter = house.dead_letter().await;
        assert_eq!(letter.body, body);
        assert_eq!(letter.properties.headers[header::REASON], "Malformed");
        house.is_done(worker).await;
        assert_eq!(sandbox.counts().calls, 0);
    }
}
