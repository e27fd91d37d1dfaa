//! How many letters a second may be sent, as an operator says. The quota of the API is the workers' affair.

use std::time::Duration;

use tokio::time::Instant;

/// At most so many letters a second.
#[derive(Debug)]
pub struct Rate {
    interval: Option<Duration>,
    next: Instant,
}

impl Rate {
    pub fn new(per_second: Option<f64>) -> Self {
        Self { interval: per_second.map(|rate| Duration::from_secs_f64(1.0 / rate)), next: Instant::now() }
    }

    /// When the next letter may be sent.
    pub(super) fn next(&self) -> Instant {
        self.next
    }

    pub(super) fn allows(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let allowed = now >= self.next;
        if allowed {
            self.next = self.next.max(now - interval) + interval;
        }
        allowed
    }
}
