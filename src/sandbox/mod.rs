//! A `ReleaseInstance` server to rehearse against: signatures, quota, refusals and failures as the real one has them,
//! and a ledger of what really happened, which no client ever gets from the real one.
//!
//! Written from the API's side of the wire: of bulkrelease it shares the signatures and the limit of 100, and nothing
//! else, so that the two can't be wrong alike.

mod answer;
mod call;
mod faults;
mod inventory;
mod ledger;
mod nonces;
mod quota;
mod request;
mod server;
mod settings;
mod state;

pub use call::Call;
pub use faults::{Fault, Faults};
pub use inventory::InstanceRules;
pub use ledger::{CallRecord, Counts, Ledger};
pub use server::Sandbox;
pub use settings::{AccessKey, SandboxSettings};
