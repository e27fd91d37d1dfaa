//! One world's history: jobs, permits, answers, lost sessions and remainders in an order that the seed chooses, with the
//! rules of calls and of postponement checked after each step. What outcomes must say is `judge`'s.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::draw;
use super::notes::Notes;
use super::world::{Api, Faults, Talk};
use super::{engine, group};
use crate::contract::{GroupKey, InstanceId, Open, Place, Priority, Verdict};
use crate::engine::course::Reading;
use crate::engine::{Call, CallKind, Engine, JobKey, Moment, NewJob, PostponedJob};

/// Calls in a row without a proper answer after which the API counts as down.
const DOWN_AFTER: u32 = 5;

/// One delivery of a job.
#[derive(Debug, Clone)]
pub(super) struct Admitted {
    /// Which job it is: its remainders are the same one.
    pub job: usize,
    pub places: Vec<(InstanceId, Place)>,
    pub group: Arc<GroupKey>,
    pub dry_run: bool,
    priority: Priority,
    pub expires_at: Option<Moment>,
    held_until: Moment,
    pub at: Moment,
    /// When the job first came, and how long it has been parked since.
    pub first_at: Moment,
    pub parked: Duration,
    /// Delivered before.
    pub redelivered: bool,
    /// Ids whose course was refused before this delivery came and is judged only when its suspects are read back: a split
    /// budget that is spent then is spent while this job waits.
    pub unjudged: HashSet<InstanceId>,
}

/// The engine, the world, and what was promised to whom.
pub(super) struct Run {
    random: fastrand::Rng,
    pub now: Moment,
    pub engine: Engine,
    pub api: Api,
    groups: Vec<Arc<GroupKey>>,
    max_hold: Duration,
    pub jobs: HashMap<JobKey, Admitted>,
    /// Remainders on their way, and when they come back.
    retrying: Vec<(Moment, Admitted)>,
    /// How many results each job must still get: one, and another for each time that it came twice.
    owed: Vec<u32>,
    under_way: Vec<Call>,
    /// Calls in a row that say that no call can succeed.
    in_vain: u32,
    pub notes: Notes,
    pub finished: usize,
    pub postponed_after_failures: u64,
    pub parked: u64,
    pub outages: u64,
}

