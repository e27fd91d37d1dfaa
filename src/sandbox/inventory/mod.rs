//! Which instances there are. Rules and a file say what is there at the start; what was released since is remembered, and
//! nothing else, so that an inventory of millions costs no more than what was done to it.

mod file;
mod pattern;
mod rule;

use std::collections::HashMap;
use std::sync::Arc;

pub use pattern::IdPattern;
pub use rule::{InstanceRule, InstanceState};

pub(super) use rule::Instance;

use super::settings::{InvalidSettings, SandboxSettings};
use file::InstanceFile;

/// The released ids, each with the number of the call that released it.
pub(super) type Released = HashMap<Arc<str>, u64>;

/// What there was at the start.
#[derive(Debug)]
pub(super) struct Inventory {
    rules: Vec<InstanceRule>,
    file: InstanceFile,
    /// Without a rule and without a file, every id exists.
    everything: bool,
}

impl Inventory {
    pub(super) fn new(settings: &SandboxSettings) -> Result<Self, InvalidSettings> {
        let file = settings.instances_file.as_deref().map(InstanceFile::read).transpose()?;
        let everything = settings.instances.is_empty() && file.is_none();
        Ok(Self { rules: settings.instances.clone(), file: file.unwrap_or_default(), everything })
    }

    /// What an id named at the start, if it named anything.
    pub(super) fn find(&self, id: &str) -> Option<Instance<'_>> {
        let rule = self.rules.iter().find(|rule| rule.ids.matches(id)).map(InstanceRule::instance);
        let found = rule.or_else(|| self.file.find(id)).or(self.everything.then_some(Instance::OPEN));
        found.filter(|instance| instance.state != InstanceState::Gone)
    }

    /// Every id that rules and file list, in their order; `None` if they are more than `limit`. An id may come twice.
    pub(super) fn listed(&self, limit: u64) -> Option<impl Iterator<Item = String> + '_> {
        let counts = self.rules.iter().filter_map(|rule| rule.ids.count());
        let count = counts.fold(self.file.len() as u64, u64::saturating_add);
        let rules = self.rules.iter().flat_map(|rule| rule.ids.ids());
        (count <= limit).then(|| rules.chain(self.file.ids().map(str::to_owned)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(rules: &[&str]) -> Inventory {
        let instances = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Inventory::new(&SandboxSettings { instances, ..SandboxSettings::default() }).unwrap()
    }

    #[test]
    fn without_a_rule_every_id_exists_and_with_one_only_what_a_rule_names() {
        assert!(inventory(&[]).find("anything").is_some());
        let inventory = inventory(&["i-1", "i-gone-*  state=gone", "i-*"]);
        assert!(inventory.find("i-1").is_some() && inventory.find("i-2").is_some());
        assert!(inventory.find("i-gone-1").is_none() && inventory.find("rm-1").is_none());
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let inventory = inventory(&["i-1 owner=a", "i-{0..9} owner=b", "i-* owner=c"]);
        for (id, owner) in [("i-1", "a"), ("i-2", "b"), ("i-10", "c")] {
            assert_eq!(inventory.find(id).unwrap().owner, Some(owner));
        }
    }

    #[test]
    fn millions_are_listed_only_within_the_limit_and_prefixes_never() {
        let inventory = inventory(&["i-*", "x-{1..3}", "x-1"]);
        assert!(inventory.listed(4).unwrap().eq(["x-1", "x-2", "x-3", "x-1"]));
        assert!(inventory.listed(3).is_none());
    }
}
