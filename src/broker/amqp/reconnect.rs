//! When to try again: soon at first, then ever less often, never all workers at the same moment. And how a supervisor
//! that may be trying waits for the end of a try without caring whether there is one.

use std::future::{Future, pending};
use std::time::Duration;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);

/// The pauses between tries.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self { next: SHORTEST }
    }

    /// The pause before the next try: between half and all of an interval that doubles each time.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        pause
    }

    /// It works again.
    pub(super) fn reset(&mut self) {
        self.next = SHORTEST;
    }
}

/// Waits for a future that may not be there; while it isn't, for ever.
pub(super) async fn if_any<F: Future + Unpin>(future: &mut Option<F>) -> F::Output {
    match future {
        Some(future) => future.await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_seconds_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..50).map(|_| backoff.pause()).collect();
        assert!(pauses[0] <= SHORTEST && pauses[0] >= SHORTEST / 2);
        assert!(pauses.iter().all(|pause| *pause <= LONGEST));
        assert!(pauses[40..].iter().all(|pause| *pause >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.pause() <= SHORTEST);
    }
}
