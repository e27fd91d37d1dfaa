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

const HELD: &str = "bulkrelease_jobs_postponed_total{why=\"held\"}";

/// Revokes the key from three seconds after the start for so long, with twenty calls a second around it.
async fn a_key_is_revoked(name: &str, revoked_for: Duration) {
    let node = Node::shared().await;
    let (broker, url) = house(&node, name).await;
    let until = Duration::from_secs(3) + revoked_for;
    let fault = format!("key-inactive from=3s until={}ms", until.as_millis()).parse().expect("a fault rule");
    let sandbox = Sandbox::start(SandboxSettings { faults: vec![fault], ..SandboxSettings::default() }).await;
    let sandbox = sandbox.expect("a sandbox");
    let other = Sandbox::start(SandboxSettings::default()).await.expect("another sandbox");
    let orders = full_batches(300);
    enqueue(&broker, messages(&orders)).await;
    let settings = WorkerSettings::new(&url, &sandbox, 20.0)
        .with("ACCOUNTS__OTHER__ENDPOINT", &format!("http://{}", other.address()))
        .with("ACCOUNTS__OTHER__CALLS_PER_SECOND", "100")
        .with("RETRY__STEPS", "[\"1s\"]")
        .with("RETRY__MAX_INTERVAL", "2s");
    let mut worker = Worker::start(&settings).await;
    worker.until("/readyz", 503, "InvalidAccessKeyId.Inactive").await;
    worker.until("/readyz", 503, "enable it, or give another one").await;
    worker
        .until(
            "/metrics",
            200,
            "bulkrelease_account_problem{account=\"default\",code=\"InvalidAccessKeyId.Inactive\"} 1",
        )
        .await;

    // The other account of the same queue goes on meanwhile.
    let body = json!({
        "JobId": "other", "Account": "other", "ProductCode": "ecs", "SubscriptionType": "PayAsYouGo",
        "InstanceIds": ["i-other"],
    });
    let job = Message { body: body.to_string().into_bytes(), properties: Properties::default() };
    enqueue(&broker, vec![job]).await;
    tokio::time::timeout(PATIENCE, other.until_calls(1)).await.expect("a call of the other account");
    let held_still = metric(&worker, "bulkrelease_account_held{account=\"default\"}").await;

    let mut results = Results::of(&broker);
    results.until_jobs(orders.len() + 1).await;
    let mut results = results.close().await;
    worker.until("/readyz", 200, "").await;
    let held = metric(&worker, HELD).await;
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    let ledger = sandbox.ledger();
    let in_vain = ledger.calls.iter().filter(|call| call.fault.is_some()).count();
    let resumed = ledger.calls.iter().find(|call| call.at >= until && call.code.as_deref() == Some("Success"));
    let resumed = resumed.map(|call| call.at - until);
    println!(
        "revoked for {revoked_for:?}: {in_vain} calls in vain, {held} jobs parked, the first release {resumed:?} after it; \
         when the other account's job was called the account was held: {held_still}"
    );
    assert!(held > 0.0 && resumed.is_some());
    results.remove("other").expect("the other account's result");
    each_order_is_released_once(&orders, &results);
    for queue in [Queue::Dead, Queue::Jobs, Queue::Unrouted, Queue::Retry { after: STEP }] {
        depth_becomes(&broker, queue, 0).await;
    }
    for line in ended.errors.lines().filter(|line| line.contains("calls are held") || line.contains("calls go again")) {
        println!("{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_costs_no_job_and_holds_up_no_other_account() {
    a_key_is_revoked("revoked", Duration::from_secs(6)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and a half: tests/fleet/run"]
async fn a_key_that_is_revoked_for_a_minute_costs_no_job() {
    a_key_is_revoked("revoked-long", Duration::from_secs(60)).await;
}
