//! One id on its way: who waits for it, and what earlier calls may have done to it. An id is on its way once at most,
//! however many jobs want it.

use std::sync::Arc;

use super::{JobKey, Moment};
use crate::contract::GroupKey;

/// One job's claim on an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Waiter {
    pub job: JobKey,
    /// The id's place in the job.
    pub slot: usize,
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

#[derive(Debug)]
pub(super) struct Flight {
    pub group: Arc<GroupKey>,
    pub phase: Phase,
    /// A call may have released it without our being told.
    pub suspect: bool,
    /// It is suspect because of an earlier delivery or a call of unknown fate, not because a call was refused.
    pub unknown: bool,
    /// Calls it took part in.
    pub calls: u32,
    pub first_failure: Option<Moment>,
    /// Jobs of the same group: they share the outcome.
    pub waiters: Vec<Waiter>,
    /// Jobs of other groups: they make their own call afterwards.
    pub later: Vec<(Arc<GroupKey>, Waiter)>,
}

impl Flight {
    pub fn new(group: Arc<GroupKey>, suspect: bool, waiters: Vec<Waiter>) -> Self {
        Self {
            group,
            phase: Phase::Pooled,
            suspect,
            unknown: suspect,
            calls: 0,
            first_failure: None,
            waiters,
            later: Vec::new(),
        }
    }

    /// Takes a job's claim back.
    pub fn leave(&mut self, job: JobKey) {
        self.waiters.retain(|waiter| waiter.job != job);
        self.later.retain(|(_, waiter)| waiter.job != job);
    }
}
