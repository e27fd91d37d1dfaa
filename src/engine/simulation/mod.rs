//! The engine driven through made-up worlds, thousands of them, with design rules checked after every step.
//!
//! `BULKRELEASE_SEEDS=100000 cargo test --release simulation` runs as many seeds as asked, from
//! `BULKRELEASE_FIRST_SEED` on.

mod economy;
mod world;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::contract::{AccountName, InstanceOutcome, SubscriptionType, Token, Verdict};
use world::{Api, Faults, Talk, is_gone_from_the_start, is_refused, is_unlisted};

pub fn group(name: &str) -> Arc<GroupKey> {
    Arc::new(GroupKey {
        account: AccountName::default(),
        product_code: Token::new(name).unwrap(),
        subscription_type: SubscriptionType::PayAsYouGo,
        product_type: None,
        region: None,
        renew_status: None,
    })
}

pub fn settings() -> EngineSettings {
    EngineSettings {
        linger: Duration::from_millis(20),
        max_wait: Duration::from_secs(10),
        overdue_share: 10,
        split_budget: 32,
        max_attempts: 8,
        max_age: Duration::from_secs(600),
        atomic: false,
    }
}

pub fn engine(settings: EngineSettings) -> Engine {
    let protection = Protection::new(["p*"]).unwrap();
    Engine::new(settings, protection, Box::new(|attempt| Duration::from_millis(100 * u64::from(attempt))))
}

struct Admitted {
    ids: Vec<InstanceId>,
    group: Arc<GroupKey>,
    dry_run: bool,
    expires_at: Option<Moment>,
    at: Moment,
    /// Delivered before.
    redelivered: bool,
    /// Ids that the job itself calls suspect, as a dead letter does.
    told: HashSet<InstanceId>,
}

