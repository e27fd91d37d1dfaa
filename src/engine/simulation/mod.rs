//! The engine driven through made-up worlds, thousands of them, with design rules checked after every step.
//!
//! `BULKRELEASE_SEEDS=100000 cargo test --release simulation` runs as many seeds as asked, from
//! `BULKRELEASE_FIRST_SEED` on.

mod draw;
mod economy;
mod judge;
mod ladder;
mod later;
mod notes;
mod order;
mod outage;
mod run;
mod world;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::contract::{AccountName, SubscriptionType, Token, Verdict};
use run::Run;
use world::{Api, Faults, is_gone_from_the_start};

fn group(name: &str) -> Arc<GroupKey> {
    Arc::new(GroupKey {
        account: AccountName::default(),
        product_code: Token::new(name).unwrap(),
        subscription_type: SubscriptionType::PayAsYouGo,
        product_type: None,
        region: None,
        renew_status: None,
    })
}

/// A job that nobody began.
fn fresh(product: &str, ids: impl IntoIterator<Item = String>) -> NewJob {
    NewJob {
        group: group(product),
        places: ids.into_iter().map(|id| (InstanceId::new(id).unwrap(), Place::default())).collect(),
        redelivered: false,
        dry_run: false,
        priority: Priority::Normal,
        first_came: Moment::MAX,
        expires_at: None,
        held_until: None,
    }
}

fn settings() -> EngineSettings {
    EngineSettings {
        linger: Duration::from_millis(20),
        max_wait: Duration::from_secs(10),
        head_start: Duration::from_secs(75),
        overdue_share: 10,
        split_budget: 32,
        attempts_in_process: 3,
        max_attempts: 20,
        max_age: Duration::from_secs(600),
        atomic: false,
        read_back: false,
    }
}

fn engine(settings: EngineSettings) -> Engine {
    let protection = Protection::new(["p*"]).unwrap();
    Engine::new(settings, protection, Box::new(|attempt| Duration::from_millis(100 * u64::from(attempt))))
}

#[test]
fn every_rule_holds_in_thousands_of_random_worlds() {
    let first = std::env::var("BULKRELEASE_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("BULKRELEASE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let (mut jobs, mut calls, mut queries, mut failed, mut parked, mut outages) = (0, 0, 0, 0, 0, 0);
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..400 {
                run.step();
            }
            run.settle_down();
            run
        });
        let run = outcome.unwrap_or_else(|_| panic!("seed {seed} breaks a rule"));
        jobs += run.finished;
        calls += run.api.calls;
        queries += run.api.queries;
        failed += run.postponed_after_failures;
        parked += run.parked;
        outages += run.outages;
    }
    println!(
        "{seeds} seeds, {jobs} jobs, {calls} calls, {queries} queries, {failed} postponed after failures, {parked} parked, \
         {outages} verdicts of an outage: every rule held"
    );
    let enough = jobs > 10 * seeds as usize && calls > seeds && outages > seeds;
    assert!(enough && queries > seeds && failed > seeds && parked > seeds, "the worlds are too small to show anything");
}

#[test]
fn with_no_faults_every_id_gets_the_outcome_that_is_true() {
    for seed in 0..200 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut api = Api::new(true, Faults::NONE);
        let many = EngineSettings { attempts_in_process: 1000, max_attempts: 1000, ..settings() };
        let mut engine = engine(EngineSettings { atomic: true, ..many });
        let kinds = ["i", "i", "i", "i", "i", "i", "g", "f", "p"];
        let job = fresh("ecs", (0..300).map(|n| format!("{}{n}", kinds[random.usize(0..9)])));
        let key = engine.admit(job, Duration::ZERO);
        let finished = drive(&mut engine, &mut api, &mut random);
        let [finished] = &finished[..] else { panic!("{} results", finished.len()) };
        assert_eq!(finished.key, key);
        for (id, outcome) in &finished.outcomes {
            let expected = match id.as_str().as_bytes()[0] {
                b'g' => Outcome::AlreadyGone,
                b'f' => Outcome::Rejected,
                b'p' => Outcome::Refused,
                _ => Outcome::Released,
            };
            assert_eq!(outcome.outcome, expected, "seed {seed}: {id}");
            assert!(!is_gone_from_the_start(id) || !outcome.presumed);
        }
    }
}

/// Runs an engine to its end with one call at a time, jobs that are postponed coming back at once; returns every result.
fn drive(engine: &mut Engine, api: &mut Api, random: &mut fastrand::Rng) -> Vec<FinishedJob> {
    let mut now = Duration::ZERO;
    let mut finished = Vec::new();
    for _ in 0..1_000_000 {
        engine.advance(now);
        finished.extend(engine.take_finished());
        for job in engine.take_postponed() {
            engine.admit(NewJob { places: job.places, ..fresh("ecs", []) }, now);
        }
        if engine.read_back_ready() {
            if let Some(call) = engine.seal_read_back(now) {
                let answer = api.query(&call.batch, random);
                engine.read_back(call.key, &answer, now);
            }
        } else if engine.ready(now) {
            if let Some(call) = engine.seal(now) {
                let verdict = api.call(&call.batch, random, now);
                engine.verdict(call.key, &verdict, now);
            }
        } else if let Some(at) = engine.wakes_at(now) {
            now = now.max(at) + Duration::from_millis(1);
        } else {
            return finished;
        }
    }
    panic!("no end");
}
