//! How many deliveries a session asks for, when a message may be what ends the sessions: one whose frames the client
//! can't read ends every connection that it comes through, and each end counts against all that came with it. Pure: it
//! hears of losses and settlements, with the session's age.
//!
//! After some losses in a row the next session begins with a single delivery, so that such a message wears out its own
//! delivery limit and no other's. Then the prefetch doubles, and one that waits further back is met with few around it.

use std::time::Duration;

/// A session that lived so long is no sign of trouble.
const LONG_LIFE: Duration = Duration::from_secs(5);
/// Losses of young sessions in a row that are put down to the network or the broker.
const CHANCE: u32 = 3;
/// Losses in a row after which haste is no help: no delivery limit can be at work any more.
const FUTILE: u32 = 1000;
/// A prefetch is doubled when so many times as many are settled. RabbitMQ puts what comes back behind all that came back
/// before: if the doubling were quicker, such a message would be met again and again with others around it.
const PROOF: u32 = 10;
/// A prefetch that is not settled so long is doubled all the same: one slow job must not hold all others for ever.
const STANDSTILL: Duration = Duration::from_secs(10);

/// The prefetch of a subscription's sessions.
#[derive(Debug)]
pub(super) struct Isolation {
    full: u16,
    prefetch: u16,
    /// The session's age when it got this prefetch.
    since: Duration,
    /// Settled since then.
    settled: u32,
    losses: u32,
}

impl Isolation {
    pub(super) fn new(full: u16) -> Self {
        let full = full.max(1);
        Self { full, prefetch: full, since: Duration::ZERO, settled: 0, losses: 0 }
    }

    /// What the session has, or the next one begins with.
    pub(super) fn prefetch(&self) -> u16 {
        self.prefetch
    }

    /// Whether deliveries are held back for fear of one of them.
    pub(super) fn is_narrow(&self) -> bool {
        self.prefetch < self.full
    }

    /// A session is lost. Whether the next one may be tried soon.
    pub(super) fn lost(&mut self, age: Duration) -> bool {
        let calm = !self.is_narrow() && age.saturating_sub(self.since) >= LONG_LIFE;
        self.losses = if calm { 0 } else { self.losses.saturating_add(1) };
        let suspicious = self.losses >= CHANCE;
        self.begin(if suspicious { 1 } else { self.full }, Duration::ZERO);
        calm || suspicious && self.losses <= FUTILE
    }

    /// A delivery is settled: it ended no session.
    pub(super) fn settled(&mut self) {
        self.settled = self.settled.saturating_add(1);
        self.losses = self.losses.min(CHANCE);
    }

    /// The wider prefetch that the session may have from now on.
    pub(super) fn widened(&mut self, age: Duration) -> Option<u16> {
        let proven = self.settled >= PROOF * u32::from(self.prefetch) || age.saturating_sub(self.since) >= STANDSTILL;
        (self.is_narrow() && proven).then(|| {
            self.begin(self.prefetch.saturating_mul(2).min(self.full), age);
            self.prefetch
        })
    }

    fn begin(&mut self, prefetch: u16, since: Duration) {
        (self.prefetch, self.since, self.settled) = (prefetch, since, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YOUNG: Duration = Duration::from_millis(20);

    fn isolated(full: u16) -> Isolation {
        let mut isolation = Isolation::new(full);
        let haste: Vec<_> = (0..CHANCE).map(|_| isolation.lost(YOUNG)).collect();
        assert_eq!(haste, [false, false, true]);
        isolation
    }

    #[test]
    fn losses_of_sessions_that_lived_long_change_nothing() {
        let mut isolation = Isolation::new(100);
        for _ in 0..10 {
            assert!(!isolation.lost(YOUNG) && !isolation.lost(YOUNG));
            assert!(isolation.lost(LONG_LIFE) && !isolation.is_narrow());
        }
    }

    #[test]
    fn after_three_young_losses_deliveries_come_one_at_a_time_until_some_are_settled() {
        let mut isolation = isolated(100);
        for _ in 0..100 {
            assert!(isolation.lost(YOUNG));
            assert_eq!((isolation.prefetch(), isolation.widened(YOUNG)), (1, None));
        }
        for _ in 0..PROOF {
            assert_eq!(isolation.widened(YOUNG), None);
            isolation.settled();
        }
        assert_eq!(isolation.widened(YOUNG), Some(2));
    }

    #[test]
    fn a_message_that_waits_far_back_is_reached_with_few_losses_for_its_neighbours() {
        let mut isolation = isolated(1000);
        let (mut before, mut losses) = (999_u16, 0);
        while before > 0 {
            while isolation.prefetch() <= before {
                before -= 1;
                isolation.settled();
                isolation.widened(YOUNG);
            }
            isolation.lost(LONG_LIFE);
            assert_eq!(isolation.prefetch(), 1);
            losses += 1;
        }
        assert!(losses <= 4, "{losses} losses");
    }

    #[test]
    fn one_slow_job_does_not_hold_the_others_for_ever() {
        let mut isolation = isolated(3);
        assert_eq!(isolation.widened(STANDSTILL - YOUNG), None);
        assert_eq!(isolation.widened(STANDSTILL), Some(2));
        assert_eq!(isolation.widened(STANDSTILL + YOUNG), None);
        assert_eq!(isolation.widened(STANDSTILL * 2), Some(3));
        assert_eq!(isolation.widened(STANDSTILL * 9), None);
        // The full prefetch must prove itself as well before the losses are forgotten.
        isolation.lost(STANDSTILL * 2 + YOUNG);
        assert!(isolation.is_narrow());
    }

    #[test]
    fn haste_ends_where_no_delivery_limit_takes_the_message_away() {
        let mut isolation = isolated(100);
        let haste = (0..FUTILE).filter(|_| isolation.lost(YOUNG)).count();
        assert_eq!(haste, (FUTILE - CHANCE) as usize);
        isolation.settled();
        assert!(isolation.lost(YOUNG));
    }
}
