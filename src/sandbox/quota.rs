//! An account's quota: a token bucket that holds one second's calls. It has no clock of its own.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(super) struct Quota {
    calls_per_second: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Quota {
    pub(super) fn new(calls_per_second: f64, now: Instant) -> Self {
        Self { calls_per_second, tokens: calls_per_second.max(1.0), filled_at: now }
    }

    /// Takes a call's token, or says when the next one is there.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let gained = now.saturating_duration_since(self.filled_at).as_secs_f64() * self.calls_per_second;
        self.tokens = (self.tokens + gained).min(self.calls_per_second.max(1.0));
        self.filled_at = self.filled_at.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            Ok(())
        } else {
            Err(Duration::from_secs_f64((1.0 - self.tokens) / self.calls_per_second))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_lets_one_seconds_calls_go_at_once_and_then_its_rate() {
        let start = Instant::now();
        let mut quota = Quota::new(4.0, start);
        let allowed = |quota: &mut Quota, at: Duration| (0..100).filter(|_| quota.take(start + at).is_ok()).count();
        assert_eq!(allowed(&mut quota, Duration::ZERO), 4);
        assert_eq!(quota.take(start), Err(Duration::from_millis(250)));
        assert_eq!(allowed(&mut quota, Duration::from_millis(500)), 2);
        assert_eq!(allowed(&mut quota, Duration::from_secs(3600)), 4);
    }

    #[test]
    fn a_quota_below_one_call_a_second_still_lets_one_go() {
        let start = Instant::now();
        let mut quota = Quota::new(0.5, start);
        assert_eq!(quota.take(start), Ok(()));
        assert_eq!(quota.take(start), Err(Duration::from_secs(2)));
        assert_eq!(quota.take(start + Duration::from_secs(2)), Ok(()));
    }
}
