//! What an operator or an autoscaler may know of a backlog: what holds it up, how long it takes, how many workers help.

use std::time::Duration;

/// What keeps a backlog from going faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Every permit is used: another worker changes nothing.
    Quota,
    /// Permits go unused while work waits: more workers would use them.
    Workers,
    /// Nothing waits.
    Nothing,
}

impl Bound {
    pub const ALL: [Self; 3] = [Self::Quota, Self::Workers, Self::Nothing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Workers => "workers",
            Self::Nothing => "nothing",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    pub bound: Bound,
    /// Until everything known is called, at today's rate; none where it can't be told: calls don't go at all.
    pub drain: Option<Duration>,
    /// How many workers make the most of the quota for what waits; 0 when nothing does.
    pub useful_workers: u32,
}

/// Permits since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permits {
    pub used: u64,
    /// Fell due while nothing was ready to use them.
    pub idle: u64,
}
