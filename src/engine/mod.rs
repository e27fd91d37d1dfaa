//! The heart: what to call next, and what a verdict means for every id. One engine serves one account.
//!
//! Pure: no I/O, no clock of its own, no async. It takes events (a job is admitted, a permit is there, a verdict came) with
//! the time at which they happen, and answers with calls to make and jobs that are finished.
//!
//! ```text
//! admit ──> flight ──> pool ──(permit)──> batch ──call──> verdict ──> outcome ──> ledger ──> finished job
//!                                           ^                |  |                    ^
//!           course: again, or in parts, ────┘<───────────────┘  '── out of patience ─┴─> postponed job
//!           its suspects read back first
//! ```
//!
//! An id has one flight however many jobs want it. A sealed batch has a course: the way through retries and splits
//! until each of its ids has an outcome. Ids of a course never go back to a pool, and ids that come with a job's word that
//! they are suspect have a pool of their own, so a suspect never meets a fresh id. A redelivered job's ids are suspect too,
//! for all that anybody knows; that changes what "gone" means, not how they are batched.

mod backlog;
mod blame;
mod claims;
mod course;
mod failing;
mod flight;
mod ledger;
mod memory;
mod patience;
mod protection;
mod read_back;
mod seal;
#[cfg(test)]
mod simulation;
mod split;
mod verdict;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

pub use backlog::SealReason;
pub use course::CallKey;
pub use ledger::{FinishedJob, JobKey, PostponedJob};
pub use protection::{InvalidProtection, Protection};

use backlog::{Backlog, PoolKey};
use blame::Blamed;
use claims::protected;
use course::{Course, Order, Reading};
use failing::Failing;
use flight::{Flight, History, Waiter};
use ledger::Ledger;
use memory::Memory;

use crate::contract::{Batch, Doubt, Evidence, GroupKey, InstanceId, InstanceOutcome, Open, Outcome, Place, Priority};

/// Time since the worker's start, as the caller's monotonic clock tells it.
pub type Moment = Duration;

/// How long to wait before the given attempt (1 is the first retry).
pub type Delays = Box<dyn FnMut(u32) -> Duration + Send>;

/// The engine's own settings.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// How long a part-filled batch waits for company.
    pub linger: Duration,
    /// After which a batch is served though others go before it.
    pub max_wait: Duration,
    /// What each step of priority is worth: a job goes before those of the next lower one that first came up to so much
    /// earlier.
    pub head_start: Duration,
    /// At most every n-th permit goes to a part-filled pool that waited `max_wait`, and to a full one that did so behind
    /// courses.
    pub overdue_share: u32,
    /// Calls that one refused batch may cost before it has to wait like a failed one.
    pub split_budget: u32,
    /// Failed calls of a batch (or split budgets spent for nothing) without an outcome between them, after which its ids are
    /// postponed.
    pub attempts_in_process: u32,
    /// Failed calls of an id, over all deliveries, after which it is `Unresolved`.
    pub max_attempts: u32,
    /// The same, in time since the first failure.
    pub max_age: Duration,
    /// Whether a refused call is known to have released nothing.
    pub atomic: bool,
    /// Whether the account can be asked which suspects it still lists.
    pub read_back: bool,
}

/// A job as the engine needs it.
#[derive(Debug)]
pub struct NewJob {
    pub group: Arc<GroupKey>,
    /// In the job's own order, no id twice; at least one is open.
    pub places: Vec<(InstanceId, Place)>,
    /// An earlier worker may have begun it, so that every open id is suspect.
    pub redelivered: bool,
    /// Answer what would be called, and call nothing.
    pub dry_run: bool,
    pub priority: Priority,
    /// When it came for the first time, however often it was postponed since.
    pub first_came: Moment,
    pub expires_at: Option<Moment>,
    /// When what is still open is postponed, whatever it waits for.
    pub held_until: Option<Moment>,
}

impl NewJob {
    /// What is to be said of a suspect that is not called is more than that it was refused.
    fn doubt(&self, told: Doubt) -> Doubt {
        match (self.dry_run, self.redelivered) {
            (true, _) => Doubt::None,
            (false, true) => Doubt::Unknown,
            (false, false) => told,
        }
    }

    /// Whether no id of it waits for a call: it is a dry run, or its time is over.
    pub fn ends_at_once(&self, now: Moment) -> bool {
        self.dry_run || self.expires_at.is_some_and(|at| at <= now)
    }

    /// How its ids stand if nothing is done about them.
    pub fn untouched(self) -> Vec<(InstanceId, Place)> {
        let untouched = |place: &Place| match place {
            Place::Open(open) => Place::Open(Open { doubt: self.doubt(open.doubt), ..*open }),
            Place::Settled(outcome) => Place::Settled(outcome.clone()),
        };
        self.places.iter().map(|(id, place)| (id.clone(), untouched(place))).collect()
    }
}

/// A call to make, now: the permit is spent.
#[derive(Debug)]
pub struct Call {
    pub key: CallKey,
    pub batch: Batch,
    pub kind: CallKind,
    /// How long the batch's oldest id has waited.
    pub waited: Duration,
}

