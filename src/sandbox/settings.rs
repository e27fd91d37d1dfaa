//! What a sandbox pretends to be: its accounts, instances, quota, speed and failures.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;

use super::faults::Faults;
use super::inventory::InstanceRules;

/// Everything that a sandbox can be told.
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Each is a parent account, with a quota of its own.
    pub access_keys: Vec<AccessKey>,
    /// Whether a request's time must be near ours.
    pub check_clock: bool,
    /// Serve the ledger under `/_sandbox/` to whoever asks.
    pub admin: bool,
    /// For each account, with a burst of one second; `None` never throttles.
    pub calls_per_second: Option<f64>,
    /// Tell a throttled caller how long to wait.
    pub retry_after: bool,
    /// Between what a call does and its answer.
    pub latency: Duration,
    /// Up to this much more, different for each call.
    pub jitter: Duration,
    pub instances: InstanceRules,
    pub faults: Faults,
    /// The same seed fails the same calls, counted in the order of their arrival.
    pub seed: u64,
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            access_keys: vec![AccessKey::default()],
            check_clock: true,
            admin: false,
            calls_per_second: None,
            retry_after: false,
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            instances: InstanceRules::default(),
            faults: Faults::default(),
            seed: 0,
        }
    }
}

impl SandboxSettings {
    /// Refuses what could never work, naming the setting.
    pub(super) fn check(&self) -> Result<(), String> {
        if self.access_keys.is_empty() {
            return Err("access_keys is empty: name at least one, or no call can be signed".to_owned());
        }
        match self.calls_per_second {
            Some(rate) if !(0.001..=1_000_000.0).contains(&rate) => {
                Err(format!("calls_per_second is {rate}: choose 0.001 to 1000000, or leave it out"))
            }
            _ => self.faults.check(),
        }
    }
}

/// An access key that may call, written `ID:SECRET`.
#[derive(Debug, Clone)]
pub struct AccessKey {
    pub id: String,
    pub secret: SecretString,
}

impl Default for AccessKey {
    fn default() -> Self {
        Self { id: "sandbox".to_owned(), secret: "sandbox".into() }
    }
}

impl FromStr for AccessKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
                Ok(Self { id: id.to_owned(), secret: secret.into() })
            }
            _ => Err("an access key is written ID:SECRET".to_owned()),
        }
    }
}
