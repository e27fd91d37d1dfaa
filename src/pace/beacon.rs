//! What workers tell each other of their accounts: short messages that everyone hears, their sender included. Best effort:
//! any of them may be lost, late or doubled, and whoever reads one knows neither field nor worker beyond those named here.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::contract::AccountName;

/// The version that this program writes, and the highest that it reads. Fields may be added without raising it.
const VERSION: u32 = 1;

/// A worker as the others know it: no two alive are alike, and an older one is smaller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// When it started, in milliseconds since 1970, by its own wall clock.
    pub born: u64,
    pub name: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Beacon {
    version: u32,
    pub from: Member,
    /// When it was sent, in milliseconds since the sender's start. Grows with every beacon.
    pub at: u64,
    pub accounts: Vec<AccountBeacon>,
}

/// What a worker tells of one account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AccountBeacon {
    pub account: AccountName,
    /// The calls that its waiting work is worth now.
    pub need: u64,
    /// It is new, or was cut off, and calls nothing before it has heard who else is there.
    #[serde(default)]
    pub listens: bool,
    /// It goes, and this is its last beacon.
    #[serde(default)]
    pub leaves: bool,
    /// For how many milliseconds more the server told it that no call is to go.
    #[serde(default)]
    pub pause: u64,
    /// Whose the next permits are, if it is the one who deals them out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allots: Option<Allotment>,
    /// Calls that the account took since the sender's start.
    #[serde(default)]
    pub taken: u64,
    /// Calls that it throttled since then.
    #[serde(default)]
    pub throttled: u64,
}

/// Whose an account's next permits are: all that are dealt and not due yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Allotment {
    /// The quota as believed now, in calls a second; none where there is no limit.
    pub calls_per_second: Option<f64>,
    pub members: Vec<Member>,
    /// In the order in which they fall due.
    pub permits: Vec<Permit>,
}

/// A permit that is dealt: its number, which no other has; in how many milliseconds it is due; whose it is, a place in the
/// list of members; and the calls that it is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit(pub u64, pub u32, pub u16, pub u32);

/// Why bytes are no beacon that can be read.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableBeacon {
    #[error("not a beacon: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("a beacon of version {0}: upgrade this worker")]
    Newer(u32),
}

impl Beacon {
    /// `since_start` is the sender's own clock, the one whose moments its `Pace` is given.
    pub fn new(from: Member, since_start: Duration, accounts: Vec<AccountBeacon>) -> Self {
        Self { version: VERSION, from, at: stamp(since_start), accounts }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        // Nothing in it can fail: no map has a key that is not a string, and a number that is no number is written as null.
        serde_json::to_vec(self).unwrap_or_default()
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, UnreadableBeacon> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_slice::<Versioned>(bytes)?.version {
            version if version > VERSION => Err(UnreadableBeacon::Newer(version)),
            _ => Ok(serde_json::from_slice(bytes)?),
        }
    }
}

/// A moment of the sender's clock as beacons carry it.
pub(super) fn stamp(moment: Duration) -> u64 {
    u64::try_from(moment.as_millis()).unwrap_or(u64::MAX)
}
