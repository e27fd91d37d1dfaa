//! What a batch costs in all: the calls that were made of late, retries and searches included, for each batch of fresh ids.
//! It serves the hint alone: no call depends on it.

use std::time::Duration;

use crate::contract::MAX_IDS_PER_CALL;
use crate::engine::{CallKind, Moment, SealReason};

/// After so long what was counts half.
const HALF_LIFE: Duration = Duration::from_secs(120);

#[derive(Debug, Default)]
pub(super) struct Cost {
    calls: f64,
    /// Those among them of a batch that was not called before.
    fresh: f64,
    at: Moment,
}

impl Cost {
    /// A call is made.
    pub fn count(&mut self, kind: CallKind, now: Moment) {
        let CallKind::Release { reason, .. } = kind else { return };
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let left = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
        let fresh = if matches!(reason, SealReason::Retry | SealReason::Split) { 0.0 } else { 1.0 };
        (self.calls, self.fresh, self.at) = (self.calls * left + 1.0, self.fresh * left + fresh, now);
    }

    /// Calls for each batch. Hardly any needs more than one for each of its ids, so where only searches go on nothing worse
    /// is concluded.
    pub fn of_a_batch(&self) -> f64 {
        (self.calls / self.fresh.max(1.0)).clamp(1.0, MAX_IDS_PER_CALL as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: CallKind = CallKind::Release { attempt: 0, reason: SealReason::Full };
    const SPLIT: CallKind = CallKind::Release { attempt: 0, reason: SealReason::Split };

    fn second(second: u32) -> Moment {
        Duration::from_secs(second.into())
    }

    #[test]
    fn a_batch_costs_what_those_of_the_last_minutes_did_and_never_less_than_its_own_call() {
        let mut cost = Cost::default();
        assert_eq!(cost.of_a_batch(), 1.0);
        (0..600).for_each(|at| cost.count(FRESH, second(at)));
        assert_eq!(cost.of_a_batch(), 1.0);
        (600..2400).for_each(|at| cost.count(if at % 20 == 0 { FRESH } else { SPLIT }, second(at)));
        assert!((18.0..=22.0).contains(&cost.of_a_batch()), "{}", cost.of_a_batch());
        (2400..4000).for_each(|at| cost.count(SPLIT, second(at)));
        assert_eq!(cost.of_a_batch(), 100.0);
        (0..9).for_each(|_| cost.count(CallKind::ReadBack, second(4000)));
        (4000..9000).for_each(|at| cost.count(FRESH, second(at)));
        assert!(cost.of_a_batch() < 1.01, "{}", cost.of_a_batch());
    }
}
