//! Which calls fail for no reason of their own, and how. Pure: the same seed and call number always fail alike.

use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;

/// A way to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Fault {
    /// 503 at once, nothing done.
    ServiceUnavailable,
    /// 500 at once, nothing done.
    InternalError,
    /// The call takes effect, and is answered with 500 all the same.
    GhostError,
    /// The call takes effect, and is not answered in time.
    GhostHang,
    /// Nothing done, and not answered in time.
    Hang,
}

impl Fault {
    /// Whether the call is carried out nevertheless.
    pub(super) fn takes_effect(self) -> bool {
        matches!(self, Self::GhostError | Self::GhostHang)
    }

    pub(super) fn hangs(self) -> bool {
        matches!(self, Self::GhostHang | Self::Hang)
    }
}

/// How often calls fail: the share of each fault among the calls that the quota lets through, 0 to 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Faults {
    pub service_unavailable: f64,
    pub internal_error: f64,
    pub ghost_error: f64,
    pub ghost_hang: f64,
    pub hang: f64,
    /// How long a call hangs before it is answered after all.
    pub hang_for: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            service_unavailable: 0.0,
            internal_error: 0.0,
            ghost_error: 0.0,
            ghost_hang: 0.0,
            hang: 0.0,
            hang_for: Duration::from_secs(60),
        }
    }
}

impl Faults {
    pub(super) fn check(&self) -> Result<(), String> {
        let shares = self.shares();
        if let Some((fault, share)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("the share of {fault:?} is {share}: choose 0 to 1"));
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if sum > 1.0 + 1e-9 {
            return Err(format!("the shares of the faults add up to {sum}: they may make 1 at most"));
        }
        Ok(())
    }

    /// The fault of the call that owns these draws, if it has one.
    pub(super) fn draw(&self, draws: &mut Rng) -> Option<Fault> {
        let mut rest = draws.f64();
        for (fault, share) in self.shares() {
            if rest < share {
                return Some(fault);
            }
            rest -= share;
        }
        None
    }

    fn shares(&self) -> [(Fault, f64); 5] {
        [
            (Fault::ServiceUnavailable, self.service_unavailable),
            (Fault::InternalError, self.internal_error),
            (Fault::GhostError, self.ghost_error),
            (Fault::GhostHang, self.ghost_hang),
            (Fault::Hang, self.hang),
        ]
    }
}

/// The draws of one call: its own sequence, so that no call's luck depends on what others drew.
pub(super) fn draws_of(seed: u64, call: u64) -> Rng {
    // An odd constant far from a round number keeps neighbouring calls from drawing alike.
    Rng::with_seed(seed ^ (call + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(faults: &Faults, seed: u64) -> Vec<Option<Fault>> {
        (0..10_000).map(|call| faults.draw(&mut draws_of(seed, call))).collect()
    }

    #[test]
    fn faults_strike_as_often_as_their_shares_say() {
        let faults = Faults { internal_error: 0.1, ghost_error: 0.2, ..Faults::default() };
        let drawn = drawn(&faults, 7);
        let count = |fault| drawn.iter().filter(|each| **each == fault).count();
        assert!((900..1100).contains(&count(Some(Fault::InternalError))));
        assert!((1850..2150).contains(&count(Some(Fault::GhostError))));
        assert_eq!(count(None) + count(Some(Fault::InternalError)) + count(Some(Fault::GhostError)), 10_000);
    }

    #[test]
    fn the_same_seed_fails_the_same_calls() {
        let faults = Faults { hang: 0.5, ..Faults::default() };
        assert_eq!(drawn(&faults, 1), drawn(&faults, 1));
        assert_ne!(drawn(&faults, 1), drawn(&faults, 2));
    }

    #[test]
    fn shares_that_can_not_be_are_refused_by_name() {
        let negative = Faults { hang: -0.1, ..Faults::default() };
        assert!(negative.check().unwrap_err().contains("Hang"));
        let too_many = Faults { hang: 0.6, internal_error: 0.6, ..Faults::default() };
        assert!(too_many.check().unwrap_err().contains("1.2"));
        assert_eq!(Faults { hang: 1.0, ..Faults::default() }.check(), Ok(()));
    }
}
