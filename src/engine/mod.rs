//! The heart: what to call next, and what a verdict means for every id. One engine serves one account.
//!
//! Pure: no I/O, no clock of its own, no async. It takes events (a job is admitted, a permit is there, a verdict came) with
//! the time at which they happen, and answers with calls to make and jobs that are finished.
//!
//! ```text
//! admit ──> flight ──> pool ──(permit)──> batch ──call──> verdict ──> outcome ──> ledger ──> finished job
//!                                           ^                            |
//!                                           '───── course: again, or in parts
//! ```
//!
//! An id has one flight however many jobs want it. A sealed batch has a course: the way through retries and splits
//! until each of its ids has an outcome. Ids of a course never go back to a pool, so a suspect never meets a fresh id.

mod backlog;
mod claims;
mod course;
mod flight;
mod ledger;
mod memory;
mod protection;
#[cfg(test)]
mod simulation;
mod split;
mod verdict;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use backlog::SealReason;
pub use course::CallKey;
pub use ledger::{FinishedJob, JobKey};
pub use protection::{InvalidProtection, Protection};

use backlog::{Backlog, Lot};
use claims::protected;
use course::{Course, Plan};
use flight::{Flight, Phase, Waiter};
use ledger::Ledger;
use memory::Memory;

use crate::contract::{Batch, Evidence, GroupKey, InstanceId, MAX_IDS_PER_CALL, Outcome};

/// How soon an expired job is looked at again whose id is in a call that is under way.
const CALL_PATIENCE: Duration = Duration::from_secs(1);

/// Time since the worker's start, as the caller's monotonic clock tells it.
pub type Moment = Duration;

/// How long to wait before the given attempt (1 is the first retry).
pub type Delays = Box<dyn FnMut(u32) -> Duration + Send>;

/// The engine's own settings.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// How long a part-filled batch waits for company.
    pub linger: Duration,
    /// After which a part-filled batch is served though full ones wait.
    pub max_wait: Duration,
    /// While full batches wait, at most every n-th permit goes to an overdue one.
    pub overdue_share: u32,
    /// Calls that one refused batch may cost before it has to wait like a failed one.
    pub split_budget: u32,
    /// Failed calls (or split budgets spent for nothing) without an outcome between them, after which ids are `Unresolved`.
    pub max_attempts: u32,
    /// The same, in time since the first failure.
    pub max_age: Duration,
    /// Whether a refused call is known to have released nothing.
    pub atomic: bool,
}

/// A job as the engine needs it.
#[derive(Debug)]
pub struct NewJob {
    pub group: Arc<GroupKey>,
    /// No id twice.
    pub ids: Vec<InstanceId>,
    /// Ids that an earlier call may have released.
    pub suspects: Suspects,
    /// Answer what would be called, and call nothing.
    pub dry_run: bool,
    pub expires_at: Option<Moment>,
}

/// Which ids of a new job an earlier call may have released.
#[derive(Debug)]
pub enum Suspects {
    /// A redelivered job: an earlier worker may have begun it.
    All,
    These(HashSet<InstanceId>),
}

/// A call to make, now: the permit is spent.
#[derive(Debug)]
pub struct Call {
    pub key: CallKey,
    pub batch: Batch,
    /// Failed calls of this batch so far.
    pub attempt: u32,
    pub reason: SealReason,
    /// How long the batch's oldest id has waited.
    pub waited: Duration,
}

/// The pure heart of a lane.
pub struct Engine {
    settings: EngineSettings,
    protection: Protection,
    delays: Delays,
    ledger: Ledger,
    flights: HashMap<InstanceId, Flight>,
    backlog: Backlog,
    memory: Memory,
    courses: HashMap<CallKey, Course>,
    next_course: u64,
    /// Calls whose verdict was about their batch: the API is there and takes the account.
    proper_verdicts: u64,
    calls_under_way: usize,
    /// Courses that wait for their next attempt.
    retries: BinaryHeap<Reverse<(Moment, CallKey)>>,
}

impl Engine {
    pub fn new(settings: EngineSettings, protection: Protection, delays: Delays) -> Self {
        Self {
            backlog: Backlog::new(settings.linger, settings.max_wait, settings.overdue_share),
            settings,
            protection,
            delays,
            ledger: Ledger::default(),
            flights: HashMap::new(),
            memory: Memory::default(),
            courses: HashMap::new(),
            next_course: 0,
            proper_verdicts: 0,
            calls_under_way: 0,
            retries: BinaryHeap::new(),
        }
    }

    /// Takes a job. Ids that need no call have their outcome at once.
    pub fn admit(&mut self, job: NewJob, now: Moment) -> JobKey {
        let NewJob { group, ids, suspects, dry_run, expires_at } = job;
        let key = self.ledger.open(ids.clone(), expires_at);
        for (slot, id) in ids.into_iter().enumerate() {
            let suspect = match &suspects {
                Suspects::All => true,
                Suspects::These(ids) => ids.contains(&id),
            };
            let waiter = Waiter { job: key, slot };
            if self.protection.covers(&id) {
                // Of a redelivered job protected ids were refused before: only a dead letter's word counts against it.
                let told = matches!(suspects, Suspects::These(_)) && suspect && !dry_run;
                let outcome = if told { Outcome::Unresolved } else { Outcome::Refused };
                self.settle_waiter(waiter, outcome, suspect, &protected());
            } else if dry_run {
                let evidence = Evidence::own("DryRun", format!("would be released in a call of {group}"));
                self.settle_waiter(waiter, Outcome::DryRun, suspect, &evidence);
            } else if suspect && let Some(known) = self.memory.recall(&id, &group).cloned() {
                self.ledger.settle(key, slot, known, 0, None);
            } else {
                self.join(&group, id, waiter, suspect, now);
            }
        }
        key
    }

