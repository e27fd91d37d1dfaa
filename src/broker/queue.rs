//! The queues of the house, and their names, which are the same in every broker.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use crate::contract::{ARCHIVE, DEAD, JOBS, RESULTS, RETRY, UNROUTED, WATCH};

/// A queue of the house.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Queue {
    Jobs,
    Results,
    Dead,
    Archive,
    Unrouted,
    /// What waits for so long before it goes back to the jobs. To be counted; nobody should consume it.
    Retry {
        after: Duration,
    },
    /// A watcher's copies of results and dead letters.
    Watch(WatchName),
}

impl Queue {
    /// The queues that stand in every broker, whatever the settings.
    pub const ALL: [Self; 5] = [Self::Jobs, Self::Results, Self::Dead, Self::Archive, Self::Unrouted];

    pub fn name(&self) -> String {
        match self {
            Self::Jobs => JOBS.to_owned(),
            Self::Results => RESULTS.to_owned(),
            Self::Dead => DEAD.to_owned(),
            Self::Archive => ARCHIVE.to_owned(),
            Self::Unrouted => UNROUTED.to_owned(),
            Self::Retry { after } => format!("{RETRY}.{}", step_name(*after)),
            Self::Watch(name) => format!("{WATCH}.{name}"),
        }
    }
}

/// A retry step's name, which is its delay: `10s`, `1m30s`.
pub fn step_name(after: Duration) -> String {
    // The longest duration that settings take is 30 days.
    let signed = SignedDuration::try_from(after).unwrap_or(SignedDuration::MAX);
    format!("{signed:#}").replace(' ', "")
}

/// A watcher's name: 1 to 64 of `a-z 0-9 -`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WatchName(Arc<str>);

impl WatchName {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, String> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(format!("the watcher's name {text:?} must be 1 to 64 characters of a-z, 0-9 and -"))
        }
    }
}

impl fmt::Display for WatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WatchName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_named_by_its_delay_without_white_space() {
        for (millis, name) in [(500, "500ms"), (10_000, "10s"), (90_000, "1m30s"), (600_000, "10m"), (3_600_000, "1h")]
        {
            assert_eq!(step_name(Duration::from_millis(millis)), name);
        }
        let after = Duration::from_secs(10);
        assert_eq!(Queue::Retry { after }.name(), "release.retry.10s");
    }

    #[test]
    fn a_watchers_name_can_stand_in_the_name_of_a_queue() {
        for bad in ["", "A", "a b", "a.b", "a*", &"a".repeat(65)] {
            assert!(WatchName::new(bad).is_err(), "{bad:?} was taken");
        }
        assert_eq!(Queue::Watch(WatchName::new("replay-7").unwrap()).name(), "release.watch.replay-7");
    }
}
