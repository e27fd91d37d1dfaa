//! What every admitted job is still owed. Keyed by admission, never by the job's name: producers reuse names.

use std::collections::{BTreeSet, HashMap};

use super::Moment;
use super::flight::{History, Waiter};
use crate::contract::{InstanceId, InstanceOutcome, Open, Place};

/// Names one admission of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey(pub(super) u64);

/// A job whose every id has an outcome.
#[derive(Debug)]
pub struct FinishedJob {
    pub key: JobKey,
    /// In the job's own order.
    pub outcomes: Vec<(InstanceId, InstanceOutcome)>,
    /// The most calls that any one id took part in.
    pub calls: u32,
    /// When a call with one of its ids first failed or was refused.
    pub first_failure: Option<Moment>,
}

/// A job that is let go of before every id has its outcome. It must come again.
#[derive(Debug)]
pub struct PostponedJob {
    pub key: JobKey,
    /// In the job's own order; at least one is open.
    pub places: Vec<(InstanceId, Place)>,
    /// No call spoke of any open id: they only waited for their turn.
    pub parked: bool,
    /// The most calls that any one id took part in.
    pub calls: u32,
    pub first_failure: Option<Moment>,
}

/// Why a job waits no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    /// Its `NotAfter` has passed.
    Expired,
    /// It was held as long as a delivery may be.
    Held,
}

/// What an id of a job is owed.
#[derive(Debug)]
enum Debt {
    /// An outcome; with what was known when the job was admitted.
    Outcome(Open),
    Paid(InstanceOutcome),
    /// Nothing more here.
    Postponed(Open),
}

#[derive(Debug)]
pub(super) struct Entry {
    instances: Vec<(InstanceId, Debt)>,
    owed: usize,
    calls: u32,
    first_failure: Option<Moment>,
    admitted_at: Moment,
    expires_at: Option<Moment>,
    held_until: Option<Moment>,
    /// A call with one of its ids was made.
    pub begun: bool,
    /// An id was postponed that calls had spoken of.
    tried: bool,
}

impl Entry {
    /// Whether the job must not wait any longer.
    pub fn late(&self, now: Moment) -> Option<Late> {
        let passed = |at: Option<Moment>| at.is_some_and(|at| at <= now);
        if passed(self.expires_at) { Some(Late::Expired) } else { passed(self.held_until).then_some(Late::Held) }
    }

    /// How an id stands after these attempts, those of earlier deliveries counted in. A delivery without any adds nothing to
    /// its age: waiting for permits is not the id's fault.
    fn open_after(&self, known: &Open, history: &History, attempts: u32, now: Moment) -> Open {
        let here = now.saturating_sub(self.admitted_at);
        let age = match known.age {
            _ if attempts == 0 => known.age,
            Some(age) => Some(age + here),
            // Another job's calls may have failed for the id before this one wanted it.
            None => history.first_failure.map(|since| now.saturating_sub(since).min(here)),
        };
        Open { doubt: known.doubt.max(history.doubt), attempts: known.attempts.saturating_add(attempts), age }
    }
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    entries: HashMap<JobKey, Entry>,
    /// When which job must be looked at, because it may be late.
    timers: BTreeSet<(Moment, JobKey)>,
    finished: Vec<FinishedJob>,
    postponed: Vec<PostponedJob>,
}

impl Ledger {
    pub fn open(
        &mut self,
        instances: Vec<(InstanceId, Place)>,
        expires_at: Option<Moment>,
        held_until: Option<Moment>,
        now: Moment,
    ) -> JobKey {
        self.next += 1;
        let key = JobKey(self.next);
        let debt = |place| match place {
            Place::Open(open) => Debt::Outcome(open),
            Place::Settled(outcome) => Debt::Paid(outcome),
        };
        let instances: Vec<_> = instances.into_iter().map(|(id, place)| (id, debt(place))).collect();
        let owed = instances.iter().filter(|(_, debt)| matches!(debt, Debt::Outcome(_))).count();
        let entry = Entry {
            instances,
            owed,
            calls: 0,
            first_failure: None,
            admitted_at: now,
            expires_at,
            held_until,
            begun: false,
            tried: false,
        };
        self.entries.insert(key, entry);
        self.timers.extend(expires_at.into_iter().chain(held_until).map(|at| (at, key)));
        key
    }

