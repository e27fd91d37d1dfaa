//! What both connections of a subscription say of themselves, put together for `/readyz`, and a line in the log whenever
//! it changes.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::broker::Health;

/// The two things that can go wrong, each with its own connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Consuming,
    Publishing,
}

/// Takes reports from both sides.
pub(super) struct HealthBoard {
    problems: Mutex<[Option<String>; 2]>,
    sender: watch::Sender<Health>,
}

impl HealthBoard {
    pub(super) fn new() -> (Self, watch::Receiver<Health>) {
        let connecting = Some("not connected yet".to_owned());
        let problems = [connecting.clone(), connecting];
        let (sender, receiver) = watch::channel(health(&problems));
        (Self { problems: Mutex::new(problems), sender }, receiver)
    }

    /// One side is well, or has a problem.
    pub(super) fn report(&self, side: Side, problem: Option<String>) {
        if self.note(side, problem.clone()) {
            match problem {
                Some(problem) => tracing::warn!(?side, problem, "the broker connection has a problem"),
                None => tracing::info!(?side, "the broker connection is well"),
            }
        }
    }

    /// Deliveries are stopped on request: not ready, but nothing to warn of.
    pub(super) fn stopped(&self) {
        self.note(Side::Consuming, Some("deliveries are stopped".to_owned()));
    }

    /// Whether that is news.
    fn note(&self, side: Side, problem: Option<String>) -> bool {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems[side as usize] == problem {
            return false;
        }
        problems[side as usize] = problem;
        self.sender.send_replace(health(&problems));
        true
    }
}

fn health(problems: &[Option<String>; 2]) -> Health {
    let mut words: Vec<&str> = problems.iter().flatten().map(String::as_str).collect();
    words.dedup();
    Health {
        consuming: problems[Side::Consuming as usize].is_none(),
        publishing: problems[Side::Publishing as usize].is_none(),
        problem: words.join("; "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_told_apart_and_all_well_is_silent() {
        let (board, receiver) = HealthBoard::new();
        assert!(!receiver.borrow().consuming && !receiver.borrow().publishing);
        board.report(Side::Consuming, None);
        board.report(Side::Publishing, Some("blocked".to_owned()));
        assert_eq!(*receiver.borrow(), Health { consuming: true, publishing: false, problem: "blocked".to_owned() });
        board.report(Side::Publishing, None);
        assert_eq!(*receiver.borrow(), Health { consuming: true, publishing: true, problem: String::new() });
    }
}
