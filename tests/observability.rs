//! What people see of a fleet, and what wakes them: dashboards, rules, runbook. Each file alone, and every question that any of
//! them asks, put to a real Prometheus that watches real workers and a real RabbitMQ through a run that has everything in it.

mod dashboards;
mod expression;
mod http;
mod prometheus;
mod rules;
mod scene;

use std::collections::BTreeSet;
use std::path::Path;

use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use dashboards::Query;
use expression::{series, shortened};
use scene::Scene;

use crate::support::program::PATIENCE;
use crate::support::worker::{Worker, WorkerSettings};

/// A file of the project.
fn file(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_question_of_dashboards_and_rules_has_an_answer_in_a_run_that_has_everything_in_it() {
    let mut scene = Scene::set().await;
    scene.an_ordinary_day().await;
    scene.jobs_that_are_not_called().await;
    scene.many_groups_of_one().await;
    scene.a_bad_hour_of_the_api().await;
    scene.a_key_is_switched_off().await;
    scene.settings_are_read_again().await;
    scene.people_mend_it().await;
    scene.nothing_has_gone_astray_so_far().await;
    scene.messages_go_astray_in_the_broker().await;
    scene.a_worker_stops_in_the_middle().await;
    scene.promtool_finds_no_fault_with_the_metrics().await;
    scene.no_worker_is_left().await;
    scene.the_broker_is_full().await;

    let prometheus = &scene.prometheus;
    let known: BTreeSet<_> = prometheus.names().await.into_iter().collect();
    let mut faults = Vec::new();
    let recorded = rules::rules().into_iter().map(|(name, rule)| {
        let expression = rule["expr"].as_str().expect("an expression").to_owned();
        Query { place: format!("rule {name}"), expression }
    });
    for Query { place, expression } in dashboards::queries().into_iter().chain(recorded) {
        let expression = shortened(&expression);
        let unknown: Vec<_> = series(&expression).into_iter().filter(|name| !known.contains(name)).collect();
        if !unknown.is_empty() {
            faults.push(format!("{place} names {unknown:?}, which nobody has ever told"));
        } else if place.starts_with("rule ") {
            let name = place.trim_start_matches("rule ");
            let seen = format!("{{__name__=\"{name}\"}} or ALERTS{{alertname=\"{name}\"}}");
            if prometheus.history(&seen).await.is_empty() {
                faults.push(format!("{place} has never had data: {expression}"));
            }
        } else {
            let values = prometheus.history(&expression).await;
            if !values.iter().any(|value| *value > 0.0) {
                let saw = if values.is_empty() { "nothing" } else { "only zeros" };
                faults.push(format!("{place} has shown {saw}: {expression}"));
            }
        }
    }
    println!("{:.1?} in all", prometheus.age());
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_key_is_seen_to_be_held_before_any_job_comes() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let settings = WorkerSettings::new(&format!("sqlite:{}", folder.path().join("queue").display()), &sandbox, 10.0)
        .with("ACCOUNTS__DEFAULT__CREDENTIALS", "profile:nobody")
        .with_variable("HOME", folder.path().to_str().expect("a path in UTF-8"));
    let mut worker = Worker::start(&settings).await;
    worker.until("/metrics", 200, "bulkrelease_account_held{account=\"default\"} 1").await;
    worker.until("/metrics", 200, "bulkrelease_account_problem{account=\"default\",code=\"NoCredential\"} 1").await;
    worker.until("/readyz", 503, "account default: ").await;
    assert!(worker.errors().contains("calls are held"), "{}", worker.errors());
    worker.terminate();
    assert_eq!(worker.ended(PATIENCE).await.code, Some(0));
}
