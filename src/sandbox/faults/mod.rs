//! Which calls fail for no reason of their own, and how. Pure: the same seed, rules and order of calls always fail alike.

mod rule;
mod told;

use std::time::Duration;

use fastrand::Rng;

pub use rule::{FaultAnswer, FaultRule};

use super::call::Call;
use super::inventory::IdPattern;
use super::settings::InvalidSettings;

/// The rules in force, and how many calls each has looked at.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<(FaultRule, u64)>,
}

impl Faults {
    /// Rules that were checked.
    pub(super) fn new(rules: &[FaultRule]) -> Self {
        Self { rules: rules.iter().map(|rule| (rule.clone(), 0)).collect() }
    }

    /// The rule that strikes a call, if one does. `since` the start.
    pub(super) fn strike(&mut self, call: &Call, since: Duration, draws: &mut Rng) -> Option<FaultRule> {
        for (rule, looked_at) in &mut self.rules {
            let in_time = rule.from <= since && rule.until.is_none_or(|until| since < until);
            let has_id = |pattern: &IdPattern| call.instance_ids.iter().any(|id| pattern.matches(id));
            if !in_time || call.action != rule.action || !rule.ids.as_ref().is_none_or(has_id) {
                continue;
            }
            *looked_at += 1;
            if looked_at.is_multiple_of(rule.every) && draws.f64() < rule.share {
                return Some(rule.clone());
            }
        }
        None
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = &FaultRule> {
        self.rules.iter().map(|(rule, _)| rule)
    }
}

pub(super) fn check(rules: &[FaultRule]) -> Result<(), InvalidSettings> {
    rules.iter().enumerate().try_for_each(|(index, rule)| rule.check(&format!("faults[{index}]")))
}

/// The draws of one call: its own sequence, so that no call's luck depends on what others drew.
pub(super) fn draws_of(seed: u64, call: u64) -> Rng {
    // An odd constant far from a round number keeps neighbouring calls from drawing alike.
    Rng::with_seed(seed ^ (call + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests;
