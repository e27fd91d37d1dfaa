//! Which instances there are, and what releasing a batch of them does. By default every id names an instance that can be
//! released once; rules on the id's prefix make others.

use std::collections::HashMap;
use std::sync::Arc;

/// The released ids, each with the number of the call that released it.
pub(super) type Released = HashMap<Arc<str>, u64>;

/// Which ids are bad, and what that does to their batch.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceRules {
    /// Ids that begin so never existed.
    pub gone_prefix: Option<String>,
    /// Ids that begin so belong to somebody else.
    pub foreign_prefix: Option<String>,
    /// Ids that begin so can't be released in their state.
    pub locked_prefix: Option<String>,
    /// A batch with a bad id releases nothing. If not, it releases its good ids, and is refused all the same.
    pub atomic: bool,
    /// Name the bad ids in the refusal.
    pub name_ids: bool,
}

impl Default for InstanceRules {
    fn default() -> Self {
        Self { gone_prefix: None, foreign_prefix: None, locked_prefix: None, atomic: true, name_ids: false }
    }
}

/// What is wrong with an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    Gone,
    Foreign,
    Locked,
}

/// What releasing a batch did: the ids released, and the first defect with every id that has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Release {
    pub released: usize,
    pub refused: Option<(Defect, Vec<Arc<str>>)>,
}

impl InstanceRules {
    /// Releases the ids of a call, which are all different.
    pub(super) fn release(&self, ids: &[Arc<str>], call: u64, released: &mut Released) -> Release {
        let mut refused: Option<(Defect, Vec<Arc<str>>)> = None;
        let mut good = Vec::with_capacity(ids.len());
        for id in ids {
            match self.defect(id, released) {
                None => good.push(id),
                Some(defect) => {
                    let (first, named) = refused.get_or_insert_with(|| (defect, Vec::new()));
                    if *first == defect {
                        named.push(Arc::clone(id));
                    }
                }
            }
        }
        if refused.is_some() && self.atomic {
            return Release { released: 0, refused };
        }
        released.extend(good.iter().map(|id| (Arc::clone(id), call)));
        Release { released: good.len(), refused }
    }

    fn defect(&self, id: &Arc<str>, released: &Released) -> Option<Defect> {
        let begins_with = |prefix: &Option<String>| prefix.as_deref().is_some_and(|prefix| id.starts_with(prefix));
        if begins_with(&self.gone_prefix) || released.contains_key(id) {
            Some(Defect::Gone)
        } else if begins_with(&self.foreign_prefix) {
            Some(Defect::Foreign)
        } else if begins_with(&self.locked_prefix) {
            Some(Defect::Locked)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    fn rules(atomic: bool) -> InstanceRules {
        InstanceRules {
            gone_prefix: Some("gone-".into()),
            foreign_prefix: Some("foreign-".into()),
            locked_prefix: Some("locked-".into()),
            atomic,
            name_ids: false,
        }
    }

    #[test]
    fn an_instance_is_released_once() {
        let (rules, mut released) = (rules(false), Released::new());
        assert_eq!(rules.release(&ids(&["a", "b"]), 0, &mut released), Release { released: 2, refused: None });
        let again = Release { released: 1, refused: Some((Defect::Gone, ids(&["b"]))) };
        assert_eq!(rules.release(&ids(&["b", "c"]), 1, &mut released), again);
        assert_eq!((released["b"], released["c"]), (0, 1));
    }

    #[test]
    fn one_bad_id_keeps_its_batch_from_being_released_only_if_calls_are_atomic() {
        let batch = ids(&["a", "locked-1", "foreign-1", "b", "locked-2"]);
        let refused = Some((Defect::Locked, ids(&["locked-1", "locked-2"])));
        let mut released = Released::new();
        assert_eq!(rules(true).release(&batch, 0, &mut released), Release { released: 0, refused: refused.clone() });
        assert!(released.is_empty());
        assert_eq!(rules(false).release(&batch, 1, &mut released), Release { released: 2, refused });
        assert_eq!(released.len(), 2);
    }
}
