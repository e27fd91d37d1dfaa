//! The sandbox over the wire: what a client that rehearses against it relies on.

mod admin;
mod authorisation;
mod client;
mod faults;
mod instances;
mod protocol;
mod queries;
mod recordings;
mod wire;

use std::time::Duration;

use bulkrelease::sandbox::{Sandbox, SandboxSettings};

/// Far longer than anything here takes, far shorter than a hanging call hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A sandbox with these settings that takes the fixed date of the client and of the recordings.
async fn start(settings: &str) -> Sandbox {
    let settings: SandboxSettings = settings.parse().unwrap_or_else(|problem| panic!("{problem}: {settings}"));
    let listen = SandboxSettings::default().listen;
    let settings = SandboxSettings { listen, check_clock: false, ..settings };
    // Every test of the process tries; that one succeeded is all that counts.
    rustls::crypto::ring::default_provider().install_default().ok();
    Sandbox::start(settings).await.unwrap_or_else(|problem| panic!("{problem}"))
}
