//! SIGHUP: what changes in a running worker, what it refuses, and what it names as waiting for a start.

use std::fs;
use std::path::Path;

use super::{full_batches, metric};
use crate::support::orders::messages;
use crate::support::program::run;
use crate::support::results::Results;
use crate::support::subscriber::{PATIENCE, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::Broker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::contract::Outcome;
use bulkrelease::sandbox::{Sandbox, SandboxSettings};

const APPLIED: &str = "bulkrelease_settings_reloads_total{result=\"applied\"}";
const REFUSED: &str = "bulkrelease_settings_reloads_total{result=\"refused\"}";
const QUOTA: &str = "bulkrelease_quota_calls_per_second{account=\"default\"}";

fn write(path: &Path, calls_per_second: &str, rest: &str) {
    fs::write(path, format!("accounts.default.calls_per_second = {calls_per_second}\n{rest}\n")).expect("a file");
}

async fn until(worker: &Worker, series: &str, value: &str) {
    worker.until("/metrics", 200, &format!("{series} {value}\n")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_changes_rates_protected_ids_and_log_level_and_a_bad_file_changes_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let (file, queue) = (directory.path().join("settings.toml"), directory.path().join("queue.db"));
    let broker = EmbeddedBroker::open(&queue).expect("a new file");
    broker.declare().await.expect("declared");
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let orders = full_batches(40);
    enqueue(&broker, messages(&orders)).await;
    write(&file, "1.0", "");
    let settings = WorkerSettings::new(&format!("sqlite:{}", queue.display()), &sandbox, 1.0)
        .without("ACCOUNTS__DEFAULT__CALLS_PER_SECOND")
        .with_file(&file.display().to_string());
    let mut worker = Worker::start(&settings).await;
    sandbox.until_calls(1).await;
    until(&worker, QUOTA, "1").await;

    // Before anything else, so that the protected ids can't have been called by now.
    write(&file, "1.0", "safety.protected = ['i-39-*']\nlog.level = 'debug'");
    worker.reload();
    until(&worker, APPLIED, "1").await;
    let no_quota = "0\n[broker]\nprefetch = 7";
    write(&file, no_quota, "");
    worker.reload();
    until(&worker, REFUSED, "1").await;
    let at_start = run(&["config"], settings.variables(), "").await;
    let said = at_start.errors.trim().strip_prefix("error: ").expect("an error").to_owned();
    assert!(said.contains("calls_per_second") && worker.errors().contains(&said), "{said}\n{}", worker.errors());
    assert_eq!(metric(&worker, QUOTA).await, 1.0, "the old settings stay");

    write(
        &file,
        "500.0",
        "safety.protected = ['i-39-*']\nlog.level = 'debug'\nbroker.prefetch = 7\naccounts.other.burst = 2",
    );
    worker.reload();
    until(&worker, APPLIED, "2").await;
    until(&worker, QUOTA, "500").await;
    assert!(worker.errors().contains("settings=\"accounts.other, broker.prefetch\""), "{}", worker.errors());

    let mut results = Results::of(&broker);
    results.until_jobs(orders.len()).await;
    let results = results.close().await;
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    assert!(ended.errors.contains("DEBUG"), "the level was lowered");
    let (outcomes, ledger) = (crate::support::results::outcomes(&results), sandbox.ledger());
    println!("{outcomes:?} in {} calls", ledger.counts.calls);
    assert_eq!((outcomes[&Outcome::Released], outcomes[&Outcome::Refused]), (3900, 100));
    assert!(!ledger.times_asked().keys().any(|id| id.starts_with("i-39-")));
    assert!(results.values().all(|results| results.len() == 1), "no job was lost, none came twice");
}
