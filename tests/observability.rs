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

use dashboards::Query;
use expression::{series, shortened};
use scene::Scene;

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
