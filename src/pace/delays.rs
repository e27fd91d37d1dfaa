//! The schedule of delays between retries: exponential, with full jitter.
//!
//! The only file that uses the `backoff` crate, and it uses its schedule alone, never its retry loop. The crate is
//! unmaintained (RUSTSEC-2025-0012); a successor replaces the one call in `ceiling` and nothing else.

use std::time::Duration;

use backoff::backoff::Backoff;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// How delays grow. Checked by the settings: intervals above zero and in order, a multiplier of at least 1.
#[derive(Debug, Clone, Copy)]
pub struct DelayPolicy {
    pub initial_interval: Duration,
    pub multiplier: f64,
    pub max_interval: Duration,
}

/// Delays before retries, from a seeded source of randomness.
#[derive(Debug)]
pub struct Delays {
    policy: DelayPolicy,
    random: fastrand::Rng,
}

impl Delays {
    pub fn new(policy: DelayPolicy, random: fastrand::Rng) -> Self {
        Self { policy, random }
    }

    /// A delay before the given attempt (1 is the first retry): anything up to the schedule's, so that workers that
    /// failed together don't come back together. Never none at all.
    pub fn before(&mut self, attempt: u32) -> Duration {
        let ceiling = self.ceiling(attempt);
        let jittered = ceiling.mul_f64(self.random.f64());
        jittered.max(self.policy.initial_interval / 10)
    }

    /// A delay before the given attempt that is never shorter than the schedule's half, for what must not be hurried.
    pub fn at_least_half(&mut self, attempt: u32) -> Duration {
        self.ceiling(attempt).mul_f64(0.5 + self.random.f64() / 2.0)
    }

    /// A number from 0 to 1.
    pub fn jitter(&mut self) -> f64 {
        self.random.f64()
    }

    fn ceiling(&self, attempt: u32) -> Duration {
        let mut schedule: ExponentialBackoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(self.policy.initial_interval)
            .with_multiplier(self.policy.multiplier)
            .with_max_interval(self.policy.max_interval)
            .with_randomization_factor(0.0)
            .with_max_elapsed_time(None)
            .build();
        // 64 doublings pass any maximum; the bound is for a multiplier of 1.
        let steps = attempt.clamp(1, 64);
        let delay = (0..steps).filter_map(|_| schedule.next_backoff()).last();
        delay.unwrap_or(self.policy.max_interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delays(seed: u64) -> Delays {
        let policy = DelayPolicy {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
        };
        Delays::new(policy, fastrand::Rng::with_seed(seed))
    }

    #[test]
    fn the_schedule_doubles_up_to_its_maximum() {
        let ceilings: Vec<_> = [1, 2, 3, 6, 7, 8, 1000].map(|attempt| delays(1).ceiling(attempt).as_millis()).into();
        assert_eq!(ceilings, [500, 1000, 2000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn delays_are_spread_over_the_whole_interval_and_never_above_it() {
        let mut delays = delays(1);
        let drawn: Vec<_> = (0..1000).map(|_| delays.before(3)).collect();
        assert!(drawn.iter().all(|delay| *delay <= Duration::from_secs(2) && *delay >= Duration::from_millis(50)));
        assert!(drawn.iter().any(|delay| *delay < Duration::from_millis(400)));
        assert!(drawn.iter().any(|delay| *delay > Duration::from_millis(1600)));
        assert!((0..1000).all(|_| delays.at_least_half(3) >= Duration::from_secs(1)));
    }
}
