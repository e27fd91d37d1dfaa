//! The quota as believed: what is configured at most, less while the account throttles, and found from nothing for `"auto"`.
//! It must not know who calls: it hears how many calls were taken and how many were throttled.
//!
//! Four thoughts carry it. A throttled call says that the account's bucket is empty; between two such moments exactly the
//! calls went through that the account allows, so they are a measure of it, the better the longer it lasted. The rate never
//! falls further than the measures prove, or by a small step where they prove nothing. And the way up is slow, the slower the
//! better the quota is known, and only while the rate is made use of: about one call in 200 finds the limit again. But where
//! next to nothing was let through for a while, and then everything is, the rate it fell from is looked for again; and where the
//! account was seen to allow more, one throttled call among many is no word on the quota, and the way back is short.

use std::collections::VecDeque;
use std::time::Duration;

use crate::config::CallsPerSecond;
use crate::engine::Moment;

/// Where `"auto"` begins.
const FIRST: f64 = 1.0;
const LOWEST: f64 = 0.01;
const HIGHEST: f64 = 10_000.0;

/// The rate rises by this part of itself with every call taken. Calls above `STEADY` a second count by time instead: it
/// takes a while until everyone has heard of a step.
const RISE: f64 = 0.00015;
const STEADY: f64 = 10.0;

/// It rises faster by as often as the quota is known less well than this, as a part of it.
const WELL_KNOWN: f64 = 0.05;
/// Not throttled for so many calls, the rate is far too low, and rises twice as fast every `IMPATIENCE` calls.
const LONG_QUIET: f64 = 300.0;
const IMPATIENCE: f64 = 75.0;
const FASTEST: f64 = 16.0;

/// Steps down: a small one; without a measure, unless not throttled for `QUIET` calls; and below what is measured, but never
/// by more than `DEEPEST` at once.
const SMALL: f64 = 0.97;
const BLIND: f64 = 0.85;
const BELOW: f64 = 0.98;
const DEEPEST: f64 = 0.7;
const QUIET: f64 = 150.0;

/// What was longer ago, in calls and seconds, is no measure any more.
const MEASURE_CALLS: u64 = 600;
const MEASURE_SECONDS: f64 = 60.0;
/// What a measure may be wrong by: a call that is counted on the wrong side of its end, and answers that take longer at one
/// end than at the other.
const WRONG_CALLS: f64 = 1.5;
const WRONG_SECONDS: f64 = 0.25;

/// So many calls in a row that are taken end a block. While none at all is, the rate falls to this part of what it was at most:
/// nothing measures it then. From a rate that is less than a `DEEP` part of it, it is looked for from below, up to `BLIND`.
const FLOWING: u64 = 5;
const NOTHING_TAKEN: f64 = 0.1;
const DEEP: f64 = 1.0 / 3.0;

const STILL_EMPTY: Duration = Duration::from_secs(2);

/// What is measured while calls are throttled again and again may be by so much less than the quota.
const UNSURE: f64 = 1.25;
/// Not throttled for so many calls, one that is may have nothing to do with the rate.
const SELDOM: u64 = 75;

/// Moments at which the bucket was empty, to measure from.
const REMEMBERED: usize = 16;

/// Longer than `GAP`, and three calls, without a call: nothing is known of the bucket any more. Nor where the rate was
/// not made use of so often in a row; not just once, for what others called is told in lumps.
const UNUSED: u32 = 3;
const GAP: Duration = Duration::from_secs(2);

/// The part of a rate from which on it is made use of.
const IN_USE: f64 = 0.8;

/// Since a call was throttled.
#[derive(Debug, Clone, Copy)]
struct Block {
    /// The rate before.
    from: f64,
    taken: bool,
    /// Calls taken since the last throttled one.
    in_a_row: u64,
}