impl Run {
    pub fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let atomic = random.bool();
        let faults = draw::faults(&mut random);
        let settings = draw::settings(atomic, &mut random);
        let talk = [Talk::NamesNobody, Talk::NamesTheCulprit, Talk::EchoesTheBatch][random.usize(0..3)];
        let names = ["ecs", "rds", "slb", "unsupported", "vpc", "oss"];
        let groups = names[..random.usize(1..=names.len())].iter().map(|name| group(name)).collect();
        let max_hold = Duration::from_millis(random.u64(50..5000));
        Self {
            random,
            now: Duration::ZERO,
            engine: engine(settings),
            api: Api { talk, ..Api::new(atomic, faults) },
            groups,
            max_hold,
            jobs: HashMap::new(),
            retrying: Vec::new(),
            owed: Vec::new(),
            under_way: Vec::new(),
            in_vain: 0,
            notes: Notes::default(),
            finished: 0,
            postponed_after_failures: 0,
            parked: 0,
            outages: 0,
        }
    }

    fn admit_random(&mut self) {
        let random = &mut self.random;
        let places = draw::places(random);
        let admitted = Admitted {
            job: self.owed.len(),
            places,
            group: Arc::clone(&self.groups[random.usize(0..self.groups.len())]),
            dry_run: random.u8(0..20) == 0,
            priority: [Priority::High, Priority::Normal, Priority::Low][random.usize(0..3)],
            expires_at: (random.u8(0..8) == 0).then(|| self.now + Duration::from_millis(random.u64(0..3000))),
            held_until: self.now,
            at: self.now,
            first_at: self.now,
            parked: Duration::ZERO,
            redelivered: false,
            unjudged: HashSet::new(),
        };
        self.owed.push(1);
        self.admit(admitted);
    }

    fn admit(&mut self, admitted: Admitted) {
        let unjudged = self.unjudged(&admitted);
        let admitted = Admitted { at: self.now, held_until: self.now + self.max_hold, unjudged, ..admitted };
        let key = self.engine.admit(
            NewJob {
                group: Arc::clone(&admitted.group),
                places: admitted.places.clone(),
                redelivered: admitted.redelivered,
                dry_run: admitted.dry_run,
                priority: admitted.priority,
                first_came: admitted.first_at,
                expires_at: admitted.expires_at,
                held_until: Some(admitted.held_until),
            },
            self.now,
        );
        self.notes.admitted(key, &admitted);
        assert!(self.jobs.insert(key, admitted).is_none(), "a key was used twice");
        self.collect();
    }

    fn unjudged(&self, admitted: &Admitted) -> HashSet<InstanceId> {
        let awaits_judgement = |id: &InstanceId| {
            let flight = self.engine.flights.get(id).filter(|flight| flight.group == admitted.group);
            let course = flight.and_then(|flight| flight.course).and_then(|key| self.engine.courses.get(&key));
            course.is_some_and(|course| {
                matches!(course.reading, Reading::Due { guilt: Some(_), .. } | Reading::Asked { guilt: Some(_), .. })
            })
        };
        admitted.places.iter().map(|(id, _)| id).filter(|id| awaits_judgement(id)).cloned().collect()
    }

    pub fn step(&mut self) {
        let time = Duration::from_millis(self.random.u64(1..40));
        self.pass(time);
        match self.random.u8(0..20) {
            0..=5 if self.engine.pending_ids() < 3000 => self.admit_random(),
            6..=12 => self.permit(),
            13..=18 => self.answer(),
            19 if self.random.u8(0..10) == 0 => self.lose_session(),
            19 if self.random.u8(0..20) == 0 => self.restart(),
            19 if self.random.u8(0..20) == 0 => {
                self.api.down_until = self.now + Duration::from_millis(self.random.u64(0..5000));
            }
            _ => {}
        }
        self.collect();
    }

    /// Lets time pass; remainders whose delay is over come back, now and then as a second delivery.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.engine.advance(self.now);
        self.collect();
        let (due, waiting) = std::mem::take(&mut self.retrying).into_iter().partition(|(at, _)| *at <= self.now);
        self.retrying = waiting;
        for (_, remainder) in Vec::into_iter(due) {
            let redelivered = remainder.redelivered || self.random.u8(0..10) == 0;
            self.admit(Admitted { redelivered, ..remainder });
        }
        let calls = self.under_way.iter().filter(|call| call.kind != CallKind::ReadBack);
        let in_a_call: HashSet<_> = calls.flat_map(|call| call.batch.ids()).collect();
        for job in self.jobs.values().filter(|job| self.now > job.held_until) {
            let excused = job.places.iter().any(|(id, _)| in_a_call.contains(id));
            assert!(excused, "a job is held too long: {job:?}");
        }
    }

    fn permit(&mut self) {
        self.engine.advance(self.now);
        self.collect();
        if self.engine.read_back_ready() && self.random.u8(0..20) == 0 {
            self.engine.forgo_read_back(self.now);
        }
        if self.engine.read_back_ready()
            && let Some(call) = self.engine.seal_read_back(self.now)
        {
            assert_eq!(call.kind, CallKind::ReadBack);
            self.under_way.push(call);
        }
        if !self.engine.ready(self.now) {
            return;
        }
        let call = self.engine.seal(self.now).expect("a permit is spent on nothing");
        let ids: HashSet<_> = call.batch.ids().iter().collect();
        assert_eq!(ids.len(), call.batch.len(), "an id stands in a batch twice");
        for other in &self.under_way {
            assert!(other.batch.ids().iter().all(|id| !ids.contains(id)), "an id is in two calls at once");
        }
        let called_before =
            |id: &InstanceId| self.engine.flights.get(id).is_some_and(|flight| flight.history.calls > 1);
        let suspect = call.batch.ids().iter().any(|id| self.notes.is_unknown(id) && called_before(id));
        assert!(!suspect || call.batch.ids().iter().all(called_before), "a suspect met a fresh id");
        let flights = &self.engine.flights;
        let apart = |id: &InstanceId| flights.get(id).is_some_and(|flight| flight.apart);
        let told = call.batch.ids().iter().filter(|id| apart(id)).count();
        let fresh = call.batch.ids().iter().any(|id| !apart(id) && !called_before(id));
        assert!(told == 0 || !fresh, "a told suspect met a fresh id");
        self.notes.sealed(&call, &self.engine);
        for id in call.batch.ids() {
            assert!(!id.as_str().starts_with('p'), "the protected {id} was called");
            let live = self.notes.claims(id).iter().filter_map(|key| self.jobs.get(key)).any(|job| {
                let late = job.held_until <= self.now || job.expires_at.is_some_and(|at| at <= self.now);
                !job.dry_run && !late && job.group == *call.batch.group()
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
        if call.kind == CallKind::ReadBack {
            assert!(self.engine.settings.read_back, "nobody allowed a query");
            let answer = self.api.query(&call.batch, &mut self.random);
            self.engine.read_back(call.key, &answer, self.now);
            return;
        }
        let verdict = self.api.call(&call.batch, &mut self.random, self.now);
        let at_fault = self.in_vain < DOWN_AFTER && self.engine.is_at_fault(call.key);
        match &verdict {
            Verdict::Account(_) if at_fault => self.in_vain = 0,
            Verdict::Released(_) | Verdict::Refused(..) | Verdict::Throttled(_) => self.in_vain = 0,
            Verdict::Account(_) => self.in_vain = DOWN_AFTER,
            Verdict::Transient(_) | Verdict::Unknown(_) => self.in_vain += 1,
        }
        let down = self.in_vain >= DOWN_AFTER;
        self.notes.answered(&call, &verdict, !down, &self.api, &self.engine, self.now);
        if down {
            self.outage(&call, &verdict);
        } else {
            self.engine.verdict(call.key, &verdict, self.now);
        }
        self.notes.forget_landed(&self.engine);
    }

    /// Whatever is in no call leaves, but for one job.
    fn outage(&mut self, call: &Call, verdict: &Verdict) {
        self.collect();
        self.outages += 1;
        self.engine.outage(call.key, verdict, self.now);
        let mut in_calls = HashSet::new();
        for other in self.under_way.iter().filter(|other| other.kind != CallKind::ReadBack) {
            in_calls.extend(other.batch.ids().iter().cloned());
        }
        self.collect();
        let left = self.jobs.values().filter(|job| !job.places.iter().any(|(id, _)| in_calls.contains(id)));
        assert!(left.count() <= usize::from(in_calls.is_empty()), "a job stays though nothing can be called");
    }

    /// The connection is gone: every job comes again, as the same delivery to a worker that may be us.
    fn lose_session(&mut self) {
        self.collect();
        let keys: Vec<_> = match self.random.bool() {
            true => self.engine.unbegun(),
            false => self.jobs.keys().copied().collect::<BTreeSet<_>>().into_iter().collect(),
        };
        self.engine.forget(&keys, self.now);
        self.notes.forget_landed(&self.engine);
        for key in keys {
            let job = self.jobs.remove(&key).expect("a job that was never admitted was withdrawn");
            self.admit(Admitted { redelivered: true, ..job });
        }
    }

    /// The worker stops with calls under way, and what it has goes on as remainders.
    fn restart(&mut self) {
        self.collect();
        let keys: Vec<_> = self.jobs.keys().copied().collect::<BTreeSet<_>>().into_iter().collect();
        for call in self.under_way.iter().filter(|call| call.kind != CallKind::ReadBack) {
            self.notes.abandoned(call, &self.engine, self.now);
        }
        self.engine.abandon(&keys, self.now);
        self.collect();
        assert!(self.jobs.is_empty(), "a job was not let go of");
        self.notes.forget_landed(&self.engine);
    }

    fn collect(&mut self) {
        for finished in self.engine.take_finished() {
            let job = self.jobs.remove(&finished.key).expect("a job finished twice, or was never admitted");
            let ids = finished.outcomes.iter().map(|(id, _)| id);
            assert!(ids.eq(job.places.iter().map(|(id, _)| id)), "a result lists exactly the ids of its job");
            for ((id, outcome), (_, before)) in finished.outcomes.iter().zip(&job.places) {
                match before {
                    Place::Settled(before) => assert_eq!(before, outcome, "{id} was settled twice"),
                    Place::Open(open) => self.check_outcome(&job, open, id, outcome),
                }
            }
            let owed = &mut self.owed[job.job];
            *owed = owed.checked_sub(1).expect("a job has more results than it is owed");
            self.finished += 1;
        }
        for postponed in self.engine.take_postponed() {
            let job = self.jobs.remove(&postponed.key).expect("a job was postponed twice, or was never admitted");
            self.postpone(job, postponed);
        }
    }

    fn postpone(&mut self, job: Admitted, postponed: PostponedJob) {
        self.check_postponed(&job, &postponed);
        if self.random.u8(0..50) == 0 {
            // The ack was lost: the delivery comes again, and the remainder all the same.
            self.owed[job.job] += 1;
            self.retrying.push((self.now, Admitted { redelivered: true, ..job.clone() }));
        }
        let delay = Duration::from_millis(self.random.u64(10..3000));
        let mut aged = postponed.places;
        let mut parked = job.parked;
        if postponed.parked {
            self.parked += 1;
            parked += delay;
        } else {
            self.postponed_after_failures += 1;
            for (_, place) in &mut aged {
                if let Place::Open(Open { age: Some(age), .. }) = place {
                    *age += delay;
                }
            }
        }
        self.retrying.push((self.now + delay, Admitted { places: aged, parked, redelivered: false, ..job }));
    }

    /// No further faults, no further jobs: everything must end, in bounded time.
    pub fn settle_down(&mut self) {
        self.api.faults = Faults::NONE;
        self.api.down_until = Duration::ZERO;
        for _ in 0..200_000 {
            if self.jobs.is_empty() && self.retrying.is_empty() && self.under_way.is_empty() {
                break;
            }
            self.pass(Duration::ZERO);
            if self.engine.ready(self.now) || self.engine.read_back_ready() {
                self.permit();
                self.answer();
            } else if self.under_way.is_empty() {
                let remainder = self.retrying.iter().map(|(at, _)| *at).min();
                let next = remainder.into_iter().chain(self.engine.wakes_at(self.now)).min();
                let Some(next) = next else { break };
                self.now = self.now.max(next) + Duration::from_millis(1);
            } else {
                self.answer();
            }
            self.collect();
        }
        assert!(self.jobs.is_empty() && self.retrying.is_empty(), "{} jobs never ended", self.jobs.len());
        assert!(self.owed.iter().all(|owed| *owed == 0), "jobs without a result are lost");
        assert_eq!(self.engine.pending_ids(), 0, "flights are left behind");
        assert_eq!(self.engine.courses.len(), 0, "courses are left behind");
        assert_eq!(self.engine.calls_under_way(), 0);
    }
}
