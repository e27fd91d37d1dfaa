//! The main job: many small release jobs of many groups, one quota. Everything is real but the API: the worker is a process
//! of its own, RabbitMQ a private node with quorum queues.
//!
//! `BULKRELEASE_TEST_RATE` chooses the quota in calls a second (default 200).

use std::time::Duration;

use crate::support::orders::{GROUPS, fewest_calls, messages, orders};
use crate::support::rabbitmq::Node;
use crate::support::results::{Results, each_id_was_asked_for_once, each_order_is_released_once};
use crate::support::subscriber::{PATIENCE, depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::Queue;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::MAX_IDS_PER_CALL;
use bulkrelease::sandbox::{Ledger, Sandbox, SandboxSettings};

const JOBS: usize = 10_000;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_cost_the_fewest_calls_at_the_full_quota_and_get_one_result_each() {
    let rate: f64 = std::env::var("BULKRELEASE_TEST_RATE").map_or(200.0, |rate| rate.parse().unwrap());
    let node = Node::shared().await;
    let broker = AmqpBroker::new(&BrokerSettings { url: Some(node.url()), ..BrokerSettings::default() }).unwrap();
    let latency = Duration::from_millis(20);
    let settings = SandboxSettings { calls_per_second: Some(rate), latency, ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.unwrap();
    let orders = orders(JOBS, 1);
    enqueue(&broker, messages(&orders)).await;

    let mut worker = Worker::start(&WorkerSettings::new(&node.url(), &sandbox, rate)).await;
    let mut results = Results::of(&broker);
    results.until_jobs(JOBS).await;
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);

    let ledger = sandbox.ledger();
    let (calls, fewest) = (ledger.calls.len(), fewest_calls(&orders));
    let measured = saturated_rate(&ledger);
    println!(
        "{} ids in {JOBS} jobs of {} groups: {calls} calls where {fewest} are the fewest (+{:.2} %)",
        ledger.released.len(),
        GROUPS.len(),
        (calls as f64 / fewest as f64 - 1.0) * 100.0
    );
    println!("{measured:.2} calls a second of {rate} ({:.2} %), measured by the API", measured / rate * 100.0);
    let pauses = ledger.calls.windows(2).map(|calls| calls[1].at - calls[0].at);
    let late = pauses.clone().filter(|pause| pause.as_secs_f64() > 2.0 / rate).count();
    println!("{late} pauses above two periods, the longest {:?}", pauses.max().unwrap());
    println!("{} throttled", ledger.counts.throttled);

    let read = results.close().await;
    each_order_is_released_once(&orders, &read);
    each_id_was_asked_for_once(&orders, &ledger);
    // A second result of any job would be waiting here.
    for queue in Queue::ALL {
        depth_becomes(&broker, queue, 0).await;
    }
    assert_eq!(ledger.counts.throttled, 0);
    assert!(calls as f64 <= fewest as f64 * 1.02, "{calls} calls where {fewest} would do");
    // Only the upper side: below it, this machine may be to blame.
    assert!(measured <= rate * 1.01, "{measured} calls a second");
}

/// Calls a second while there was work for full batches: up to where the groups began to run out.
fn saturated_rate(ledger: &Ledger) -> f64 {
    let full = |index: &usize| ledger.calls[*index].call.instance_ids.len() == MAX_IDS_PER_CALL;
    let full: Vec<usize> = (0..ledger.calls.len()).filter(full).collect();
    let (first, last) = (full[0], full[full.len() - 1 - GROUPS.len()]);
    (last - first) as f64 / (ledger.calls[last].at - ledger.calls[first].at).as_secs_f64()
}