#[derive(Debug)]
pub(super) struct Adaptation {
    /// Infinite for a quota that is to be found.
    ceiling: f64,
    rate: f64,
    /// The rate doubles up to here until a call is throttled: no limit below it is known.
    searches_to: Option<f64>,
    /// Calls are throttled, and hardly any are taken between them.
    block: Option<Block>,
    /// How well the quota was known when a call was last throttled: by how much of itself it may be another.
    doubt: f64,
    /// What the account was lately seen to allow.
    proven: f64,
    /// The calls taken until the last one that was throttled.
    throttled_after: u64,
    /// Of the account's calls, the part that is observed.
    part: f64,
    taken: u64,
    /// When the account's bucket was empty, and the calls taken until then.
    empty_at: VecDeque<(Moment, u64)>,
    /// Calls since the last throttled one, as `RISE` counts them.
    quiet: f64,
    /// Since when use is measured, and the calls taken until then.
    measured: Option<(Moment, u64)>,
    /// How often in a row the rate was seen not to be made use of.
    unused: u32,
    /// When calls last came back.
    seen_at: Moment,
    /// What is throttled until then was called before the last step down was heard of.
    same_until: Moment,
}

impl Adaptation {
    /// `None`: there is no limit, and nothing to adapt.
    pub fn new(calls_per_second: CallsPerSecond) -> Option<Self> {
        let (ceiling, rate, searches_to) = match calls_per_second {
            CallsPerSecond::Limited(rate) => (rate, rate, None),
            CallsPerSecond::Auto => (f64::INFINITY, FIRST, Some(f64::INFINITY)),
            CallsPerSecond::Unlimited => return None,
        };
        Some(Self {
            ceiling,
            rate,
            searches_to,
            block: None,
            doubt: 0.0,
            proven: 0.0,
            throttled_after: 0,
            part: 1.0,
            taken: 0,
            empty_at: VecDeque::new(),
            quiet: 0.0,
            measured: None,
            unused: 0,
            seen_at: Moment::ZERO,
            same_until: Moment::ZERO,
        })
    }

    /// Calls a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Believes what somebody else found out.
    pub fn adopt(&mut self, rate: f64) {
        let rate = rate.clamp(LOWEST, HIGHEST).min(self.ceiling);
        // Somebody called by it.
        self.quiet = self.quiet.max(QUIET);
        if rate != self.rate {
            (self.rate, self.searches_to, self.block) = (rate, None, None);
            self.measure_anew();
        }
    }

    /// Calls came back since the last time: of all calls of the account this part. `settles`: how long a step takes until
    /// everyone calls by it.
    pub fn observe(&mut self, taken: u64, throttled: u64, part: f64, settles: Duration, now: Moment) {
        if part != self.part {
            self.part = part;
            self.measure_anew();
        }
        // While no calls were made the bucket has filled.
        if now > self.seen_at + GAP + Duration::from_secs_f64(3.0 / (self.rate * part)) {
            self.measure_anew();
        }
        self.seen_at = now;
        self.taken += taken;
        self.quiet += taken as f64 * (STEADY / self.rate).min(1.0);
        if let Some(block) = &mut self.block {
            block.taken |= taken > 0;
        }
        if throttled > 0 {
            self.step_down(settles, now);
        } else {
            self.flow(taken);
            self.step_up(now);
        }
    }

    /// Calls are let through. What kept nearly all of them back for a while was no measure of the quota.
    fn flow(&mut self, taken: u64) {
        let Some(block) = &mut self.block else { return };
        block.in_a_row += taken;
        if block.in_a_row >= FLOWING {
            if self.rate < block.from * DEEP {
                self.searches_to = Some(block.from * BLIND);
            }
            self.block = None;
        }
    }

    fn measure_anew(&mut self) {
        self.measured = None;
        self.empty_at.clear();
    }

