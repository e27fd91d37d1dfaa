//! A course: a sealed batch's way through retries, read-backs and splits, until each of its ids has an outcome or leaves.

use std::sync::Arc;

use super::Moment;
use super::flight::Failures;
use super::split::{Guilt, Split};
use crate::contract::{GroupKey, InstanceId};

/// Names a course, and the one call that it may have under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallKey(pub(super) u64);

#[derive(Debug)]
pub(super) enum Plan {
    /// Call all of them, again if need be.
    Whole(Vec<InstanceId>),
    /// Find out which of them the API refuses.
    Split(Split),
}

/// Whether the suspects of a course are read back before its next call.
#[derive(Debug)]
pub(super) enum Reading {
    /// No call has given a reason to, since they last were.
    Needless,
    /// They will be, and so many queries were in vain. A refusal that gave the reason is judged only then.
    Due { guilt: Option<Guilt>, tries: u32 },
    /// These are asked about right now.
    Asked { suspects: Vec<InstanceId>, guilt: Option<Guilt>, tries: u32 },
    /// It would tell nothing; until a call is of unknown fate again.
    Useless,
    /// The account lists none of the course's ids: what its next call says of them is taken together with that.
    Unlisted,
}

#[derive(Debug)]
pub(super) struct Course {
    pub group: Arc<GroupKey>,
    /// Since when the oldest id waits.
    pub since: Moment,
    pub plan: Plan,
    pub reading: Reading,
    /// Failed calls, and split budgets spent for nothing, since an id of it last had its outcome.
    pub failures: Failures,
    /// Whether an id had its outcome since the split budget was last renewed.
    pub progress: bool,
}

impl Course {
    pub fn new(group: Arc<GroupKey>, ids: Vec<InstanceId>, since: Moment) -> Self {
        Self {
            group,
            since,
            plan: Plan::Whole(ids),
            reading: Reading::Needless,
            failures: Failures::default(),
            progress: false,
        }
    }

    /// What the next call carries.
    pub fn asked(&self) -> &[InstanceId] {
        match &self.plan {
            Plan::Whole(ids) => ids,
            Plan::Split(split) => split.asked().unwrap_or_default(),
        }
    }

    /// Every id without an outcome.
    pub fn open(&self) -> Vec<InstanceId> {
        match &self.plan {
            Plan::Whole(ids) => ids.clone(),
            Plan::Split(split) => split.open(),
        }
    }

    pub fn retain(&mut self, wanted: impl Fn(&InstanceId) -> bool) {
        match &mut self.plan {
            Plan::Whole(ids) => ids.retain(wanted),
            Plan::Split(split) => split.retain(wanted),
        }
    }

    /// An id had its outcome: failed calls are counted for what is still open, and that has just come nearer to its end.
    pub fn progressed(&mut self) {
        (self.failures, self.progress) = (Failures::default(), true);
    }
}
