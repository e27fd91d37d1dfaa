//! The gate of a lane: closed for a while when the server asks for a pause, and kept almost closed, one probe at a time,
//! while the account itself is the problem.

use std::time::Duration;

use super::Delays;
use crate::contract::Verdict;

/// Decides, before any permit is asked for, whether calls may go at all.
#[derive(Debug)]
pub struct Gate {
    delays: Delays,
    closed_until: Duration,
    /// Verdicts of the kind in a row; each makes the next pause longer.
    throttled: u32,
    refused: u32,
    /// What is wrong with the account, in words for people.
    problem: Option<String>,
}

impl Gate {
    pub fn new(delays: Delays) -> Self {
        Self { delays, closed_until: Duration::ZERO, throttled: 0, refused: 0, problem: None }
    }

    /// Whether a call may go now. While the account is the problem only one may be under way.
    pub fn open(&self, now: Duration, calls_under_way: usize) -> bool {
        now >= self.closed_until && (self.problem.is_none() || calls_under_way == 0)
    }

    /// When the gate opens, if it is closed.
    pub fn opens_at(&self, now: Duration) -> Option<Duration> {
        (self.closed_until > now).then_some(self.closed_until)
    }

    /// Why the account can't be called, if it is known.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Learns from a verdict. A pause that the server gave is never cut short.
    pub fn learn(&mut self, verdict: &Verdict, pause: Option<Duration>, now: Duration) {
        let wait = match verdict {
            Verdict::Throttled(_) => {
                self.throttled = self.throttled.saturating_add(1);
                self.problem = None;
                Some(self.delays.at_least_half(self.throttled))
            }
            Verdict::Account(evidence) => {
                self.refused = self.refused.saturating_add(1);
                let code = evidence.code.as_deref().unwrap_or("no code");
                let message = evidence.message.as_deref().unwrap_or("no message");
                self.problem = Some(format!("{code}: {message}"));
                Some(self.delays.at_least_half(self.refused))
            }
            // A call that never reached the API says nothing about the account.
            Verdict::Transient(_) | Verdict::Unknown(_) => None,
            Verdict::Released(_) | Verdict::Refused(..) => {
                (self.throttled, self.refused, self.problem) = (0, 0, None);
                None
            }
        };
        if let Some(wait) = wait.into_iter().chain(pause).max() {
            self.closed_until = self.closed_until.max(now + wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Evidence;
    use crate::pace::DelayPolicy;

    fn gate() -> Gate {
        let policy = DelayPolicy {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
        };
        Gate::new(Delays::new(policy, fastrand::Rng::with_seed(1)))
    }

    #[test]
    fn a_pause_that_the_server_gave_is_never_cut_short() {
        let mut gate = gate();
        let now = Duration::from_secs(1);
        gate.learn(&Verdict::Throttled(Evidence::own("Throttling", "")), Some(Duration::from_secs(9)), now);
        gate.learn(&Verdict::Throttled(Evidence::own("Throttling", "")), None, now);
        gate.learn(&Verdict::Released(Evidence::own("Success", "")), None, now);
        assert!(!gate.open(Duration::from_millis(9_999), 0));
        assert!(gate.open(Duration::from_secs(10), 5));
    }

    #[test]
    fn a_refused_account_is_probed_with_one_call_at_growing_intervals_until_it_is_mended() {
        let mut gate = gate();
        let mut now = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..8 {
            gate.learn(&Verdict::Account(Evidence::own("NoPermission", "ask")), None, now);
            let opens_at = gate.opens_at(now).unwrap();
            waits.push(opens_at - now);
            now = opens_at;
            assert!(gate.open(now, 0) && !gate.open(now, 1), "one probe at a time");
        }
        assert!(waits[7] > waits[0] * 8, "{waits:?}");
        assert_eq!(gate.problem(), Some("NoPermission: ask"));
        gate.learn(&Verdict::Released(Evidence::own("Success", "")), None, now);
        assert!(gate.open(now, 9) && gate.problem().is_none());
    }
}
