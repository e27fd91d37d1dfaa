//! The fewest calls that the ids called so far could have gone in: full batches of each group, had all been there at once.
//! What calls are held against. It must not know what a call says.

use std::collections::HashMap;
use std::sync::Arc;

use crate::contract::{GroupKey, MAX_IDS_PER_CALL};

/// Groups counted at a time: a producer's typos can't grow the memory. One more, and all begin anew, each with a call.
const MAX_GROUPS: usize = 10_000;

/// For each group, how many more ids the calls counted for it could have carried.
#[derive(Debug, Default)]
pub struct FewestCalls(HashMap<Arc<GroupKey>, usize>);

impl FewestCalls {
    /// Counts ids that are called for the first time; answers with the calls that they make necessary.
    pub fn add(&mut self, group: &Arc<GroupKey>, ids: usize) -> u64 {
        if self.0.len() >= MAX_GROUPS && !self.0.contains_key(group) {
            self.0.clear();
        }
        let room = self.0.entry(Arc::clone(group)).or_default();
        let calls = ids.saturating_sub(*room).div_ceil(MAX_IDS_PER_CALL);
        *room = *room + calls * MAX_IDS_PER_CALL - ids;
        calls as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Job;

    fn group(product: &str) -> Arc<GroupKey> {
        let body = format!(r#"{{"ProductCode":"{product}","SubscriptionType":"PayAsYouGo","InstanceIds":["i"]}}"#);
        Arc::new(Job::parse(body.as_bytes(), None).unwrap().group)
    }

    #[test]
    fn part_filled_batches_of_a_group_are_held_against_full_ones_and_groups_never_share_a_call() {
        let (ecs, rds) = (group("ecs"), group("rds"));
        let mut fewest = FewestCalls::default();
        let asked =
            [(&ecs, 1, 1), (&ecs, 60, 0), (&rds, 1, 1), (&ecs, 39, 0), (&ecs, 1, 1), (&ecs, 100, 1), (&rds, 100, 1)];
        for (group, ids, calls) in asked {
            assert_eq!(fewest.add(group, ids), calls, "{ids} of {}", group.product_code.as_str());
        }
    }

    #[test]
    fn groups_without_end_do_not_grow_it() {
        let mut fewest = FewestCalls::default();
        for n in 0..=MAX_GROUPS {
            fewest.add(&group(&format!("p{n}")), 1);
        }
        assert_eq!(fewest.0.len(), 1);
    }
}
