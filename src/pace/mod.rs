//! When a call may go: the quota (`quota`), pauses and the circuit (`gate`), and the delays between retries
//! (`delays`). It must not know what a call is about.

mod delays;
mod gate;
mod quota;

pub use delays::{DelayPolicy, Delays};
pub use gate::Gate;
pub use quota::Quota;
