//! What a batch costs in all: the calls of the last minutes, retries and searches included, for what became of ids by them.
//! It serves the hint alone: no call depends on it.

use std::time::Duration;

use crate::contract::{MAX_IDS_PER_CALL, Refusal, Verdict};
use crate::engine::{CallKind, Moment, SealReason};

/// After so long what was counts half.
const HALF_LIFE: Duration = Duration::from_secs(120);

/// Where hardly anything comes of the calls no more is concluded than this: a search costs two calls an id at worst.
const AT_MOST: f64 = 2.0 * MAX_IDS_PER_CALL as f64;

#[derive(Debug, Default)]
pub(super) struct Cost {
    calls: f64,
    /// Ids that one of them was the last for.
    done: f64,
    /// Batches that were called for the first time, and their ids.
    fresh: f64,
    fresh_ids: f64,
    at: Moment,
}

impl Cost {
    /// A call with so many ids was answered.
    pub fn count(&mut self, kind: CallKind, ids: usize, verdict: &Verdict, now: Moment) {
        let CallKind::Release { reason, .. } = kind else { return };
        let passed = now.saturating_sub(self.at).as_secs_f64();
        let left = 0.5_f64.powf(passed / HALF_LIFE.as_secs_f64());
        for sum in [&mut self.calls, &mut self.done, &mut self.fresh, &mut self.fresh_ids] {
            *sum *= left;
        }
        self.at = now;
        self.calls += 1.0;
        if is_last(ids, verdict) {
            self.done += ids as f64;
        }
        if !matches!(reason, SealReason::Retry | SealReason::Split) {
            self.fresh += 1.0;
            self.fresh_ids += ids as f64;
        }
    }

    /// Calls for each batch, as if one more had been done with its first.
    pub fn of_a_batch(&self) -> f64 {
        ((self.calls + 1.0) / (self.done / self.ids_of_a_batch() + 1.0)).clamp(1.0, AT_MOST)
    }

    /// Calls for each of the batches that wait: those `here`, of which so many ids are left, and others that nobody began.
    pub fn of_each(&self, here: u64, ids_left: usize, others: u64) -> f64 {
        // A search that is half done has half its calls behind it.
        let left = (ids_left as f64 / self.ids_of_a_batch()).min(here as f64) + others as f64;
        (self.of_a_batch() * left / (here + others).max(1) as f64).max(1.0)
    }

    fn ids_of_a_batch(&self) -> f64 {
        if self.fresh > 0.0 { self.fresh_ids / self.fresh } else { MAX_IDS_PER_CALL as f64 }
    }
}

/// Whether the ids of a call are done with by its verdict. What a message names of a refused batch is left out of account.
fn is_last(ids: usize, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Released(_) | Verdict::Refused(Refusal::Request, _) => true,
        Verdict::Refused(..) => ids == 1,
        Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Throttled(_) | Verdict::Account(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Evidence;

    const FIRST: SealReason = SealReason::Full;

    fn second(second: u32) -> Moment {
        Duration::from_secs(second.into())
    }

    fn released() -> Verdict {
        Verdict::Released(Evidence::own("Success", ""))
    }

    fn gone() -> Verdict {
        Verdict::Refused(Refusal::Gone, Evidence::own("Gone", ""))
    }

    fn call(cost: &mut Cost, reason: SealReason, ids: usize, verdict: &Verdict, at: u32) {
        cost.count(CallKind::Release { attempt: 0, reason }, ids, verdict, second(at));
    }

    #[test]
    fn a_batch_costs_what_those_of_the_last_minutes_did_and_never_less_than_its_own_call() {
        let mut cost = Cost::default();
        assert_eq!(cost.of_a_batch(), 1.0);
        (0..600).for_each(|at| call(&mut cost, FIRST, 100, &released(), at));
        assert!((0.99..1.01).contains(&cost.of_a_batch()));
        (600..1200).for_each(|at| call(&mut cost, FIRST, 5, &released(), at));
        assert!((0.99..1.01).contains(&cost.of_a_batch()), "small ones are done with a call each as well");
    }

    #[test]
    fn searches_are_told_of_from_the_first_on_though_none_has_ended() {
        let mut cost = Cost::default();
        (0..5).for_each(|_| call(&mut cost, FIRST, 100, &gone(), 0));
        // Of ten calls eight find nobody, one a single id, and one lets five go.
        for at in 0..20 {
            (0..8).for_each(|_| call(&mut cost, SealReason::Split, 7, &gone(), at));
            call(&mut cost, SealReason::Split, 1, &gone(), at);
            call(&mut cost, SealReason::Split, 5, &released(), at);
        }
        let told = cost.of_a_batch();
        assert!((80.0..170.0).contains(&told), "{told}, of 167");
        assert_eq!(cost.of_each(5, 500, 3), told);
        assert_eq!(cost.of_each(5, 250, 0), told / 2.0, "they are half done");
        assert_eq!(cost.of_each(5, 1, 0), 1.0, "each needs a call at least");
        (20..3000).for_each(|at| call(&mut cost, FIRST, 100, &released(), at));
        assert!(cost.of_a_batch() < 1.01, "it is long ago");
    }

    #[test]
    fn calls_that_nothing_comes_of_and_queries_make_no_batch_infinitely_dear() {
        let mut cost = Cost::default();
        (0..900).for_each(|at| cost.count(CallKind::ReadBack, 100, &gone(), second(at)));
        assert_eq!(cost.of_a_batch(), 1.0);
        let unknown = Verdict::Unknown(Evidence::own("TimedOut", ""));
        (0..900).for_each(|_| call(&mut cost, SealReason::Retry, 100, &unknown, 900));
        assert_eq!(cost.of_a_batch(), AT_MOST);
    }
}