/// What a call is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallKind {
    /// Release the batch. `attempt` counts its failed calls so far.
    Release { attempt: u32, reason: SealReason },
    /// Ask which ids of the batch the account still lists.
    ReadBack,
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
    blamed: Blamed,
    failing: Failing,
    calls_under_way: usize,
    /// Courses that wait for their next attempt.
    retries: BinaryHeap<Reverse<(Moment, CallKey)>>,
    /// Courses whose suspects wait to be read back, oldest first.
    read_backs: BTreeSet<(Moment, CallKey)>,
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
            blamed: Blamed::default(),
            failing: Failing::default(),
            calls_under_way: 0,
            retries: BinaryHeap::new(),
            read_backs: BTreeSet::new(),
        }
    }

    /// Changes what is protected. Ids that were admitted before are looked at again when a batch of them is sealed.
    pub fn protect(&mut self, protection: Protection) {
        self.protection = protection;
    }

    /// Takes a job. Ids that need no call have their outcome at once.
    pub fn admit(&mut self, job: NewJob, now: Moment) -> JobKey {
        let open: Vec<_> = (job.places.iter().enumerate())
            .filter_map(|(place, (id, standing))| Some((place, id.clone(), standing.open()?.doubt)))
            .map(|(place, id, told)| (place, id, told.is_suspect(), job.doubt(told)))
            .collect();
        let NewJob { group, places, dry_run, priority, first_came, expires_at, held_until, .. } = job;
        let [fresh, suspects] = [false, true].map(|suspects| PoolKey::new(&group, suspects));
        let delay = priority.delay(self.settings.head_start);
        let order = Order { delay, turn: first_came.min(now) + delay };
        let mut hastened = HashSet::new();
        let key = self.ledger.open(places, expires_at, held_until, now);
        for (place, id, told, doubt) in open {
            let waiter = Waiter::new(key, place);
            if self.protection.covers(&id) {
                let outcome = if doubt.is_suspect() { Outcome::Unresolved } else { Outcome::Refused };
                self.settle_uncalled(waiter, outcome, doubt, &protected());
            } else if dry_run {
                let evidence = Evidence::own("DryRun", format!("would be released in a call of {group}"));
                self.settle_uncalled(waiter, Outcome::DryRun, doubt, &evidence);
            } else if doubt.is_suspect()
                && let Some(known) = self.memory.recall(&id, &group).cloned()
            {
                self.ledger.settle(waiter, known, &History::default());
            } else {
                let pool = if told { &suspects } else { &fresh };
                if self.join(pool, id.clone(), waiter, doubt, order, now) {
                    hastened.insert(id);
                }
            }
        }
        if !hastened.is_empty() {
            self.backlog.hasten(&fresh, &hastened, order.turn);
            self.backlog.hasten(&suspects, &hastened, order.turn);
        }
        key
    }

    fn settle_uncalled(&mut self, waiter: Waiter, outcome: Outcome, doubt: Doubt, evidence: &Arc<Evidence>) {
        let outcome = InstanceOutcome::new(outcome, doubt.is_suspect(), evidence);
        self.ledger.settle(waiter, outcome, &History::default());
    }

    /// Lets time pass: due retries become ready, jobs that may wait no longer are parted with.
    pub fn advance(&mut self, now: Moment) {
        while let Some(Reverse((at, key))) = self.retries.peek().copied()
            && at <= now
        {
            self.retries.pop();
            self.make_ready(key, now);
        }
        self.part_with_late_jobs(now);
    }

    /// When something is next due that waits for nothing but time.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let retry = self.retries.peek().map(|Reverse((at, _))| *at);
        let timers = [retry, self.ledger.next_timer(), self.backlog.ready_at()];
        timers.into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Jobs whose every id has an outcome, once each.
    pub fn take_finished(&mut self) -> Vec<FinishedJob> {
        self.ledger.take_finished()
    }

    /// Jobs that are let go of with open ids, once each: what they carry must come again.
    pub fn take_postponed(&mut self) -> Vec<PostponedJob> {
        self.ledger.take_postponed()
    }

    /// Jobs that no call was made for: they can be given back as they came.
    pub fn unbegun(&self) -> Vec<JobKey> {
        self.ledger.keys().filter(|(_, entry)| !entry.begun).map(|(key, _)| key).collect()
    }

    /// The jobs that want an id of a batch, in the order in which they came.
    pub fn jobs_of(&self, batch: &Batch) -> BTreeSet<JobKey> {
        let flights = batch.ids().iter().filter_map(|id| self.flights.get(id));
        flights.flat_map(|flight| &flight.waiters).map(|waiter| waiter.job).collect()
    }

    /// Whether anything of what was sealed under this key may be called again, or is right now.
    pub fn has_course(&self, key: CallKey) -> bool {
        self.courses.contains_key(&key)
    }

    /// Ids without an outcome.
    pub fn pending_ids(&self) -> usize {
        self.flights.len()
    }

    /// The calls that waiting work is worth, if it went now: not what is under way, nor what waits for its retry.
    pub fn waiting_calls(&self) -> usize {
        self.backlog.calls()
    }

    /// The calls that work is worth which waits for its retry, or for its suspects to be read back.
    pub fn later_calls(&self) -> usize {
        let retries = self.retries.iter().filter(|Reverse((_, key))| self.courses.contains_key(key));
        retries.count() + self.read_backs.len()
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

    /// Calls and queries without an answer.
    pub fn calls_under_way(&self) -> usize {
        self.calls_under_way
    }

    /// The queries among them.
    pub fn queries_under_way(&self) -> usize {
        self.courses.values().filter(|course| matches!(course.reading, Reading::Asked { .. })).count()
    }
}