    fn step_down(&mut self, settles: Duration, now: Moment) {
        self.measured = None;
        let block = self.block.get_or_insert(Block { from: self.rate, taken: false, in_a_row: 0 });
        block.in_a_row = 0;
        let floor = if block.taken { LOWEST } else { LOWEST.max(block.from * NOTHING_TAKEN) };
        if now < self.same_until {
            return;
        }
        // Where it is known to allow more, one call that is throttled after many that were not is no word on the quota.
        let seldom = self.taken - std::mem::replace(&mut self.throttled_after, self.taken) >= SELDOM;
        if seldom && self.rate < self.proven * SMALL {
            return;
        }
        let (least, most) = self.bounds(settles, now);
        let proven = BELOW * most / self.rate;
        let blind = most.is_infinite() && (self.searches_to.is_some() || self.quiet < QUIET);
        let factor = if blind { BLIND } else { proven.clamp(DEEPEST, SMALL) };
        // The bucket is still almost empty after a step, so a call that comes a little early tells nothing new.
        if proven > SMALL && self.empty_at.back().is_some_and(|(at, _)| now < *at + STILL_EMPTY + settles) {
            return;
        }
        self.proven = if seldom { self.proven.max(least) } else { (self.proven * SMALL).min(most * UNSURE) };
        self.doubt = if most.is_finite() { 1.0 - least / most } else { 1.0 };
        self.rate = (self.rate * factor).max(floor);
        (self.searches_to, self.quiet, self.same_until) = (None, 0.0, now + settles);
        self.empty_at.push_back((now, self.taken));
        if self.empty_at.len() > REMEMBERED {
            self.empty_at.pop_front();
        }
    }

    /// Between which rates the quota is, by every moment of late at which the bucket was empty too. Measures that contradict
    /// newer ones are of another quota, and so is what is older still.
    fn bounds(&self, settles: Duration, now: Moment) -> (f64, f64) {
        let wrong = WRONG_SECONDS + settles.as_secs_f64() / 2.0;
        let (mut least, mut most) = (0.0_f64, f64::INFINITY);
        for (at, taken) in self.empty_at.iter().rev() {
            let (calls, seconds) = (self.taken - taken, (now - *at).as_secs_f64());
            if calls > MEASURE_CALLS && seconds > MEASURE_SECONDS {
                break;
            }
            let at_least = (calls as f64 - WRONG_CALLS) / self.part / (seconds + wrong);
            let at_most = if seconds > wrong {
                (calls as f64 + WRONG_CALLS) / self.part / (seconds - wrong)
            } else {
                f64::INFINITY
            };
            if at_least > most || at_most < least {
                break;
            }
            (least, most) = (least.max(at_least), most.min(at_most));
        }
        (least, most)
    }

