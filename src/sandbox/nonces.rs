//! The nonces that an account has used. Remembered for as long as a request's time could pass, and no longer.

use std::collections::HashSet;
use std::mem;
use std::time::{Duration, Instant};

/// How far a request's time may be from ours.
pub(super) const CLOCK_WINDOW: Duration = Duration::from_secs(15 * 60);

/// A request may be dated one window ahead, and stays good until one window behind.
const GENERATION: Duration = Duration::from_secs(2 * 15 * 60);

/// Two generations: a nonce outlives its own by a whole one.
#[derive(Debug)]
pub(super) struct Nonces {
    recent: HashSet<Box<str>>,
    older: HashSet<Box<str>>,
    since: Instant,
}

impl Nonces {
    pub(super) fn new(now: Instant) -> Self {
        Self { recent: HashSet::new(), older: HashSet::new(), since: now }
    }

    /// Whether this nonce is used for the first time.
    pub(super) fn is_first_use(&mut self, nonce: &str, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > GENERATION {
            self.older = mem::take(&mut self.recent);
            self.since = now;
        }
        !self.older.contains(nonce) && self.recent.insert(nonce.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_refused_while_its_request_could_still_pass_and_forgotten_later() {
        let start = Instant::now();
        let mut nonces = Nonces::new(start);
        assert!(nonces.is_first_use("old", start + CLOCK_WINDOW));
        for (minute, nonce) in [(31, "a"), (40, "b"), (44, "c")] {
            let now = start + Duration::from_secs(minute * 60);
            assert!(nonces.is_first_use(nonce, now) && !nonces.is_first_use("old", now));
        }
        assert!(nonces.is_first_use("d", start + Duration::from_secs(70 * 60)));
        assert!(nonces.is_first_use("e", start + Duration::from_secs(101 * 60)));
        assert_eq!(nonces.recent.len() + nonces.older.len(), 2);
        assert!(nonces.is_first_use("old", start + Duration::from_secs(102 * 60)));
    }
}
