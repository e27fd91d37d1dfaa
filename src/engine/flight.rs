//! One id on its way: who waits for it, and what earlier calls may have done to it. An id is on its way once at most,
//! however many jobs want it.

use std::sync::Arc;

use super::{JobKey, Moment};
use crate::contract::{Doubt, GroupKey};

/// One job's claim on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub job: JobKey,
    /// The id's place in the job.
    pub place: usize,
    /// Calls that had failed for the id before the job wanted it: they are not the job's.
    pub failures_before: u32,
}

impl Waiter {
    pub fn new(job: JobKey, place: usize) -> Self {
        Self { job, place, failures_before: 0 }
    }

    /// Calls that failed while the job wanted the id.
    pub fn failed(&self, history: &History) -> u32 {
        history.failures.count.saturating_sub(self.failures_before)
    }
}

/// Where the id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// In its group's pool, never called.
    Pooled,
    /// In a batch that was called and will be again.
    Sealed,
    /// In a call that is under way.
    Called,
}

/// Failed calls, and since when.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    pub count: u32,
    pub since: Option<Moment>,
}

impl Failures {
    pub fn add(&mut self, now: Moment) {
        self.count = self.count.saturating_add(1);
        self.since.get_or_insert(now);
    }

    /// The worse of both: more failures, and for longer.
    pub fn or_worse(self, other: Self) -> Self {
        Self { count: self.count.max(other.count), since: self.since.into_iter().chain(other.since).min() }
    }
}

/// What this worker's calls did to an id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct History {
    /// Whether a call may have released it without our being told.
    pub doubt: Doubt,
    /// Calls it took part in.
    pub calls: u32,
    /// Those that failed. Never reset: what is given up on must have been tried in vain so often.
    pub failures: Failures,
    /// When one first failed or was refused.
    pub first_failure: Option<Moment>,
}

impl History {
    /// What is known where nothing was called.
    pub fn blank(doubt: Doubt) -> Self {
        Self { doubt, ..Self::default() }
    }
}

#[derive(Debug)]
pub(super) struct Flight {
    pub group: Arc<GroupKey>,
    pub phase: Phase,
    pub history: History,
    /// Jobs of the same group: they share the outcome.
    pub waiters: Vec<Waiter>,
    /// Jobs of other groups: they make their own call afterwards.
    pub later: Vec<(Arc<GroupKey>, Waiter)>,
}

impl Flight {
    pub fn new(group: Arc<GroupKey>, doubt: Doubt, waiters: Vec<Waiter>) -> Self {
        Self { group, phase: Phase::Pooled, history: History::blank(doubt), waiters, later: Vec::new() }
    }

    /// Whether a call that is under way decides a job's claim.
    pub fn is_deciding(&self, job: JobKey) -> bool {
        self.phase == Phase::Called && self.waiters.iter().any(|waiter| waiter.job == job)
    }

    /// Takes a job's claim back. Answers with what the job should know of the id: of another group's calls only that one
    /// of them may have released it.
    pub fn leave(&mut self, job: JobKey) -> Option<(Waiter, History)> {
        if let Some(index) = self.waiters.iter().position(|waiter| waiter.job == job) {
            return Some((self.waiters.remove(index), self.history));
        }
        let index = self.later.iter().position(|(_, waiter)| waiter.job == job)?;
        let (_, waiter) = self.later.remove(index);
        Some((waiter, History::blank(self.doubt_afterwards())))
    }

    /// How the id stands for whoever calls it after this flight.
    pub fn doubt_afterwards(&self) -> Doubt {
        if self.history.calls == 0 { self.history.doubt } else { Doubt::Unknown }
    }
}
