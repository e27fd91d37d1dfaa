//! Whose batches the account was blamed for: where others fare well meanwhile, it is the batch that is at fault. It must not
//! know courses.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::contract::{GroupKey, InstanceId};

/// How many groups are told apart; beyond that the count begins anew.
const GROUPS: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct Blamed {
    /// Calls whose verdict was about their batch: the API is there and takes the account.
    proper_verdicts: u64,
    groups: HashMap<Arc<GroupKey>, Blame>,
}

/// Of a group.
#[derive(Debug)]
struct Blame {
    /// How many proper verdicts there had been when the account was last blamed.
    before: u64,
    /// The ids of that batch that no call has cleared since.
    ids: HashSet<InstanceId>,
    /// Another batch of the group was called properly since.
    forgiven: bool,
}

impl Blamed {
    /// A call with these was answered properly.
    pub fn clear(&mut self, group: &Arc<GroupKey>, asked: &[InstanceId]) {
        self.proper_verdicts += 1;
        let Some(blame) = self.groups.get_mut(group) else { return };
        blame.forgiven = true;
        blame.ids.retain(|id| !asked.contains(id));
        if blame.ids.is_empty() {
            self.groups.remove(group);
        }
    }

    /// The account is blamed for a call with these.
    pub fn blame(&mut self, group: &Arc<GroupKey>, asked: &[InstanceId]) {
        if self.groups.len() >= GROUPS && !self.groups.contains_key(group) {
            self.groups.clear();
        }
        let blame = Blame { before: self.proper_verdicts, ids: asked.iter().cloned().collect(), forgiven: false };
        self.groups.insert(Arc::clone(group), blame);
    }

    /// Whether the account was blamed for these before, or for a group of which nothing was called properly, and calls of others
    /// fared well since.
    pub fn is_at_fault(&self, group: &Arc<GroupKey>, asked: &[InstanceId]) -> bool {
        self.groups.get(group).is_some_and(|blame| {
            let is_meant = !blame.forgiven || asked.iter().any(|id| blame.ids.contains(id));
            is_meant && self.proper_verdicts > blame.before
        })
    }
}
