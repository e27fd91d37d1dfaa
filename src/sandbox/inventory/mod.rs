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

/// Whether a text can be an id in a list of ids: neither its separator, nor what somebody on the way may trim or fold.
pub(super) fn is_id(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c == ',' || c.is_whitespace() || c.is_control())
}

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

    /// Every id that rules and file list, once and in their order; `None` if they list more than `limit`.
    pub(super) fn listed(&self, limit: u64) -> Option<impl Iterator<Item = String> + '_> {
        let counts = self.rules.iter().filter_map(|rule| rule.ids.count());
        let count = counts.fold(self.file.len() as u64, u64::saturating_add);
        let is_new = |rules: &[InstanceRule], id: &str| {
            !rules.iter().any(|rule| rule.ids.count().is_some() && rule.ids.matches(id))
        };
        let of_rules = self.rules.iter().enumerate().flat_map(move |(place, rule)| {
            let before = &self.rules[..place];
            rule.ids.ids().filter(move |id| is_new(before, id))
        });
        let of_file = self.file.ids().filter(move |id| is_new(&self.rules, id)).map(str::to_owned);
        (count <= limit).then(|| of_rules.chain(of_file))
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
        assert!(inventory.listed(4).unwrap().eq(["x-1", "x-2", "x-3"]));
        assert!(inventory.listed(3).is_none());
    }
}
