//! An account that the API refuses: its jobs wait unharmed, others go on, and everything resumes by itself.

use std::time::Duration;

use super::{STEP, full_batches, house, metric};
use crate::support::orders::messages;
use crate::support::rabbitmq::Node;
use crate::support::results::{Results, each_order_is_released_once};
use crate::support::subscriber::{PATIENCE, depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::Queue;
use bulkrelease::contract::{Message, Properties};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use serde_json::json;
use tokio::time::Instant;

const HELD: &str = "bulkrelease_jobs_postponed_total{why=\"held\"}";

/// What a sandbox that may be told so does from here on.
async fn tell(sandbox: &Sandbox, faults: &str) {
    // Whoever came first has chosen the same.
    rustls::crypto::ring::default_provider().install_default().ok();
    let url = format!("http://{}/_sandbox/faults", sandbox.address());
    let answer = reqwest::Client::new().put(url).body(faults.to_owned()).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{answer:?}");
}

/// Revokes the key in the middle of a run, for so long and until another account's job was called.
async fn a_key_is_revoked(name: &str, revoked_for: Duration) {
    let node = Node::shared().await;
    let (broker, url) = house(&node, name).await;
    let settings = SandboxSettings { admin: true, ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    let other = Sandbox::start(SandboxSettings::default()).await.expect("another sandbox");
    let orders = full_batches(200);
    enqueue(&broker, messages(&orders)).await;
    let settings = WorkerSettings::new(&url, &sandbox, 20.0)
        .with("ACCOUNTS__OTHER__ENDPOINT", &format!("http://{}", other.address()))
        .with("ACCOUNTS__OTHER__CALLS_PER_SECOND", "100")
        .with("RETRY__STEPS", "[\"1s\"]")
        .with("RETRY__MAX_INTERVAL", "2s");
    let mut worker = Worker::start(&settings).await;
    tokio::time::timeout(PATIENCE, sandbox.until_calls(20)).await.expect("calls");

    tell(&sandbox, r#"[{"answer":"key-inactive"}]"#).await;
    let revoked = Instant::now();
    worker.until("/readyz", 503, "InvalidAccessKeyId.Inactive").await;
    worker.until("/readyz", 503, "enable it, or give another one").await;
    let series = "bulkrelease_account_problem{account=\"default\",code=\"InvalidAccessKeyId.Inactive\"} 1";
    worker.until("/metrics", 200, series).await;
    // The other account of the same queue goes on meanwhile.
    let body = json!({
        "JobId": "other", "Account": "other", "ProductCode": "ecs", "SubscriptionType": "PayAsYouGo",
        "InstanceIds": ["i-other"],
    });
    let job = Message { body: body.to_string().into_bytes(), properties: Properties::default() };
    enqueue(&broker, vec![job]).await;
    tokio::time::timeout(PATIENCE, other.until_calls(1)).await.expect("a call of the other account");
    assert_eq!(metric(&worker, "bulkrelease_account_held{account=\"default\"}").await, 1.0);
    tokio::time::sleep_until(revoked + revoked_for).await;
    let held = metric(&worker, HELD).await;
    let calls = sandbox.counts();
    tell(&sandbox, "[]").await;
    let mended = Instant::now();
    while sandbox.counts().accepted == calls.accepted {
        assert!(mended.elapsed() < PATIENCE, "nothing is called again: {}", worker.errors());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let resumed = mended.elapsed();
    worker.until("/readyz", 200, "").await;

    let mut results = Results::of(&broker);
    results.until_jobs(orders.len() + 1).await;
    let mut results = results.close().await;
    let done = mended.elapsed();
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    println!(
        "revoked for {revoked_for:?} after {} calls: {} calls in vain, {held} jobs parked; called again {resumed:?} after it was \
         mended, the other {} jobs done after {done:?}",
        calls.accepted,
        calls.faults.values().sum::<u64>(),
        orders.len() as u64 - calls.accepted,
    );
    assert!(held > 0.0);
    results.remove("other").expect("the other account's result");
    each_order_is_released_once(&orders, &results);
    for queue in [Queue::Dead, Queue::Jobs, Queue::Unrouted, Queue::Retry { after: STEP }] {
        depth_becomes(&broker, queue, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_costs_no_job_and_holds_up_no_other_account() {
    a_key_is_revoked("revoked", Duration::from_secs(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and a half: tests/fleet/run"]
async fn a_key_that_is_revoked_for_a_minute_costs_no_job() {
    a_key_is_revoked("revoked-long", Duration::from_secs(60)).await;
}