    /// Jobs that may be late by now.
    pub fn take_due(&mut self, now: Moment) -> Vec<JobKey> {
        let mut due = Vec::new();
        while let Some((at, key)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            due.push(key);
        }
        due
    }

    /// Has a job looked at once more.
    pub fn look_again(&mut self, key: JobKey, at: Moment) {
        self.timers.insert((at, key));
    }

    pub fn next_timer(&self) -> Option<Moment> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub fn late(&self, key: JobKey, now: Moment) -> Option<Late> {
        self.entries.get(&key)?.late(now)
    }

    pub fn get_mut(&mut self, key: JobKey) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    pub fn keys(&self) -> impl Iterator<Item = (JobKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ids of a job that are still owed an outcome.
    pub fn owed_ids(&self, key: JobKey) -> Vec<InstanceId> {
        let Some(entry) = self.entries.get(&key) else { return Vec::new() };
        let owed = entry.instances.iter().filter(|(_, debt)| matches!(debt, Debt::Outcome(_)));
        owed.map(|(id, _)| id.clone()).collect()
    }

    /// How an id stands for a job after what it suffered; `None` if the job is owed nothing for it.
    pub fn standing(&self, waiter: Waiter, history: &History, now: Moment) -> Option<Open> {
        let entry = self.entries.get(&waiter.job)?;
        match &entry.instances.get(waiter.place)?.1 {
            Debt::Outcome(known) => Some(entry.open_after(known, history, waiter.attempts(history), now)),
            Debt::Paid(_) | Debt::Postponed(_) => None,
        }
    }

    /// Gives one id of a job its outcome; the first one given stands.
    pub fn settle(&mut self, waiter: Waiter, outcome: InstanceOutcome, history: &History) {
        self.pay(waiter, Debt::Paid(outcome), history);
    }

    /// Lets an id of a job go without an outcome.
    pub fn postpone(&mut self, waiter: Waiter, history: &History, now: Moment) {
        let Some(open) = self.standing(waiter, history, now) else { return };
        if let Some(entry) = self.entries.get_mut(&waiter.job) {
            entry.tried |= waiter.attempts(history) > 0;
        }
        self.pay(waiter, Debt::Postponed(open), history);
    }

    fn pay(&mut self, waiter: Waiter, paid: Debt, history: &History) {
        let Some(entry) = self.entries.get_mut(&waiter.job) else { return };
        let debt = &mut entry.instances[waiter.place].1;
        if !matches!(debt, Debt::Outcome(_)) {
            return;
        }
        *debt = paid;
        entry.owed -= 1;
        entry.calls = entry.calls.max(history.calls);
        entry.first_failure = entry.first_failure.into_iter().chain(history.first_failure).min();
        if entry.owed == 0 {
            self.close(waiter.job);
        }
    }

    fn close(&mut self, key: JobKey) {
        let Some(entry) = self.remove(key) else { return };
        let Entry { instances, calls, first_failure, tried, .. } = entry;
        if instances.iter().all(|(_, debt)| matches!(debt, Debt::Paid(_))) {
            let outcomes = instances.into_iter().filter_map(|(id, debt)| match debt {
                Debt::Paid(outcome) => Some((id, outcome)),
                Debt::Outcome(_) | Debt::Postponed(_) => None,
            });
            self.finished.push(FinishedJob { key, outcomes: outcomes.collect(), calls, first_failure });
            return;
        }
        let places = instances.into_iter().map(|(id, debt)| match debt {
            Debt::Paid(outcome) => (id, Place::Settled(outcome)),
            Debt::Outcome(open) | Debt::Postponed(open) => (id, Place::Open(open)),
        });
        self.postponed.push(PostponedJob { key, places: places.collect(), parked: !tried, calls, first_failure });
    }

    /// Forgets a job: it is somebody else's now.
    pub fn forget(&mut self, key: JobKey) {
        self.remove(key);
    }

    fn remove(&mut self, key: JobKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        // A timer that was put off stays and finds nobody: it is a second away at most.
        for at in entry.expires_at.into_iter().chain(entry.held_until) {
            self.timers.remove(&(at, key));
        }
        Some(entry)
    }

    pub fn take_finished(&mut self) -> Vec<FinishedJob> {
        std::mem::take(&mut self.finished)
    }

    pub fn take_postponed(&mut self) -> Vec<PostponedJob> {
        std::mem::take(&mut self.postponed)
    }
}
