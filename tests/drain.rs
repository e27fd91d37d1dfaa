//! Stopping a worker as a service manager does: what was begun is finished, the rest goes back, and it is over in time.

use std::time::Duration;

use crate::support::orders::{messages, orders};
use crate::support::rabbitmq::{Configuration, Node};
use crate::support::results::{Results, each_id_was_asked_for_once, each_order_is_released_once};
use crate::support::subscriber::{PATIENCE, depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::Queue;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::config::BrokerSettings;
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use tokio::time::timeout;

/// What a process needs to end when its work is done.
const LAST_BREATH: Duration = Duration::from_secs(2);

fn broker(url: String) -> AmqpBroker {
    AmqpBroker::new(&BrokerSettings { url: Some(url), ..BrokerSettings::default() }).expect("valid settings")
}

/// An API that takes its time, so that calls are under way when the worker is stopped.
async fn sandbox(milliseconds: u64) -> Sandbox {
    let settings = SandboxSettings { latency: Duration::from_millis(milliseconds), ..SandboxSettings::default() };
    Sandbox::start(settings).await.expect("a sandbox")
}

async fn until_calls(sandbox: &Sandbox, count: u64) {
    timeout(PATIENCE, sandbox.until_calls(count)).await.expect("calls in time");
}

/// The number that stands after these words.
fn number_after(text: &str, words: &str) -> u64 {
    let rest = text.split_once(words).unwrap_or_else(|| panic!("{words:?} is missing in:\n{text}")).1;
    rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stopped_under_load_finishes_what_it_began_and_gives_back_the_rest() {
    const JOBS: usize = 400;
    let node = Node::shared().await;
    let url = node.virtual_host("load");
    let (broker, sandbox) = (broker(url.clone()), sandbox(300).await);
    let orders = orders(JOBS, 3);
    enqueue(&broker, messages(&orders)).await;
    let slow = WorkerSettings::new(&url, &sandbox, 10.0)
        .with("WORKER__DRAIN_DEADLINE", "15s")
        .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "3s");
    let mut worker = Worker::start(&slow).await;
    // The tenth call is decided, and not answered yet.
    until_calls(&sandbox, 10).await;
    worker.terminate();
    let ended = worker.ended(Duration::from_secs(15) + LAST_BREATH).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);

    let taken = number_after(&ended.errors, "took ");
    let answered = number_after(&ended.errors, " deliveries and answered ");
    let given_back = number_after(&ended.errors, "; gave ");
    assert_eq!(taken, answered + given_back, "{}", ended.errors);
    assert!(given_back > 0 && answered > 0, "{}", ended.errors);
    assert!(!ended.errors.contains("ran out of time"), "{}", ended.errors);
    // Nothing is held any more: what has no result is in the queue again.
    depth_becomes(&broker, Queue::Results, answered).await;
    depth_becomes(&broker, Queue::Jobs, JOBS as u64 - answered).await;

    let mut second = Worker::start(&WorkerSettings::new(&url, &sandbox, 100.0)).await;
    let mut results = Results::of(&broker);
    results.until_jobs(JOBS).await;
    second.terminate();
    assert_eq!(second.ended(PATIENCE).await.code, Some(0));
    each_order_is_released_once(&orders, &results.close().await);
    each_id_was_asked_for_once(&orders, &sandbox.ledger());
    for queue in Queue::ALL {
        depth_becomes(&broker, queue, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_worker_stops_at_once() {
    let node = Node::shared().await;
    let sandbox = sandbox(300).await;
    let mut worker = Worker::start(&WorkerSettings::new(&node.virtual_host("idle"), &sandbox, 10.0)).await;
    worker.until("/readyz", 200, "ok").await;
    worker.terminate();
    // A tenth of the deadline.
    let ended = worker.ended(Duration::from_millis(2500)).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert_eq!(number_after(&ended.errors, "; gave "), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_never_reached_the_broker_stops_as_well() {
    let sandbox = sandbox(300).await;
    let [nobody_listens] = crate::support::rabbitmq::free_ports();
    let url = format!("amqp://127.0.0.1:{nobody_listens}");
    let mut worker = Worker::start(&WorkerSettings::new(&url, &sandbox, 10.0)).await;
    worker.until("/readyz", 503, &format!("can't reach the broker at {url}")).await;
    worker.terminate();
    let ended = worker.ended(Duration::from_secs(25) + LAST_BREATH).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_stops_in_time_though_the_broker_blocks_its_results_and_nothing_is_lost() {
    const JOBS: usize = 200;
    let node = Node::start(&Configuration::default()).await;
    let (broker, sandbox) = (broker(node.url()), sandbox(20).await);
    let orders = orders(JOBS, 4);
    enqueue(&broker, messages(&orders)).await;
    let blocked = WorkerSettings::new(&node.url(), &sandbox, 10.0)
        .with("WORKER__DRAIN_DEADLINE", "5s")
        .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "1s")
        .with("RETRY__INITIAL_INTERVAL", "100ms");
    let mut worker = Worker::start(&blocked).await;
    worker.until("/readyz", 200, "ok").await;
    node.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    worker.until("/readyz", 503, "blocks publishing").await;
    let calls = sandbox.counts().calls;
    until_calls(&sandbox, calls + 5).await;
    worker.terminate();
    let ended = worker.ended(Duration::from_secs(5) + LAST_BREATH).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(number_after(&ended.errors, "calls and ") > 0, "{}", ended.errors);

    node.control(&["set_vm_memory_high_watermark", "0.4"]);
    let settings = WorkerSettings::new(&node.url(), &sandbox, 400.0).with("RETRY__INITIAL_INTERVAL", "100ms");
    let mut second = Worker::start(&settings).await;
    let mut results = Results::of(&broker);
    results.until_jobs(JOBS).await;
    second.terminate();
    assert_eq!(second.ended(PATIENCE).await.code, Some(0));
    let results = results.close().await;
    let ledger = sandbox.ledger();
    for order in &orders {
        assert!(results[&order.job].iter().all(|result| result.result_id == results[&order.job][0].result_id));
        assert!(order.ids.iter().all(|id| ledger.released.contains_key(id.as_str())), "{order:?}");
    }
    assert_eq!(ledger.released.len(), orders.iter().map(|order| order.ids.len()).sum::<usize>());
    depth_becomes(&broker, Queue::Jobs, 0).await;
}
