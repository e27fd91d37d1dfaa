//! What a worker tells operators and autoscalers of its backlog: nothing that waits is left out.

use std::path::Path;
use std::time::Duration;

use super::{full_batches, metric};
use crate::support::orders::messages;
use crate::support::subscriber::{depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};

const BOUND_BY_QUOTA: &str = "bulkrelease_backlog_bound{account=\"default\",by=\"quota\"} 1\n";
const BOUND_BY_WORKERS: &str = "bulkrelease_backlog_bound{account=\"default\",by=\"workers\"} 1\n";
const DRAIN: &str = "bulkrelease_drain_seconds{account=\"default\"}";
const USEFUL: &str = "bulkrelease_useful_workers{account=\"default\"}";

/// So many jobs of a call each in a broker of their own, and how a worker names it.
async fn jobs(count: usize, directory: &Path) -> (EmbeddedBroker, String) {
    let queue = directory.join("queue.db");
    let broker = EmbeddedBroker::open(&queue).expect("a new file");
    broker.declare().await.expect("declared");
    enqueue(&broker, messages(&full_batches(count))).await;
    (broker, format!("sqlite:{}", queue.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_wait_in_a_retry_queue_are_part_of_the_backlog_that_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, url) = jobs(3, directory.path()).await;
    let faults = vec!["service-unavailable".parse().expect("a fault rule")];
    let sandbox = Sandbox::start(SandboxSettings { faults, ..SandboxSettings::default() }).await.expect("a sandbox");
    let settings = WorkerSettings::new(&url, &sandbox, 10.0)
        .with("RETRY__STEPS", "[\"1h\"]")
        .with("RETRY__ATTEMPTS_IN_PROCESS", "1");
    let worker = Worker::start(&settings).await;
    let after = Duration::from_secs(3600);
    depth_becomes(&broker, Queue::Retry { after }, 3).await;
    worker.until("/metrics", 200, "bulkrelease_backlog_bound{account=\"default\",by=\"nothing\"} 1\n").await;
    // Once the depths are asked again.
    worker.until("/metrics", 200, BOUND_BY_QUOTA).await;
    // Three calls at ten a second, or a few times as many: the first ones failed.
    let drain = metric(&worker, DRAIN).await;
    assert!((0.3..=1.2).contains(&drain), "{drain} s");
    assert_eq!(metric(&worker, USEFUL).await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_a_worker_holds_back_for_want_of_room_are_part_of_the_backlog_that_is_told() {
    let directory = tempfile::tempdir().expect("a directory");
    let (broker, url) = jobs(100, directory.path()).await;
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let settings = WorkerSettings::new(&url, &sandbox, 1.0).with("WORKER__MAX_PENDING_IDS", "100");
    let worker = Worker::start(&settings).await;
    depth_becomes(&broker, Queue::Jobs, 0).await;
    sandbox.until_calls(1).await;
    worker.until("/metrics", 200, BOUND_BY_QUOTA).await;
    let drain = metric(&worker, DRAIN).await;
    assert!((80.0..=100.0).contains(&drain), "{drain} s at a call a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_as_many_slow_calls_as_it_may_make_says_that_more_workers_would_help() {
    for calls_per_second in ["100", "\"unlimited\""] {
        let directory = tempfile::tempdir().expect("a directory");
        let (_broker, url) = jobs(300, directory.path()).await;
        let latency = Duration::from_secs(1);
        let sandbox =
            Sandbox::start(SandboxSettings { latency, ..SandboxSettings::default() }).await.expect("a sandbox");
        let settings = WorkerSettings::new(&url, &sandbox, 1.0)
            .without("ACCOUNTS__DEFAULT__CALLS_PER_SECOND")
            .with("ACCOUNTS__DEFAULT__CALLS_PER_SECOND", calls_per_second);
        let worker = Worker::start(&settings).await;
        worker.until("/metrics", 200, BOUND_BY_WORKERS).await;
        // The first moments are not typical.
        tokio::time::sleep(latency * 5).await;
        let drain = metric(&worker, DRAIN).await;
        assert!(
            (6.0..25.0).contains(&drain),
            "{calls_per_second}: {drain} s for what is left of 300 calls at 16 a second"
        );
    }
}
