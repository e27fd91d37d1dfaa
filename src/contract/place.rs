//! How one id of a job stands while the job is not finished: it has its outcome, or it is open. A remainder carries this
//! from one delivery to the next, and the engine works on it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::InstanceOutcome;

/// Whether a call may have released an id without our being told. The greater doubt stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Doubt {
    #[default]
    None,
    /// A call that carried it was refused, and nobody vouches that a refused call releases nothing.
    Refused,
    /// A call of unknown fate carried it, or an earlier delivery may have made one.
    Unknown,
}

impl Doubt {
    /// Whether the id is a suspect at all.
    pub fn is_suspect(self) -> bool {
        self != Self::None
    }
}

/// What is known of an id without an outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Open {
    pub doubt: Doubt,
    /// Failed calls so far, over all deliveries of the job.
    pub attempts: u32,
    /// Time since the first of them, what was spent waiting for permits only not counted. `None`: none has failed.
    pub age: Option<Duration>,
}

/// How an id of a job stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    Open(Open),
    Settled(InstanceOutcome),
}

impl Place {
    pub fn open(&self) -> Option<&Open> {
        match self {
            Self::Open(open) => Some(open),
            Self::Settled(_) => None,
        }
    }
}

impl Default for Place {
    /// An id that nothing is known of.
    fn default() -> Self {
        Self::Open(Open::default())
    }
}
