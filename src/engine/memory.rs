//! What this worker knows to be gone. A job that the broker delivers again, because its ack was lost, names ids that are
//! released already; asking the API about them would cost a call for each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::contract::{GroupKey, InstanceId, InstanceOutcome};

/// Ids remembered: those of some thousand jobs, in some ten megabytes.
const REMEMBERED: usize = 100_000;

/// The ids that were found to be gone last, with the outcome that they had.
#[derive(Debug, Default)]
pub(super) struct Memory {
    gone: HashMap<InstanceId, (Arc<GroupKey>, InstanceOutcome)>,
    /// Oldest first.
    order: VecDeque<InstanceId>,
}

impl Memory {
    pub fn remember(&mut self, id: &InstanceId, group: &Arc<GroupKey>, outcome: &InstanceOutcome) {
        if self.gone.insert(id.clone(), (Arc::clone(group), outcome.clone())).is_none() {
            self.order.push_back(id.clone());
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    /// The API has spoken of an id again, and it is not gone.
    pub fn forget(&mut self, id: &InstanceId, group: &GroupKey) {
        // Its place in the order stays: at worst another memory of it goes a little early.
        if self.recall(id, group).is_some() {
            self.gone.remove(id);
        }
    }

    /// The outcome of an id that is known to be gone. Another group's may be another instance.
    pub fn recall(&self, id: &InstanceId, group: &GroupKey) -> Option<&InstanceOutcome> {
        self.gone.get(id).filter(|(of, _)| **of == *group).map(|(_, outcome)| outcome)
    }
}
