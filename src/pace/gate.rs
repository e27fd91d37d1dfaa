//! The gate of a lane: closed for a while when the server asks for a pause, and kept almost closed, one probe at a time,
//! while calls can't succeed: the API refuses the account, or does not answer at all. So neither burns through the jobs.

use std::time::Duration;

use super::Delays;
use crate::contract::{Evidence, LONGEST_PAUSE, Verdict};

/// Calls in a row without a proper answer after which the API counts as down.
const DOWN_AFTER: u32 = 5;

/// What ends within so long after what was heard before is the same pause.
const TOLD_AGAIN: Duration = Duration::from_secs(1);

/// Decides, before any permit is asked for, whether calls may go at all.
#[derive(Debug)]
pub struct Gate {
    delays: Delays,
    closed_until: Duration,
    /// The end of the longest pause that the server asked this worker for, and of the one that it asked another for.
    told_until: Duration,
    heard_until: Duration,
    /// Closings in a row; each is longer than the one before.
    closings: u32,
    /// Calls in a row without a proper answer.
    unanswered: u32,
    /// Why no call can succeed, in words for people.
    problem: Option<String>,
}

impl Gate {
    pub fn new(delays: Delays) -> Self {
        Self {
            delays,
            closed_until: Duration::ZERO,
            told_until: Duration::ZERO,
            heard_until: Duration::ZERO,
            closings: 0,
            unanswered: 0,
            problem: None,
        }
    }

    /// Whether a call may go now. While no call can succeed only one may be under way.
    pub fn open(&self, now: Duration, calls_under_way: usize) -> bool {
        now >= self.closed_until && (self.problem.is_none() || calls_under_way == 0)
    }

    /// When the gate opens, if it is closed.
    pub fn opens_at(&self, now: Duration) -> Option<Duration> {
        (self.closed_until > now).then_some(self.closed_until)
    }

    /// Why no call can succeed, if that is so.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// Learns from a verdict. A pause that the server gave is never cut short.
    pub fn learn(&mut self, verdict: &Verdict, pause: Option<Duration>, now: Duration) {
        match verdict {
            Verdict::Released(_) | Verdict::Refused(..) => {
                (self.closings, self.unanswered, self.problem) = (0, 0, None);
            }
            Verdict::Throttled(_) => {
                (self.unanswered, self.problem) = (0, None);
                // Where the server says how long, that is how long.
                if pause.is_none() {
                    self.close(now);
                }
            }
            Verdict::Account(evidence) => {
                self.problem = Some(format!("the API refuses the account: {}", words(evidence)));
                self.close(now);
            }
            Verdict::Transient(evidence) | Verdict::Unknown(evidence) => {
                self.unanswered = self.unanswered.saturating_add(1);
                if self.unanswered >= DOWN_AFTER || self.problem.is_some() {
                    self.problem = Some(format!("the API does not answer properly: {}", words(evidence)));
                    self.close(now);
                }
            }
        }
        self.pause(pause, now);
    }

    /// Closes for as long as the server asks.
    pub fn pause(&mut self, pause: Option<Duration>, now: Duration) {
        if let Some(pause) = pause {
            self.told_until = self.told_until.max(now + pause);
            self.close_for(pause, now);
        }
    }

    /// Closes for as long as the server asked another worker, which tells of it again and again.
    pub fn heed(&mut self, pause: Duration, now: Duration) {
        let pause = pause.min(LONGEST_PAUSE);
        if now + pause > self.heard_until + TOLD_AGAIN {
            self.heard_until = now + pause;
            self.close_for(pause, now);
        }
    }

    fn close_for(&mut self, pause: Duration, now: Duration) {
        // A little later than told, so that those who were told the same don't come back together.
        let pause = pause.mul_f64(1.0 + self.delays.jitter() / 10.0);
        self.closed_until = self.closed_until.max(now + pause);
    }

    /// What is left of the pause that the server asked for.
    pub fn told(&self, now: Duration) -> Duration {
        self.told_until.saturating_sub(now)
    }

    /// Closes for longer than the last time. Calls that were under way at a closing and fail after it tell nothing new.
    fn close(&mut self, now: Duration) {
        if now >= self.closed_until {
            self.closings = self.closings.saturating_add(1);
            self.closed_until = now + self.delays.at_least_half(self.closings);
        }
    }
}

fn words(evidence: &Evidence) -> String {
    let code = evidence.code.as_deref().unwrap_or("no code");
    let message = evidence.brief();
    format!("{code}: {}", message.as_deref().unwrap_or("no message"))
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
        assert!(gate.open(Duration::from_secs(11), 5));
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
        assert_eq!(gate.problem(), Some("the API refuses the account: NoPermission: ask"));
        gate.learn(&Verdict::Released(Evidence::own("Success", "")), None, now);
        assert!(gate.open(now, 9) && gate.problem().is_none());
    }

    #[test]
    fn an_api_that_is_down_is_probed_rather_than_called_with_every_batch() {
        let mut gate = gate();
        let down = Verdict::Transient(Evidence::own("ConnectFailed", "refused"));
        for _ in 1..DOWN_AFTER {
            gate.learn(&down, None, Duration::ZERO);
            assert!(gate.open(Duration::ZERO, 9), "a few failures are nothing");
        }
        let mut now = Duration::ZERO;
        for _ in 0..8 {
            gate.learn(&down, None, now);
            now = gate.opens_at(now).unwrap();
            assert!(gate.open(now, 0) && !gate.open(now, 1), "one probe at a time");
        }
        assert!(now > Duration::from_secs(30), "{now:?}");
        gate.learn(&Verdict::Refused(crate::contract::Refusal::Gone, Evidence::own("Gone", "")), None, now);
        assert!(gate.open(now, 9));
    }

    #[test]
    fn a_herd_of_calls_that_fail_together_closes_the_gate_once() {
        let mut gate = gate();
        for _ in 0..16 {
            gate.learn(&Verdict::Throttled(Evidence::own("Throttling", "")), None, Duration::ZERO);
        }
        assert!(gate.opens_at(Duration::ZERO).unwrap() <= Duration::from_millis(500));
    }
}
