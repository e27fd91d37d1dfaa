//! When suspects may be read back: the quota of queries, which the API counts apart from releases, the pauses that it asks
//! for, and a rest where the account may not ask. It must not know what a query is about.

use std::time::Duration;

use crate::api::Listing;
use crate::config::CallsPerSecond;
use crate::contract::{ReadBack, Verdict};
use crate::engine::Moment;
use crate::pace::Quota;

/// How long queries rest that the account may not make: rights are granted by people.
pub const REST: Duration = Duration::from_secs(5 * 60);

#[derive(Debug)]
pub struct ReadBackPace {
    rate: CallsPerSecond,
    quota: Quota,
    paused_until: Moment,
    rests_until: Moment,
    /// The last query that was answered properly was refused.
    refused: bool,
}

impl ReadBackPace {
    pub fn new(rate: CallsPerSecond) -> Self {
        let quota = Quota::new(rate, 1);
        Self { rate, quota, paused_until: Moment::ZERO, rests_until: Moment::ZERO, refused: false }
    }

    /// Goes on with another quota.
    pub fn reset(&mut self, rate: CallsPerSecond) {
        self.rate = rate;
        if let CallsPerSecond::Unlimited = rate {
            self.quota = Quota::new(rate, 1);
        }
    }

    /// Keeps to an even part of the quota, where so many workers share it.
    pub fn share(&mut self, workers: usize, now: Moment) {
        if let CallsPerSecond::Limited(rate) = self.rate {
            let part = rate / workers.max(1) as f64;
            if part != self.quota.rate() {
                self.quota.reshape(part, now);
            }
        }
    }

    pub fn has_limit(&self) -> bool {
        self.rate != CallsPerSecond::Unlimited
    }

    /// Whether there is no use in asking.
    pub fn rests(&self, now: Moment) -> bool {
        now < self.rests_until
    }

    /// Takes a permit for a query, or says when to come again.
    pub fn take(&mut self, now: Moment) -> Result<(), Moment> {
        if now < self.paused_until {
            Err(self.paused_until)
        } else {
            self.quota.take(now).map_err(|due| due.unwrap_or(now + REST))
        }
    }

    /// No query waits any more.
    pub fn idle(&mut self) {
        self.quota.rest();
    }

    /// Learns from an answer. The problem, where the account is refused as it was not before.
    pub fn learn(&mut self, listing: &Listing, now: Moment) -> Option<String> {
        if let Some(pause) = listing.pause {
            self.paused_until = self.paused_until.max(now + pause);
        }
        match &listing.read_back {
            ReadBack::Listed { .. } => self.refused = false,
            ReadBack::Failed(Verdict::Account(evidence)) => {
                self.rests_until = now + REST;
                if !std::mem::replace(&mut self.refused, true) {
                    let code = evidence.code.as_deref().unwrap_or("no code");
                    return Some(format!("{code}: {}", evidence.brief().as_deref().unwrap_or("no message")));
                }
            }
            ReadBack::Failed(_) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Evidence;

    fn failed(verdict: Verdict, pause: Option<Duration>) -> Listing {
        Listing { read_back: ReadBack::Failed(verdict), pause }
    }

    #[test]
    fn queries_that_an_account_may_not_make_rest_and_that_is_told_once() {
        let mut pace = ReadBackPace::new(CallsPerSecond::Unlimited);
        let refused = || failed(Verdict::Account(Evidence::own("NoPermission", "ask")), None);
        assert_eq!(pace.learn(&refused(), Moment::ZERO).as_deref(), Some("NoPermission: ask"));
        assert!(pace.rests(REST / 2) && !pace.rests(REST));
        assert_eq!(pace.learn(&refused(), REST), None);
        assert!(pace.rests(REST + REST / 2));
        let listed = ReadBack::Listed { ids: [].into(), evidence: Evidence::own("Success", "") };
        assert_eq!(pace.learn(&Listing { read_back: listed, pause: None }, REST * 3), None);
        assert!(pace.learn(&refused(), REST * 3).is_some(), "it was mended, and is refused again");
    }

    #[test]
    fn a_pause_that_the_server_asks_for_is_kept() {
        let mut pace = ReadBackPace::new(CallsPerSecond::Unlimited);
        let throttled = failed(Verdict::Throttled(Evidence::own("Throttling", "")), Some(Duration::from_secs(7)));
        pace.learn(&throttled, Moment::ZERO);
        assert_eq!(pace.take(Duration::from_secs(6)), Err(Duration::from_secs(7)));
        assert_eq!(pace.take(Duration::from_secs(7)), Ok(()));
        assert!(!pace.rests(Duration::from_secs(1)));
    }
}
