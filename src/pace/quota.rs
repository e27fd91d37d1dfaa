//! Permits: the right to make a call, from an account's quota.
//!
//! governor keeps the account (GCRA), by a clock of ours that counts permits rather than seconds: it runs at the rate, so
//! another rate is another speed of the clock, and neither a burst nor a lost part of a permit comes of the change. Time is
//! handed in, so a test can run for hours. A permit that is taken a little late is booked at the moment it was due, so
//! that lateness does not add up to calls that are never made; nothing is saved up while no work waits but the burst.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::config::CallsPerSecond;
use crate::engine::Moment;

/// How late a permit may be taken and still count as taken when it was due. Any window of time may see the calls of one
/// that is longer by this, and no more.
pub const CAUGHT_UP: Duration = Duration::from_millis(20);

/// What a permit is to governor's clock. Short, so that the clock does not end within centuries.
const PERMIT: Duration = Duration::from_millis(1);

/// Far below what any float error can be, and nothing of a permit.
const A_TRIFLE: f64 = 1e-5;

/// governor's view of our time: the permits that we last told it.
#[derive(Debug, Clone, Default)]
struct Booked(Arc<AtomicU64>);

impl Clock for Booked {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Booked {
    fn set(&self, permits: f64) {
        let nanoseconds =
            Duration::try_from_secs_f64(permits * PERMIT.as_secs_f64()).unwrap_or(Duration::MAX).as_nanos();
        self.0.store(u64::try_from(nanoseconds).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Booked, NoOpMiddleware<Duration>>;

/// An account's quota as this worker may use it.
#[derive(Debug)]
pub struct Quota {
    limiter: Limiter,
    clock: Booked,
    burst: NonZeroU32,
    /// Permits a second; infinite where there is no limit.
    rate: f64,
    /// Permits that fell due up to `since`, used or not.
    fallen_due: f64,
    since: Moment,
    /// When the permit that work waits for is due, by governor's clock.
    due: Option<f64>,
}

impl Quota {
    /// A quota of so many calls a second, of which `burst` may be made at once after a rest.
    pub fn new(rate: CallsPerSecond, burst: u32) -> Self {
        let rate = match rate {
            CallsPerSecond::Limited(rate) => rate,
            CallsPerSecond::Unlimited | CallsPerSecond::Auto => f64::INFINITY,
        };
        let (clock, burst) = (Booked::default(), NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN));
        let limiter = limiter(burst, &clock);
        // The clock starts past the burst, so that there is room before it to have used it in.
        Self { limiter, clock, burst, rate, fallen_due: f64::from(burst.get()) + 1.0, since: Moment::ZERO, due: None }
    }

    /// Takes a permit, or says when to come again; never, at a rate of 0. To be asked only when a permit would be spent at
    /// once.
    pub fn take(&mut self, now: Moment) -> Result<(), Option<Moment>> {
        if self.rate.is_infinite() {
            return Ok(());
        }
        let at = self.at(now);
        let booked = match self.due.take() {
            Some(due) if due > at + A_TRIFLE => {
                self.due = Some(due);
                return Err(self.moment(due, now));
            }
            Some(due) => due.max(at - CAUGHT_UP.as_secs_f64() * self.rate),
            None => at,
        };
        match self.book(booked) {
            Ok(()) => Ok(()),
            Err(due) => {
                self.due = Some(due);
                Err(self.moment(due, now))
            }
        }
    }

    /// Takes so many permits ahead of time, if the first is due by then. When the last is, by this quota's clock.
    pub(super) fn book_ahead(&mut self, calls: u32, until: Moment, now: Moment) -> Option<f64> {
        if self.rate.is_infinite() {
            return None;
        }
        let (mut due, end) = (self.at(now), self.at(until));
        if let Err(next) = self.book(due) {
            if next > end {
                return None;
            }
            due = next;
            self.book(due).ok()?;
        }
        for _ in 1..calls {
            if let Err(next) = self.book(due) {
                due = next;
                self.book(due).ok()?;
            }
        }
        Some(due)
    }

    /// No work waits any more: a permit that falls due from here on is not caught up on.
    pub fn rest(&mut self) {
        self.due = None;
    }

    /// Permits a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Goes on at another rate from now on. What is there of the next permit stays.
    pub fn reshape(&mut self, rate: f64, now: Moment) {
        (self.fallen_due, self.since) = (self.at(now), now.max(self.since));
        self.rate = rate;
    }

    /// Gives up every permit that is saved up: the next one is due a whole one from now, or later if it was.
    pub fn empty(&mut self, now: Moment) {
        let at = self.at(now);
        for _ in 0..self.burst.get() {
            if self.book(at).is_err() {
                break;
            }
        }
        self.due = None;
    }

    /// Forgets every permit that was taken ahead: the next one is due a whole one from then.
    pub(super) fn begin_again(&mut self, at: Moment) {
        self.replace_limiter(self.burst);
        self.empty(at);
    }

    /// Allows so many calls at once after a rest, from the next one on: nothing is saved up yet.
    pub fn allow_burst(&mut self, burst: u32, now: Moment) {
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        if burst == self.burst {
            return;
        }
        self.empty(now);
        let at = self.at(now);
        let next = self.book(at).err().unwrap_or(at + 1.0);
        self.replace_limiter(burst);
        for _ in 0..burst.get() {
            if self.book(next - 1.0).is_err() {
                break;
            }
        }
    }

    /// A limiter's time begins with the clock's when it is made.
    fn replace_limiter(&mut self, burst: NonZeroU32) {
        self.clock.set(0.0);
        (self.limiter, self.burst) = (limiter(burst, &self.clock), burst);
    }

    /// Permits that fell due since the start, used or not.
    pub fn fallen_due(&self, now: Moment) -> f64 {
        if self.rate.is_infinite() { 0.0 } else { self.at(now) }
    }

    fn at(&self, now: Moment) -> f64 {
        let rate = if self.rate.is_finite() { self.rate } else { 0.0 };
        self.fallen_due + now.saturating_sub(self.since).as_secs_f64() * rate
    }

    fn book(&self, at: f64) -> Result<(), f64> {
        self.clock.set(at);
        self.limiter.check().map_err(|not_until| not_until.earliest_possible().as_secs_f64() / PERMIT.as_secs_f64())
    }

    /// When that is by the clock on the wall, at today's rate.
    pub(super) fn moment(&self, due: f64, now: Moment) -> Option<Moment> {
        // Beyond a year it is never; and a moment is never so near that nobody could wait for it.
        const A_YEAR: f64 = 365.0 * 86_400.0;
        let wait = (due - self.at(now)).max(0.0) / self.rate;
        (wait < A_YEAR).then(|| now + Duration::from_secs_f64(wait) + Duration::from_nanos(1))
    }
}

fn limiter(burst: NonZeroU32, clock: &Booked) -> Limiter {
    let rate = Rate::with_period(PERMIT).unwrap_or(Rate::per_second(NonZeroU32::MIN));
    RateLimiter::direct_with_clock(rate.allow_burst(burst), clock.clone())
}

// governor asks for a clock's instant to know how to subtract; `Duration` does.
const _: fn() = || {
    fn is_reference<T: Reference>() {}
    is_reference::<Duration>();
};

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 20.0;

    fn quota(burst: u32) -> Quota {
        Quota::new(CallsPerSecond::Limited(RATE), burst)
    }

    fn seconds(seconds: f64) -> Moment {
        Duration::from_secs_f64(seconds)
    }

    /// Takes permits for so long by waking at most `late` after each is due; returns when they were taken.
    fn taken(quota: &mut Quota, start: f64, lasts: f64, late: impl Fn(u32) -> f64) -> Vec<f64> {
        let (mut now, mut moments) = (start, Vec::new());
        while now < start + lasts {
            match quota.take(seconds(now)) {
                Ok(()) => moments.push(now),
                Err(due) => now = due.unwrap().as_secs_f64() + late(u32::try_from(moments.len()).unwrap()),
            }
        }
        moments
    }

    #[test]
    fn every_permit_is_used_though_each_is_taken_late() {
        let moments = taken(&mut quota(1), 0.0, 100.0, |n| f64::from(n % 7) * 0.003);
        let used = moments.len() as f64 / (100.0 * RATE);
        assert!((0.999..=1.001).contains(&used), "{used}");
    }

    #[test]
    fn no_window_sees_more_than_the_calls_of_one_that_is_longer_by_what_is_caught_up_on() {
        for burst in [1, 5] {
            let moments = taken(&mut quota(burst), 0.0, 100.0, |n| f64::from(n % 11) * 0.01);
            for (index, start) in moments.iter().enumerate() {
                for window in [0.0, 0.2, 1.0, 10.0] {
                    let within = moments[index..].iter().take_while(|moment| **moment <= start + window).count();
                    let allowed = (window + CAUGHT_UP.as_secs_f64()) * RATE + f64::from(burst);
                    assert!(within as f64 <= allowed + 0.001, "{within} in {window} s from {start}");
                }
            }
        }
    }

    #[test]
    fn nothing_is_saved_up_while_no_work_waits() {
        for burst in [1, 5] {
            let mut quota = quota(burst);
            taken(&mut quota, 0.0, 1.0, |_| 0.0);
            quota.rest();
            let at_once = std::iter::from_fn(|| quota.take(Duration::from_secs(60)).ok()).count();
            assert_eq!(at_once, burst as usize);
        }
    }

    #[test]
    fn another_rate_takes_effect_at_once_and_neither_adds_nor_loses_a_part_of_a_permit() {
        // Every rate for a time in which less than one permit falls due.
        let rates = [20.0, 0.5, 3.0, 0.0, 7.0];
        let (mut quota, mut calls, mut due) = (quota(1), 0.0, 0.0);
        for turn in 0..10_000_u32 {
            let (now, rate) = (Duration::from_millis(40) * turn, rates[turn as usize % rates.len()]);
            quota.reshape(rate, now);
            due += rate * 0.04;
            let mut at = Some(now);
            while let Some(moment) = at.filter(|at| *at < now + Duration::from_millis(40)) {
                match quota.take(moment) {
                    Ok(()) => calls += 1.0,
                    Err(later) => at = later,
                }
            }
        }
        assert!((calls - due).abs() <= 2.0, "{calls} calls of {due}");
    }

    #[test]
    fn a_quota_that_was_emptied_lets_the_first_call_go_a_whole_permit_later() {
        for burst in [1, 5] {
            let mut quota = quota(burst);
            quota.empty(seconds(9.0));
            let due = quota.take(seconds(9.0)).unwrap_err().unwrap();
            assert!((due.as_secs_f64() - 9.05).abs() < 1e-6, "{due:?}");
        }
    }

    #[test]
    fn another_burst_brings_no_call_forward() {
        let mut quota = quota(1);
        assert!(quota.take(seconds(1.0)).is_ok());
        quota.allow_burst(5, seconds(1.01));
        let due = quota.take(seconds(1.01)).unwrap_err().unwrap();
        assert!((due.as_secs_f64() - 1.05).abs() < 1e-6, "{due:?}");
        quota.rest();
        assert_eq!(std::iter::from_fn(|| quota.take(seconds(9.0)).ok()).count(), 5);
    }

    #[test]
    fn without_a_limit_there_is_always_a_permit_and_at_a_rate_of_nothing_never() {
        let mut quota = Quota::new(CallsPerSecond::Unlimited, 1);
        assert!((0..1000).all(|_| quota.take(Duration::ZERO).is_ok()));
        quota.reshape(0.0, Duration::ZERO);
        quota.empty(Duration::ZERO);
        assert_eq!(quota.take(seconds(1e6)), Err(None));
    }
}
