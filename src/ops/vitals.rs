//! Whether a worker is alive and able to work, as its loop last said.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A loop that has not turned for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(15);

/// Written by the worker's loop, read by `/healthz` and `/readyz`.
#[derive(Debug)]
pub struct Vitals(Mutex<State>);

#[derive(Debug)]
struct State {
    /// `None`: the loop has not begun, since queues are declared first.
    last_turn: Option<Instant>,
    /// What keeps the worker from working; empty when nothing does.
    problems: Vec<String>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self(Mutex::new(State { last_turn: None, problems: Vec::new() }))
    }
}

impl Vitals {
    /// The loop has turned.
    pub fn turned(&self, problems: Vec<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { last_turn: Some(Instant::now()), problems };
    }

    /// Whether the loop turns.
    pub fn alive(&self) -> Result<(), String> {
        let last_turn = self.0.lock().unwrap_or_else(PoisonError::into_inner).last_turn;
        let silent = last_turn.ok_or("the worker is starting")?.elapsed();
        if silent < STUCK_AFTER { Ok(()) } else { Err(format!("the worker's loop has not turned for {silent:.0?}")) }
    }

    /// Whether jobs can be taken and results given.
    pub fn ready(&self) -> Result<(), String> {
        self.alive()?;
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.problems.is_empty() { Ok(()) } else { Err(state.problems.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_alive_from_the_first_turn_of_its_loop_on_and_ready_without_a_problem() {
        let vitals = Vitals::default();
        let starting = Err("the worker is starting".to_owned());
        assert_eq!((vitals.alive(), vitals.ready()), (starting.clone(), starting));
        vitals.turned(vec!["no key".to_owned()]);
        assert_eq!((vitals.alive(), vitals.ready()), (Ok(()), Err("no key".to_owned())));
        vitals.turned(Vec::new());
        assert_eq!((vitals.alive(), vitals.ready()), (Ok(()), Ok(())));
    }
}