    /// Lets time pass: due retries become ready, jobs past their `NotAfter` are answered.
    pub fn advance(&mut self, now: Moment) {
        while let Some(Reverse((at, key))) = self.retries.peek().copied()
            && at <= now
        {
            self.retries.pop();
            self.make_ready(key);
        }
        for job in self.ledger.take_expired(now) {
            self.expire(job, now);
        }
    }

    /// Whether a permit would be spent now.
    pub fn ready(&self, now: Moment) -> bool {
        self.backlog.ready(now, self.calls_under_way == 0)
    }

    /// When something is next due that waits for nothing but time.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let retry = self.retries.peek().map(|Reverse((at, _))| *at);
        let timers = [retry, self.ledger.next_expiry(), self.backlog.ready_at()];
        timers.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// A permit is in hand: seals the batch whose turn it is. `None` if every waiting id has turned out not to be wanted.
    pub fn seal(&mut self, now: Moment) -> Option<Call> {
        loop {
            let (lot, reason) = self.backlog.choose(now, self.calls_under_way == 0)?;
            let call = match lot {
                Lot::Course(key) => self.go_on_with(key, now),
                Lot::Group(group) => self.seal_pool(&group, now).and_then(|key| self.call(key, reason, now)),
            };
            if call.is_some() {
                return call;
            }
        }
    }

    /// Fills a new course from a pool; guards are asked again for every id.
    fn seal_pool(&mut self, group: &Arc<GroupKey>, now: Moment) -> Option<CallKey> {
        let mut ids = Vec::new();
        let mut since = now;
        while ids.len() < MAX_IDS_PER_CALL {
            let Some((id, arrived)) = self.backlog.pop(group) else { break };
            if self.admissible(&id, now) {
                since = since.min(arrived);
                ids.push(id);
            }
        }
        self.backlog.reorder(group);
        if ids.is_empty() {
            return None;
        }
        Some(self.begin_course(group, ids, since))
    }

    /// A course's turn has come: whoever is no longer admissible leaves it, the rest is called.
    fn go_on_with(&mut self, key: CallKey, now: Moment) -> Option<Call> {
        let course = self.courses.get(&key)?;
        let reason = if let Plan::Split(_) = course.plan { SealReason::Split } else { SealReason::Retry };
        let asked = course.asked().to_vec();
        let unwanted: HashSet<_> = asked.into_iter().filter(|id| !self.admissible(id, now)).collect();
        if unwanted.is_empty() {
            return self.call(key, reason, now);
        }
        self.courses.get_mut(&key)?.retain(|id| !unwanted.contains(id));
        // What is asked next may be other ids, and they must pass the guards as well.
        self.make_ready(key);
        None
    }

    /// Turns what a course asks next into a call.
    fn call(&mut self, key: CallKey, reason: SealReason, now: Moment) -> Option<Call> {
        let course = self.courses.get(&key)?;
        let batch = Batch::new(Arc::clone(&course.group), course.asked().to_vec()).ok()?;
        let (attempt, waited) = (course.attempts, now.saturating_sub(course.since));
        for id in batch.ids() {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.phase = Phase::Called;
                flight.calls += 1;
                for waiter in &flight.waiters {
                    if let Some(entry) = self.ledger.get_mut(waiter.job) {
                        entry.begun = true;
                    }
                }
            }
        }
        self.calls_under_way += 1;
        Some(Call { key, batch, attempt, reason, waited })
    }

    fn make_ready(&mut self, key: CallKey) {
        if let Some(course) = self.courses.get(&key) {
            self.queue_up(key, course.since);
        }
    }

    /// Puts a course in line behind everything that waits since before the given moment; one with nothing to ask is over.
    fn queue_up(&mut self, key: CallKey, since: Moment) {
        match self.courses.get(&key).map_or(0, |course| course.asked().len()) {
            0 => drop(self.courses.remove(&key)),
            size => self.backlog.push_course(key, since, size),
        }
    }

    /// Begins the course of ids that were taken out of a pool, or never were in one.
    fn begin_course(&mut self, group: &Arc<GroupKey>, ids: Vec<InstanceId>, since: Moment) -> CallKey {
        self.next_course += 1;
        let key = CallKey(self.next_course);
        self.courses.insert(key, Course::new(Arc::clone(group), ids, since));
        key
    }

    /// Jobs whose every id has an outcome, once each.
    pub fn take_finished(&mut self) -> Vec<FinishedJob> {
        self.ledger.take_finished()
    }

    /// Jobs that no call was made for: they can be given back as they came.
    pub fn unbegun(&self) -> Vec<JobKey> {
        self.ledger.keys().filter(|(_, entry)| !entry.begun).map(|(key, _)| key).collect()
    }

    /// Ids without an outcome.
    pub fn pending_ids(&self) -> usize {
        self.flights.len()
    }

    /// Jobs without a result.
    pub fn pending_jobs(&self) -> usize {
        self.ledger.len()
    }

    /// How long the oldest id without an outcome has waited.
    pub fn oldest_age(&self, now: Moment) -> Duration {
        let courses = self.courses.values().map(|course| course.since);
        courses.chain(self.backlog.oldest()).min().map_or(Duration::ZERO, |since| now.saturating_sub(since))
    }

    /// Calls without a verdict.
    pub fn calls_under_way(&self) -> usize {
        self.calls_under_way
    }
}
