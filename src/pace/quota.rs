//! Permits: the right to make a call, from an account's quota.
//!
//! governor keeps the account (GCRA); the clock is ours, for two reasons. Time is handed in, so a test can run for hours.
//! And a permit that is taken a little late is booked at the moment it was due, so that lateness does not add up to
//! calls that are never made; at most two calls are caught up on, and nothing is saved up while no work waits.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota as Rate, RateLimiter};

use crate::config::CallsPerSecond;

/// Permits that may be caught up on after a late wake.
const CAUGHT_UP: u32 = 2;

/// governor's view of our time: what we last told it.
#[derive(Debug, Clone, Default)]
struct Booked(Arc<AtomicU64>);

impl Clock for Booked {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

impl Booked {
    fn set(&self, moment: Duration) {
        self.0.store(u64::try_from(moment.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, Booked, NoOpMiddleware<Duration>>;

/// An account's quota as this worker may use it.
#[derive(Debug)]
pub struct Quota {
    /// `None`: unlimited.
    limiter: Option<Limiter>,
    clock: Booked,
    period: Duration,
    /// When the permit that work waits for is due.
    due: Option<Duration>,
}

impl Quota {
    /// A quota of so many calls a second, of which `burst` may be made at once after a rest.
    pub fn new(rate: CallsPerSecond, burst: u32) -> Self {
        let clock = Booked::default();
        let CallsPerSecond::Limited(rate) = rate else {
            return Self { limiter: None, clock, period: Duration::ZERO, due: None };
        };
        // The settings allow 0.001 to 10,000 calls a second, so the period is above zero.
        let period = Duration::from_secs_f64(1.0 / rate);
        let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
        let limiter = Rate::with_period(period)
            .map(|rate| RateLimiter::direct_with_clock(rate.allow_burst(burst), clock.clone()));
        Self { limiter, clock, period, due: None }
    }

    /// Takes a permit, or says when to come again. To be asked only when a permit would be spent at once.
    pub fn take(&mut self, now: Duration) -> Result<(), Duration> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        let booked = match self.due.take() {
            Some(due) if due > now => {
                self.due = Some(due);
                return Err(due);
            }
            Some(due) if now - due <= self.period * CAUGHT_UP => due,
            _ => now,
        };
        self.clock.set(booked);
        limiter.check().map_err(|not_until| {
            let due = not_until.earliest_possible();
            self.due = Some(due);
            due
        })
    }

    /// No work waits any more: a permit that falls due from here on is not caught up on.
    pub fn rest(&mut self) {
        self.due = None;
    }
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

    /// Takes permits for `seconds` by waking at most `late` after each is due; returns when they were taken.
    fn taken(quota: &mut Quota, start: f64, seconds: f64, late: impl Fn(u32) -> f64) -> Vec<f64> {
        let (mut now, mut moments) = (start, Vec::new());
        while now < start + seconds {
            match quota.take(Duration::from_secs_f64(now)) {
                Ok(()) => moments.push(now),
                Err(due) => now = due.as_secs_f64() + late(u32::try_from(moments.len()).unwrap()),
            }
        }
        moments
    }

    #[test]
    fn every_permit_is_used_though_each_is_taken_late() {
        let mut quota = Quota::new(CallsPerSecond::Limited(RATE), 1);
        let moments = taken(&mut quota, 0.0, 100.0, |n| f64::from(n % 7) * 0.003);
        let used = moments.len() as f64 / (100.0 * RATE);
        assert!((0.999..=1.001).contains(&used), "{used}");
    }

    #[test]
    fn no_window_of_a_second_sees_more_than_the_rate_and_what_is_caught_up_on() {
        let mut quota = Quota::new(CallsPerSecond::Limited(RATE), 1);
        let moments = taken(&mut quota, 0.0, 100.0, |n| f64::from(n % 11) * 0.01);
        for (index, start) in moments.iter().enumerate() {
            let within = moments[index..].iter().take_while(|moment| **moment < start + 1.0).count();
            assert!(within <= RATE as usize + CAUGHT_UP as usize, "{within} from {start}");
        }
    }

    #[test]
    fn nothing_is_saved_up_while_no_work_waits() {
        for burst in [1, 5] {
            let mut quota = Quota::new(CallsPerSecond::Limited(RATE), burst);
            taken(&mut quota, 0.0, 1.0, |_| 0.0);
            quota.rest();
            let at_once = std::iter::from_fn(|| quota.take(Duration::from_secs(60)).ok()).count();
            assert_eq!(at_once, burst as usize);
        }
    }

    #[test]
    fn without_a_limit_there_is_always_a_permit() {
        let mut quota = Quota::new(CallsPerSecond::Unlimited, 1);
        assert!((0..1000).all(|_| quota.take(Duration::ZERO).is_ok()));
    }
}