/// One run: the engine, the world, and what was promised to whom.
struct Run {
    random: fastrand::Rng,
    now: Moment,
    engine: Engine,
    api: Api,
    groups: Vec<Arc<GroupKey>>,
    jobs: HashMap<JobKey, Admitted>,
    under_way: Vec<Call>,
    /// Ids that a call of unknown fate carried, and that have no outcome since.
    unknown: HashSet<InstanceId>,
    /// The groups in which anyone ever asked for an id.
    wanted_by: HashMap<InstanceId, HashSet<Arc<GroupKey>>>,
    /// The jobs that ever asked for an id, finished ones too.
    claims: HashMap<InstanceId, Vec<JobKey>>,
    finished: usize,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let atomic = random.bool();
        let mut faults = Faults::NONE;
        if random.u8(0..4) > 0 {
            for share in
                [&mut faults.throttled, &mut faults.account, &mut faults.transient, &mut faults.ghost, &mut faults.lost]
            {
                *share = if random.bool() { random.u16(0..200) } else { 0 };
            }
        }
        let settings = EngineSettings {
            linger: Duration::from_millis(random.u64(0..50)),
            max_wait: Duration::from_millis(random.u64(50..5000)),
            overdue_share: random.u32(1..12),
            split_budget: random.u32(1..40),
            max_attempts: random.u32(1..10),
            atomic: atomic && random.bool(),
            ..settings()
        };
        let talk = [Talk::NamesNobody, Talk::NamesTheCulprit, Talk::EchoesTheBatch][random.usize(0..3)];
        let names = ["ecs", "rds", "slb", "unsupported", "vpc", "oss"];
        let groups = names[..random.usize(1..=names.len())].iter().map(|name| group(name)).collect();
        Self {
            random,
            now: Duration::ZERO,
            engine: engine(settings),
            api: Api { talk, ..Api::new(atomic, faults) },
            groups,
            jobs: HashMap::new(),
            under_way: Vec::new(),
            unknown: HashSet::new(),
            wanted_by: HashMap::new(),
            claims: HashMap::new(),
            finished: 0,
        }
    }

    fn admit_random(&mut self) {
        let random = &mut self.random;
        let size = if random.u8(0..10) == 0 { random.usize(1..350) } else { random.usize(1..20) };
        let mut seen = HashSet::new();
        let ids: Vec<_> = (0..size)
            .map(|_| {
                let kind = match random.u8(0..100) {
                    0 => "g",
                    1 => "f",
                    2 => "u",
                    3 => "p",
                    _ => "i",
                };
                InstanceId::new(format!("{kind}{}", random.u32(0..2000))).unwrap()
            })
            .filter(|id| seen.insert(id.clone()))
            .collect();
        let told = if random.u8(0..10) == 0 {
            ids.iter().filter(|_| random.bool()).cloned().collect()
        } else {
            HashSet::new()
        };
        let admitted = Admitted {
            ids,
            group: Arc::clone(&self.groups[random.usize(0..self.groups.len())]),
            dry_run: random.u8(0..20) == 0,
            expires_at: (random.u8(0..8) == 0).then(|| self.now + Duration::from_millis(random.u64(0..3000))),
            at: self.now,
            redelivered: false,
            told,
        };
        self.admit(admitted);
    }

    fn admit(&mut self, admitted: Admitted) {
        if !admitted.dry_run {
            for id in &admitted.ids {
                self.wanted_by.entry(id.clone()).or_default().insert(Arc::clone(&admitted.group));
            }
        }
        let key = self.engine.admit(
            NewJob {
                group: Arc::clone(&admitted.group),
                ids: admitted.ids.clone(),
                suspects: if admitted.redelivered { Suspects::All } else { Suspects::These(admitted.told.clone()) },
                dry_run: admitted.dry_run,
                expires_at: admitted.expires_at,
            },
            self.now,
        );
        for id in &admitted.ids {
            self.claims.entry(id.clone()).or_default().push(key);
        }
        assert!(self.jobs.insert(key, admitted).is_none(), "a key was used twice");
        self.collect();
    }

    fn step(&mut self) {
        self.now += Duration::from_millis(self.random.u64(1..40));
        self.engine.advance(self.now);
        match self.random.u8(0..20) {
            0..=5 if self.engine.pending_ids() < 3000 => self.admit_random(),
            6..=12 => self.permit(),
            13..=18 => self.answer(),
            19 if self.random.u8(0..10) == 0 => self.lose_session(),
            _ => {}
        }
        self.collect();
    }

    fn permit(&mut self) {
        if !self.engine.ready(self.now) {
            return;
        }
        let Some(call) = self.engine.seal(self.now) else { return };
        let ids: HashSet<_> = call.batch.ids().iter().collect();
        assert_eq!(ids.len(), call.batch.len(), "an id stands in a batch twice");
        for other in &self.under_way {
            assert!(other.batch.ids().iter().all(|id| !ids.contains(id)), "an id is in two calls at once");
        }
        let called_before = |id: &InstanceId| self.engine.flights.get(id).is_some_and(|flight| flight.calls > 1);
        let suspect = call.batch.ids().iter().any(|id| self.unknown.contains(id) && called_before(id));
        assert!(!suspect || call.batch.ids().iter().all(called_before), "a suspect met a fresh id");
        for id in call.batch.ids() {
            assert!(!id.as_str().starts_with('p'), "the protected {id} was called");
            let live = self.claims[id].iter().filter_map(|key| self.jobs.get(key)).any(|job| {
                !job.dry_run && job.group == *call.batch.group() && job.expires_at.is_none_or(|at| at > self.now)
            });
            assert!(live, "{id} was called in a group in which no live job wants it");
        }
        self.under_way.push(call);
    }

    fn answer(&mut self) {
        if self.under_way.is_empty() {
            return;
        }
        let call = self.under_way.swap_remove(self.random.usize(0..self.under_way.len()));
        let verdict = self.api.call(&call.batch, &mut self.random, self.now);
        match &verdict {
            Verdict::Unknown(_) => self.unknown.extend(call.batch.ids().iter().cloned()),
            _ if call.batch.len() == 1 => drop(self.unknown.remove(&call.batch.ids()[0])),
            _ => {}
        }
        self.engine.verdict(call.key, &verdict, self.now);
        let engine = &self.engine;
        self.unknown.retain(|id| engine.flights.contains_key(id));
    }

    /// The connection is gone: every job comes again, as the same delivery to a worker that may be us.
    fn lose_session(&mut self) {
        self.collect();
        let keys: Vec<_> = match self.random.bool() {
            true => self.engine.unbegun(),
            false => self.jobs.keys().copied().collect::<std::collections::BTreeSet<_>>().into_iter().collect(),
        };
        self.engine.forget(&keys, self.now);
        let engine = &self.engine;
        self.unknown.retain(|id| engine.flights.contains_key(id));
        for key in keys {
            let job = self.jobs.remove(&key).expect("a job that was never admitted was withdrawn");
            self.admit(Admitted { redelivered: true, at: self.now, ..job });
        }
    }

    fn collect(&mut self) {
        for finished in self.engine.take_finished() {
            let job = self.jobs.remove(&finished.key).expect("a job finished twice, or was never admitted");
            let ids: Vec<_> = finished.outcomes.iter().map(|(id, _)| id.clone()).collect();
            assert_eq!(ids, job.ids, "a result lists exactly the ids of its job");
            for (id, outcome) in &finished.outcomes {
                self.check_outcome(&job, id, outcome);
            }
            self.finished += 1;
        }
    }

    fn check_outcome(&self, job: &Admitted, id: &InstanceId, outcome: &InstanceOutcome) {
        let shared = self.wanted_by.get(id).map_or(0, HashSet::len) > 1;
        // A call of ours took it after this job came and before it gave up waiting.
        let ours = self
            .api
            .released
            .get(id)
            .is_some_and(|at| !shared && job.at < *at && job.expires_at.is_none_or(|expires| *at < expires));
        match outcome.outcome {
            Outcome::Released | Outcome::AlreadyGone => {
                assert!(self.api.is_gone(id), "{id} is called {outcome:?} and is there");
            }
            Outcome::Rejected => {
                // Two halves refused with one unlisted code are taken for a refused request: judged, not known.
                let judged = outcome.evidence.code.as_deref() == Some("Strange");
                let unsupported = job.group.product_code.as_str() == "unsupported";
                let culprit = is_refused(id) || is_unlisted(id) || judged || unsupported;
                assert!(culprit || !self.api.is_gone(id), "{id} is called {outcome:?} and is gone");
            }
            Outcome::Refused => assert!(id.as_str().starts_with('p'), "{id} was refused"),
            Outcome::Expired => {
                assert!(job.expires_at.is_some_and(|at| at <= self.now), "{id} expired early");
                assert!(!ours, "{id} expired though a call of ours released it");
                let suspect = job.redelivered || job.told.contains(id);
                assert!(!suspect, "{id} expired though an earlier call may have released it");
            }
            Outcome::DryRun => assert!(job.dry_run),
            Outcome::Unresolved => {}
        }
        assert_eq!(
            job.dry_run,
            matches!(outcome.outcome, Outcome::DryRun) || (job.dry_run && outcome.outcome == Outcome::Refused)
        );
    }

    /// No further faults, no further jobs: everything must end, in bounded time.
    fn settle_down(&mut self) {
        self.api.faults = Faults::NONE;
        for _ in 0..200_000 {
            if self.jobs.is_empty() && self.under_way.is_empty() && self.engine.pending_ids() == 0 {
                return;
            }
            self.engine.advance(self.now);
            if self.engine.ready(self.now) {
                self.permit();
                self.answer();
            } else if self.under_way.is_empty() {
                let wakes_at = self.engine.wakes_at(self.now).expect("jobs are open and the engine waits for nothing");
                self.now = self.now.max(wakes_at) + Duration::from_millis(1);
            } else {
                self.answer();
            }
            self.collect();
        }
        panic!("{} jobs never ended", self.jobs.len());
    }
}

