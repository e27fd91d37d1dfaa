//! What people and machines see of a worker: metrics, log lines, health, spans.
//!
//! `events` says what happened: one type for a log line and its metric. `metrics` are the series themselves, `vitals` whether
//! all is well, `server` shows them over HTTP, `trace` follows one job. It must not decide anything.

mod beginning;
pub mod events;
mod fewest;
mod labels;
mod metrics;
mod process;
mod server;
pub mod trace;
mod vitals;

pub use metrics::Metrics;
pub use server::OpsServer;
pub use vitals::Vitals;
