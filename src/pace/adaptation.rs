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
    /// Calls since the last step down, as `RISE` counts them.
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
mod tests;
