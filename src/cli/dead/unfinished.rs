//! How a verb ends that did not do all that it was asked to, each with an exit code of its own.

/// Each says what happened, and how to go on.
#[derive(Debug, thiserror::Error)]
pub enum Unfinished {
    #[error("{0}")]
    NoMatch(String),
    #[error("{0}")]
    Held(String),
    #[error("{0}")]
    Canary(String),
    #[error("{0}")]
    Stopped(String),
}

impl Unfinished {
    /// As `bulkrelease dead --help` lists them.
    pub fn code(&self) -> u8 {
        match self {
            Self::NoMatch(_) => 3,
            Self::Held(_) => 4,
            Self::Canary(_) => 5,
            Self::Stopped(_) => 6,
        }
    }
}
