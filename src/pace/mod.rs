//! When a call may go: the quota (`quota`), pauses and the circuit (`gate`), and the delays between retries
//! (`delays`). It must not know what a call is about.

mod account;
mod beacon;
mod delays;
mod gate;
mod hint;
mod quota;

pub use account::{Pace, PaceSettings, Rhythm, Wait};
pub use beacon::{AccountBeacon, Allotment, Beacon, Edition, Member, UnreadableBeacon};
pub use delays::{DelayPolicy, Delays};
pub use gate::Gate;
pub use hint::{Bound, Hint, Permits};
pub use quota::Quota;