#[test]
fn every_rule_holds_in_thousands_of_random_worlds() {
    let first = std::env::var("BULKRELEASE_FIRST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let seeds: u64 = std::env::var("BULKRELEASE_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let (mut jobs, mut calls) = (0, 0);
    for seed in first..first + seeds {
        let outcome = std::panic::catch_unwind(|| {
            let mut run = Run::new(seed);
            for _ in 0..400 {
                run.step();
            }
            run.settle_down();
            assert_eq!(run.engine.pending_ids(), 0, "flights are left behind");
            assert_eq!(run.engine.courses.len(), 0, "courses are left behind");
            assert_eq!(run.engine.calls_under_way(), 0);
            (run.finished, run.api.calls)
        });
        let (finished, made) = outcome.unwrap_or_else(|_| panic!("seed {seed} breaks a rule"));
        jobs += finished;
        calls += made;
    }
    println!("{seeds} seeds, {jobs} jobs, {calls} calls: every rule held");
    assert!(jobs > 10 * seeds as usize && calls > seeds, "the worlds are too small to show anything");
}

#[test]
fn with_no_faults_every_id_gets_the_outcome_that_is_true() {
    for seed in 0..200 {
        let mut run = Run::new(seed);
        run.api = Api::new(true, Faults::NONE);
        run.engine.settings = EngineSettings { atomic: true, max_attempts: 1000, ..settings() };
        let ids: Vec<_> = (0..300)
            .map(|n| {
                InstanceId::new(format!("{}{n}", ["i", "i", "i", "i", "i", "i", "g", "f", "p"][run.random.usize(0..9)]))
            })
            .map(Result::unwrap)
            .collect();
        let key = run.engine.admit(
            NewJob {
                group: group("ecs"),
                ids: ids.clone(),
                suspects: Suspects::These(HashSet::new()),
                dry_run: false,
                expires_at: None,
            },
            run.now,
        );
        let finished = drive(&mut run.engine, &mut run.api, &mut run.random);
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

/// Runs an engine to its end with one call at a time; returns every result.
pub fn drive(engine: &mut Engine, api: &mut Api, random: &mut fastrand::Rng) -> Vec<FinishedJob> {
    let mut now = Duration::ZERO;
    let mut finished = Vec::new();
    for _ in 0..1_000_000 {
        engine.advance(now);
        finished.extend(engine.take_finished());
        if engine.ready(now) {
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