    fn step_up(&mut self, now: Moment) {
        let Some((since, before)) = self.measured else {
            self.measured = Some((now, self.taken));
            return;
        };
        let (lasted, taken) = (now.saturating_sub(since), self.taken - before);
        if lasted < Duration::from_secs(1)
            || (taken as f64) < (self.rate * 2.0).clamp(1.0, 4.0) && lasted.as_secs() < 60
        {
            return;
        }
        self.measured = Some((now, self.taken));
        if (taken as f64) < IN_USE * self.rate * self.part * lasted.as_secs_f64() {
            self.unused += 1;
            if self.unused >= UNUSED {
                self.empty_at.clear();
            }
            return;
        }
        self.unused = 0;
        if let Some(up_to) = self.searches_to {
            self.rate = (self.rate * 2.0).min(up_to).min(self.ceiling).min(HIGHEST);
            self.searches_to = self.searches_to.filter(|up_to| self.rate < *up_to);
            return;
        }
        let impatience = ((self.quiet - LONG_QUIET) / IMPATIENCE).clamp(0.0, FASTEST.log2());
        let counted = taken as f64 * (STEADY / self.rate).min(1.0);
        let proven = if self.rate < self.proven * SMALL { FASTEST } else { 1.0 };
        let haste = (self.doubt / WELL_KNOWN).clamp(1.0, FASTEST).max(impatience.exp2()).max(proven);
        let rise = RISE * haste * counted;
        self.rate = (self.rate * (1.0 + rise)).min(self.ceiling).min(HIGHEST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(rate: f64) -> Adaptation {
        Adaptation::new(CallsPerSecond::Limited(rate)).unwrap()
    }

    /// Calls at the rate that is believed, all of them taken.
    fn calls(adaptation: &mut Adaptation, count: u32, now: &mut Moment) {
        for _ in 0..count {
            *now += Duration::from_secs_f64(1.0 / adaptation.rate());
            adaptation.observe(1, 0, 1.0, Duration::ZERO, *now);
        }
    }

    #[test]
    fn what_is_configured_is_never_exceeded_and_reached_again_after_a_throttled_call() {
        let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
        calls(&mut adaptation, 200, &mut now);
        assert_eq!(adaptation.rate(), 10.0);
        adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
        assert!((adaptation.rate() - 9.7).abs() < 1e-9, "{}", adaptation.rate());
        calls(&mut adaptation, 1000, &mut now);
        assert_eq!(adaptation.rate(), 10.0);
    }

    #[test]
    fn one_throttled_call_lowers_what_another_worker_believed_by_a_small_step() {
        let mut adaptation = limited(10.0);
        adaptation.adopt(10.0);
        adaptation.observe(0, 1, 1.0, Duration::from_secs(2), Duration::from_secs(9));
        assert!((adaptation.rate() - 9.7).abs() < 1e-9, "{}", adaptation.rate());
    }

    #[test]
    fn a_rate_that_nobody_uses_does_not_rise() {
        let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
        adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
        let lowered = adaptation.rate();
        for _ in 0..1000 {
            now += Duration::from_secs(1);
            adaptation.observe(2, 0, 1.0, Duration::ZERO, now);
        }
        assert_eq!(adaptation.rate(), lowered);
    }

    #[test]
    fn time_without_calls_is_no_measure() {
        for pause in [3, 30, 300] {
            let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
            for _ in 0..5 {
                calls(&mut adaptation, 3, &mut now);
                now += Duration::from_secs(pause);
                adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
            }
            // A step each, and none of them deeper than where nothing is known.
            assert!(adaptation.rate() >= 10.0 * BLIND.powi(5), "{}", adaptation.rate());
        }
    }

    #[test]
    fn what_is_throttled_before_a_step_is_heard_of_lowers_the_rate_no_further() {
        let mut adaptation = limited(10.0);
        for millisecond in 0..20 {
            adaptation.observe(0, 1, 1.0, Duration::from_secs(2), Duration::from_millis(millisecond * 100));
        }
        assert!((adaptation.rate() - 8.5).abs() < 1e-9, "{}", adaptation.rate());
    }

    #[test]
    fn a_quota_that_falls_to_a_fifth_is_found_within_twenty_throttled_calls() {
        let (mut adaptation, mut now, mut throttled) = (limited(10.0), Moment::ZERO, 0);
        calls(&mut adaptation, 200, &mut now);
        let (mut tokens, mut at) = (0.0_f64, now);
        for _ in 0..600 {
            now += Duration::from_secs_f64(1.0 / adaptation.rate());
            tokens = (tokens + (now - at).as_secs_f64() * 2.0).min(2.0);
            at = now;
            if tokens >= 1.0 {
                tokens -= 1.0;
                adaptation.observe(1, 0, 1.0, Duration::ZERO, now);
            } else {
                throttled += 1;
                adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
            }
        }
        assert!((1.9..=2.1).contains(&adaptation.rate()), "{}", adaptation.rate());
        assert!(throttled <= 20, "{throttled}");
    }

    /// Calls at the rate that is believed, for so long, of which `lets` says whether one goes through. Those that were throttled.
    fn calls_for(
        adaptation: &mut Adaptation,
        seconds: f64,
        now: &mut Moment,
        mut lets: impl FnMut(Moment) -> bool,
    ) -> (u32, u32) {
        let (end, mut calls, mut throttled) = (*now + Duration::from_secs_f64(seconds), 0, 0);
        while *now < end {
            *now += Duration::from_secs_f64(1.0 / adaptation.rate());
            let through = lets(*now);
            calls += 1;
            throttled += u32::from(!through);
            adaptation.observe(u64::from(through), u64::from(!through), 1.0, Duration::ZERO, *now);
        }
        (calls, throttled)
    }

    #[test]
    fn a_few_calls_that_are_throttled_whatever_the_rate_do_not_drive_it_down() {
        for (quota, per_mille, least) in
            [(60.0, 2, 0.9), (60.0, 4, 0.6), (10.0, 2, 0.95), (10.0, 4, 0.9), (3.0, 4, 0.85)]
        {
            let (mut adaptation, mut now) = (limited(quota * 4.0), Moment::ZERO);
            let mut random = fastrand::Rng::with_seed(1);
            let (mut tokens, mut at) = (0.0_f64, now);
            let mut lets = |now: Moment| {
                tokens = (tokens + (now - at).as_secs_f64() * quota).min(quota);
                at = now;
                let full = tokens >= 1.0;
                tokens -= f64::from(u8::from(full));
                full && random.u32(0..1000) >= per_mille
            };
            calls_for(&mut adaptation, 600.0, &mut now, &mut lets);
            let (calls, throttled) = calls_for(&mut adaptation, 3000.0, &mut now, &mut lets);
            let part = f64::from(calls - throttled) / 3000.0 / quota;
            println!("{quota} calls/s, {per_mille} of 1000 throttled: {part:.3} of it taken");
            assert!(part >= least, "{quota} {per_mille}: {part}");
        }
    }

    #[test]
    fn a_minute_in_which_hardly_any_call_is_let_through_is_over_soon_after_it_is() {
        for (rate, through) in [(3.0, 0), (3.0, 10), (10.0, 0), (10.0, 5), (100.0, 1)] {
            let (mut adaptation, mut now) = (limited(rate), Moment::ZERO);
            let mut random = fastrand::Rng::with_seed(1);
            calls(&mut adaptation, 200, &mut now);
            calls_for(&mut adaptation, 60.0, &mut now, |_| random.u32(0..100) < through);
            let lowest = adaptation.rate();
            calls_for(&mut adaptation, 300.0, &mut now, |_| true);
            println!("{rate} calls/s, {through} % let through: fell to {lowest:.3}, then {:.2}", adaptation.rate());
            assert!(adaptation.rate() >= rate * 0.8, "{} of {rate}, after {lowest}", adaptation.rate());
        }
    }

    #[test]
    fn a_quota_that_falls_to_a_thirtieth_is_kept_to_and_the_old_one_is_not_looked_for_again_and_again() {
        for part in [1.0 / 5.0, 1.0 / 30.0] {
            let (mut adaptation, mut now) = (limited(30.0), Moment::ZERO);
            calls(&mut adaptation, 200, &mut now);
            let (quota, mut tokens, mut at) = (30.0 * part, 0.0_f64, now);
            let mut bucket = |now: Moment| {
                tokens = (tokens + (now - at).as_secs_f64() * quota).min(quota.max(1.0));
                at = now;
                let through = tokens >= 1.0;
                tokens -= f64::from(u8::from(through));
                through
            };
            let (_, at_first) = calls_for(&mut adaptation, 60.0, &mut now, &mut bucket);
            let (later, throttled) = calls_for(&mut adaptation, 1200.0, &mut now, &mut bucket);
            println!(
                "to {part:.3}: {at_first} throttled at first, later {throttled} of {later}; {:.3}",
                adaptation.rate()
            );
            assert!(at_first <= 60 && throttled * 33 <= later, "{at_first}, {throttled} of {later}");
            assert!((adaptation.rate() / quota - 1.0).abs() < 0.1, "{}", adaptation.rate());
        }
    }
}
