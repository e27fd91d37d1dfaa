//! When a call may go. A worker has one [`Pace`] an account; it joins
//!
//! - `quota`: permits, at a rate that may change;
//! - `fleet`, `plan` and `beacon`: one quota for all workers of an account, dealt out by one of them;
//! - `adaptation`: the quota as believed, found and mended by what is throttled;
//! - `gate`: pauses, and the circuit that opens when no call can succeed;
//! - `hint`: what an autoscaler may know.
//!
//! `delays` are those between retries. Pure: time and randomness are handed in, beacons too. It must not know what a call is
//! about.

mod account;
mod adaptation;
mod beacon;
mod delays;
mod fleet;
mod gate;
mod hint;
mod plan;
mod quota;

pub use account::{Pace, PaceSettings, Wait};
pub use beacon::{AccountBeacon, Allotment, Beacon, Member, Permit, UnreadableBeacon};
pub use delays::{DelayPolicy, Delays};
pub use fleet::Rhythm;
pub use gate::Gate;
pub use hint::{Backlog, Bound, Hint, Permits};
pub use quota::{CAUGHT_UP, Quota};

#[cfg(test)]
mod tests;
