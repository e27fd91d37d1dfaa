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
    last_turn: Instant,
    /// What keeps the worker from working; empty when nothing does.
    problems: Vec<String>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self(Mutex::new(State { last_turn: Instant::now(), problems: vec!["the worker is starting".to_owned()] }))
    }
}

impl Vitals {
    /// The loop has turned.
    pub fn turned(&self, problems: Vec<String>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { last_turn: Instant::now(), problems };
    }

    /// Whether the loop turns.
    pub fn alive(&self) -> Result<(), String> {
        let silent = self.0.lock().unwrap_or_else(PoisonError::into_inner).last_turn.elapsed();
        if silent < STUCK_AFTER { Ok(()) } else { Err(format!("the worker's loop has not turned for {silent:.0?}")) }
    }

    /// Whether jobs can be taken and results given.
    pub fn ready(&self) -> Result<(), String> {
        self.alive()?;
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.problems.is_empty() { Ok(()) } else { Err(state.problems.join("\n")) }
    }
}
