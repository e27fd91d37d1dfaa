//! One id on its way: who waits for it, and what earlier calls may have done to it. An id is on its way once at most,
//! however many jobs want it.

use std::collections::HashMap;
use std::sync::Arc;

use super::course::{CallKey, Course, Order};
use super::{JobKey, Moment};
use crate::contract::{Doubt, GroupKey};

/// One job's claim on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub job: JobKey,
    /// The id's place in the job.
    pub place: usize,
    /// What the id had suffered before the job wanted it: that is not the job's.
    before: Suffered,
}

impl Waiter {
    pub fn new(job: JobKey, place: usize) -> Self {
        Self { job, place, before: Suffered::default() }
    }

    /// The same claim on an id that has suffered this so far.
    pub fn after(self, history: &History) -> Self {
        Self { before: history.suffered, ..self }
    }

    /// The attempts that are charged to the job: calls that failed while it wanted the id, be it in them or not. Calls that
    /// were refused and left it open make one together, so that no search goes on for ever.
    pub fn attempts(&self, history: &History) -> u32 {
        let (before, now) = (self.before, history.suffered);
        // Each by itself: the course forgets its failures when it finds something out, and the id's own stay.
        let own = now.failures.saturating_sub(before.failures);
        let of_course = now.course.since(before.course);
        own.max(of_course).max(u32::from(now.refusals > before.refusals))
    }
}

/// What can only grow while an id is on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Suffered {
    /// Failed calls with the id. What is given up on must have been tried in vain so often.
    pub failures: u32,
    /// Calls with the id that were refused as a whole.
    pub refusals: u32,
    /// Failed calls of its course, though the last ones may have carried others.
    pub course: Failures,
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

/// Failed calls of a course, and split budgets that it spent for nothing. They are forgiven when an id of it has its outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Failures {
    all: u32,
    forgiven: u32,
}

impl Failures {
    pub fn add(&mut self) {
        self.all = self.all.saturating_add(1);
    }

    pub fn forgive(&mut self) {
        self.forgiven = self.all;
    }

    /// Those that are not forgiven.
    pub fn count(self) -> u32 {
        self.all - self.forgiven
    }

    /// Those of them that came after an earlier state.
    fn since(self, earlier: Self) -> u32 {
        self.all.saturating_sub(self.forgiven.max(earlier.all))
    }
}

/// What this worker's calls did to an id.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct History {
    /// Whether a call may have released it without our being told.
    pub doubt: Doubt,
    /// Calls it took part in.
    pub calls: u32,
    pub suffered: Suffered,
    /// When one first failed or was refused.
    pub first_failure: Option<Moment>,
}

impl History {
    /// What is known where nothing was called.
    pub fn blank(doubt: Doubt) -> Self {
        Self { doubt, ..Self::default() }
    }

    pub fn fail(&mut self, now: Moment) {
        self.suffered.failures = self.suffered.failures.saturating_add(1);
        self.first_failure.get_or_insert(now);
    }

    pub fn refuse(&mut self, now: Moment) {
        self.suffered.refusals = self.suffered.refusals.saturating_add(1);
        self.first_failure.get_or_insert(now);
    }
}

#[derive(Debug)]
pub(super) struct Flight {
    pub group: Arc<GroupKey>,
    pub phase: Phase,
    pub history: History,
    /// A job told that it is suspect: it must not meet fresh ids.
    pub apart: bool,
    pub order: Order,
    /// The course that it was sealed into last.
    pub course: Option<CallKey>,
    /// Jobs of the same group: they share the outcome.
    pub waiters: Vec<Waiter>,
    /// Jobs of other groups: they make their own call afterwards.
    pub later: Vec<(Arc<GroupKey>, Order, Waiter)>,
}

impl Flight {
    pub fn new(group: Arc<GroupKey>, doubt: Doubt, order: Order, waiters: Vec<Waiter>) -> Self {
        Self {
            group,
            phase: Phase::Pooled,
            history: History::blank(doubt),
            apart: false,
            order,
            course: None,
            waiters,
            later: Vec::new(),
        }
    }

    /// What the id has suffered, by itself and with its course.
    pub fn suffered(&self, courses: &HashMap<CallKey, Course>) -> History {
        let course = self.course.and_then(|key| courses.get(&key)).map(|course| course.failures).unwrap_or_default();
        History { suffered: Suffered { course, ..self.history.suffered }, ..self.history }
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
        let index = self.later.iter().position(|(_, _, waiter)| waiter.job == job)?;
        let (_, _, waiter) = self.later.remove(index);
        Some((waiter, History::blank(self.doubt_afterwards())))
    }

    /// How the id stands for whoever calls it after this flight.
    pub fn doubt_afterwards(&self) -> Doubt {
        if self.history.calls == 0 { self.history.doubt } else { self.history.doubt.max(Doubt::Refused) }
    }
}
