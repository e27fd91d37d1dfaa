//! Whose calls fail while none is answered: where they are one job's alone, the job may be at fault rather than the API. Told
//! by ids, since a job that is postponed comes back as another one.

use std::collections::{BTreeSet, HashSet};

use super::Engine;
use super::course::CallKey;
use crate::contract::InstanceId;

/// The calls that failed since one was last answered.
#[derive(Debug, Default)]
pub(super) struct Failing {
    /// What the jobs of the first one still wanted; as many as may be pending, at most.
    first: HashSet<InstanceId>,
    /// Calls for others failed as well.
    others: bool,
}

impl Engine {
    /// A call failed, and its verdict is told next: whether all that failed since a call was last answered were for the same
    /// jobs, so that nothing is known of the API.
    pub fn fails_alone(&mut self, key: CallKey) -> bool {
        let asked = self.courses.get(&key).map(|course| course.asked()).unwrap_or_default();
        if self.failing.first.is_empty() {
            let flights = asked.iter().filter_map(|id| self.flights.get(id));
            let jobs: BTreeSet<_> = flights.flat_map(|flight| &flight.waiters).map(|waiter| waiter.job).collect();
            self.failing.first = jobs.into_iter().flat_map(|job| self.ledger.owed_ids(job)).collect();
        } else if !asked.iter().any(|id| self.failing.first.contains(id)) {
            self.failing.others |= !asked.is_empty();
        }
        !self.failing.others
    }
}
