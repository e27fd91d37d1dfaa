//! One id on its way: who waits for it, and what earlier calls may have done to it. An id is on its way once at most,
//! however many jobs want it.

use std::collections::HashMap;
use std::sync::Arc;

use super::course::{CallKey, Course};
use super::{JobKey, Moment};
use crate::contract::{Doubt, GroupKey};

/// One job's claim on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub job: JobKey,
    /// The id's place in the job.
    pub place: usize,
    /// What the id had suffered before the job wanted it: that is not the job's.
    failures_before: u32,
    refusals_before: u32,
}

impl Waiter {
    pub fn new(job: JobKey, place: usize) -> Self {
        Self { job, place, failures_before: 0, refusals_before: 0 }
    }

    /// The same claim on an id that has suffered this so far.
    pub fn after(self, history: &History) -> Self {
        Self { failures_before: history.failures.count, refusals_before: history.refusals, ..self }
    }

    /// The attempts that are charged to the job: calls that failed while it wanted the id. Calls that were refused and left
    /// it open make one together, so that no search goes on for ever.
    pub fn attempts(&self, history: &History) -> u32 {
        let failed = history.failures.count.saturating_sub(self.failures_before);
        failed.max(u32::from(history.refusals > self.refusals_before))
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
    /// Those that were refused as a whole.
    pub refusals: u32,
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
    /// A job told that it is suspect: it must not meet fresh ids.
    pub apart: bool,
    /// The course that it was sealed into last.
    pub course: Option<CallKey>,
    /// Jobs of the same group: they share the outcome.
    pub waiters: Vec<Waiter>,
    /// Jobs of other groups: they make their own call afterwards.
    pub later: Vec<(Arc<GroupKey>, Waiter)>,
}

impl Flight {
    pub fn new(group: Arc<GroupKey>, doubt: Doubt, waiters: Vec<Waiter>) -> Self {
        Self {
            group,
            phase: Phase::Pooled,
            history: History::blank(doubt),
            apart: false,
            course: None,
            waiters,
            later: Vec::new(),
        }
    }

    /// What the id has suffered. What its course did is its own too, though the last call may have carried others.
    pub fn suffered(&self, courses: &HashMap<CallKey, Course>) -> History {
        let failures = self.history.failures;
        let course = self.course.and_then(|key| courses.get(&key));
        History { failures: course.map_or(failures, |course| failures.or_worse(course.failures)), ..self.history }
    }

    /// Whether a call that is under way decides a job's claim.
    pub fn is_deciding(&self, job: JobKey) -> bool {
        self.phase == Phase::Called && self.waiters.iter().any(|waiter| waiter.job == job)
    }

    /// Takes a job's claim back. Answers with what the job should know of the id: of another group's calls only that one
    /// of them may have released it.
    pub fn leave(&mut self, job: JobKey, courses: &HashMap<CallKey, Course>) -> Option<(Waiter, History)> {
        if let Some(index) = self.waiters.iter().position(|waiter| waiter.job == job) {
            return Some((self.waiters.remove(index), self.suffered(courses)));
        }
        let index = self.later.iter().position(|(_, waiter)| waiter.job == job)?;
        let (_, waiter) = self.later.remove(index);
        Some((waiter, History::blank(self.doubt_afterwards())))
    }

    /// How the id stands for whoever calls it after this flight.
    pub fn doubt_afterwards(&self) -> Doubt {
        if self.history.calls == 0 { self.history.doubt } else { self.history.doubt.max(Doubt::Refused) }
    }
}
