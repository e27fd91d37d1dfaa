//! A `ReleaseInstance` server to rehearse against: protocol, authorisation, parameters, quota and errors as the real one has
//! them, failures as networks have them, and a ledger of what really happened, which no client ever gets from the real
//! one.
//!
//! Written from the API's side of the wire: of bulkrelease it shares the signatures, the limit of 100, and the way durations
//! are written and settings files are read, and nothing else, so that the two can't be wrong alike. Follow one request:
//! `listener` -> `server` -> `request` -> `gateway` -> `state` (quota, fault) -> `operations` (policy, parameters,
//! inventory) -> `ledger` -> `answer` -> `delivery`.
//!
//! Where the vendor is silent a decision was needed; it says "judged" where it stands.

mod accounts;
mod admin;
mod answer;
mod call;
mod connection;
mod delivery;
mod duration;
mod faults;
mod gateway;
mod inventory;
mod latency;
mod ledger;
mod listener;
mod nonces;
mod one_line;
mod operations;
mod policy;
mod quota;
mod refusal;
mod request;
mod server;
mod settings;
mod state;

pub use accounts::{AccessKey, ParentAccount};
pub use call::{Action, Call};
pub use faults::{FaultAnswer, FaultRule};
pub use inventory::{IdPattern, InstanceRule, InstanceState};
pub use ledger::{CallRecord, Counts, Ledger};
pub use policy::Policy;
pub use server::{Sandbox, StartError};
pub use settings::{InvalidSettings, SandboxSettings};
