//! Crashes in the middle of the main job: the worker is killed three times, the broker once. At-least-once is the promise:
//! nothing is lost, nothing is released unasked, and whatever comes twice can be told by its `ResultId`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::support::orders::{Order, messages, orders};
use crate::support::rabbitmq::{Configuration, Node};
use crate::support::results::{Results, disagreements, outcomes};
use crate::support::subscriber::{PATIENCE, depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{JobResult, Outcome};
use bulkrelease::sandbox::{Ledger, Sandbox, SandboxSettings};
use tokio::time::{sleep, timeout};

const JOBS: usize = 2000;
const CALLS_PER_SECOND: f64 = 300.0;

/// A crash of the broker within a second of declaring a quorum queue may lose confirmed messages, whoever the client is.
const QUEUE_IS_SAFE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
async fn crashes_of_the_worker_and_of_the_broker_lose_no_job_and_release_nothing_unasked() {
    let mut node = Node::start(&Configuration::default()).await;
    let broker = AmqpBroker::new(&BrokerSettings { url: Some(node.url()), ..BrokerSettings::default() }).unwrap();
    let settings = SandboxSettings {
        calls_per_second: Some(CALLS_PER_SECOND),
        latency: Duration::from_millis(20),
        ..SandboxSettings::default()
    };
    let sandbox = Sandbox::start(settings).await.unwrap();
    let orders = orders(JOBS, 2);
    enqueue(&broker, messages(&orders)).await;
    sleep(QUEUE_IS_SAFE).await;
    let mut reading = Results::of(&broker);
    let reading = tokio::spawn(async move {
        reading.until_jobs(JOBS).await;
        reading.close().await
    });

    let settings = WorkerSettings::new(&node.url(), &sandbox, CALLS_PER_SECOND);
    let mut worker = Worker::start(&settings).await;
    for more in [40, 60, 80] {
        until_calls(&sandbox, sandbox.counts().calls + more).await;
        worker.kill();
        println!("worker killed: {:?}", sandbox.counts());
        worker = Worker::start(&settings).await;
    }
    until_calls(&sandbox, sandbox.counts().calls + 80).await;
    println!("broker killed: {:?}", sandbox.counts());
    node.kill();
    node.restart().await;

    let results = reading.await.unwrap();
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    // Whatever was published again after the last job's first result.
    let repeats_left = broker.depth(Queue::Results).await.unwrap();
    depth_becomes(&broker, Queue::Jobs, 0).await;
    depth_becomes(&broker, Queue::Unrouted, 0).await;
    let ledger = sandbox.ledger();
    println!(
        "{} calls, {} throttled, {} refused; {} results came twice, {repeats_left} more after the end; {} dead letters",
        ledger.counts.calls,
        ledger.counts.throttled,
        ledger.counts.refused,
        results.values().map(|results| results.len() - 1).sum::<usize>(),
        broker.depth(Queue::Dead).await.unwrap(),
    );
    println!("outcomes in first results: {:?}", outcomes(&results));
    println!("{} ids are presumed to be released by a call before a crash", presumed(&results));
    judge(&orders, &results, &ledger);
}

async fn until_calls(sandbox: &Sandbox, count: u64) {
    timeout(PATIENCE, sandbox.until_calls(count)).await.expect("calls in time");
}

fn presumed(results: &BTreeMap<String, Vec<JobResult>>) -> usize {
    results.values().flat_map(|results| &results[0].instances).filter(|instance| instance.presumed).count()
}

fn judge(orders: &[Order], results: &BTreeMap<String, Vec<JobResult>>, ledger: &Ledger) {
    assert_eq!(disagreements(orders, results, ledger, |_| false), Vec::<String>::new());
    // For each id, whether each of its results says that it is gone.
    let mut said: HashMap<&str, Vec<bool>> = HashMap::new();
    for results in results.values() {
        for result in results {
            assert_eq!(result.result_id, results[0].result_id, "a repeat of {}", result.job_id);
            for instance in &result.instances {
                let gone = matches!(instance.outcome, Outcome::Released | Outcome::AlreadyGone);
                assert!(gone || instance.outcome == Outcome::Unresolved, "{instance:?}");
                said.entry(instance.instance_id.as_str()).or_default().push(gone);
            }
        }
    }
    for id in ledger.released_ids() {
        assert!(said[id].contains(&true), "{id} is released and no result says so");
    }
}
