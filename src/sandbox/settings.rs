//! What a sandbox pretends to be: its accounts, instances, quota, speed and failures. Read from a TOML file, or written in
//! Rust. It must not know how any of it is carried out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use super::accounts::{AccessKey, ParentAccount};
use super::faults::FaultRule;
use super::inventory::InstanceRule;
use crate::config::ConfigError;

/// The account of an access key that names none.
pub(super) const DEFAULT_ACCOUNT: &str = "default";

/// Everything that a sandbox can be told. The defaults: one VNO account with the key `sandbox`/`sandbox`, no quota, no
/// faults, and every id names an instance that can be released once.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SandboxSettings {
    /// Port 0 takes a free one, and is the default in Rust; in a file that is `127.0.0.1:9470`.
    #[serde(default = "well_known")]
    pub listen: SocketAddr,
    /// Serve `/_sandbox/` to whoever asks.
    pub admin: bool,
    /// Whether a request's time must be near ours.
    pub check_clock: bool,
    /// A batch with a bad id releases nothing. If not, it releases its good ids, and is refused all the same.
    pub atomic: bool,
    /// Name the bad ids in a refusal.
    pub name_ids: bool,
    /// For each account and each operation, with a burst of one second; `None` never throttles.
    pub calls_per_second: Option<f64>,
    /// Tell a throttled caller how long to wait.
    pub retry_after: bool,
    /// Between what a call does and its answer: the median, if there is a `latency_p99`.
    #[serde(with = "crate::config::duration")]
    pub latency: Duration,
    /// What one answer in a hundred takes longer than; between the two, times are spread log-normally.
    #[serde(with = "super::duration")]
    pub latency_p99: Option<Duration>,
    /// The same seed fails the same calls, counted in the order of their arrival.
    pub seed: u64,
    /// Parent accounts by name.
    pub accounts: BTreeMap<String, ParentAccount>,
    pub access_keys: Vec<AccessKey>,
    /// The first rule that matches an id describes its instance. Without a rule and without a file, every id exists.
    pub instances: Vec<InstanceRule>,
    /// CSV with a header: `InstanceId,Owner,ProductCode,SubscriptionType,Region,State`. Asked after the rules. In a settings
    /// file a relative path starts from that file's folder.
    pub instances_file: Option<PathBuf>,
    /// The first rule that strikes a call decides how it fails.
    pub faults: Vec<FaultRule>,
}

fn well_known() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 9470))
}

impl Default for SandboxSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            admin: false,
            check_clock: true,
            atomic: true,
            name_ids: false,
            calls_per_second: None,
            retry_after: false,
            latency: Duration::ZERO,
            latency_p99: None,
            seed: 0,
            accounts: [(DEFAULT_ACCOUNT.to_owned(), ParentAccount::default())].into(),
            access_keys: vec![AccessKey::default()],
            instances: Vec::new(),
            instances_file: None,
            faults: Vec::new(),
        }
    }
}

/// Settings that can't work: which, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} {problem}")]
pub struct InvalidSettings {
    /// As in the file: `access_keys[1].account`.
    pub setting: String,
    pub problem: String,
}

impl InvalidSettings {
    pub(super) fn new(setting: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { setting: setting.into(), problem: problem.into() }
    }
}

impl SandboxSettings {
    /// Reads a settings file's text; errors name the place in `file`, and never quote a secret. What the settings say together is checked when a
    /// sandbox starts.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        // An error of the parser's own would quote an access key that is not written as a table.
        let table: Option<toml::Table> = text.parse().ok();
        if let Some(keys) = table.as_ref().and_then(|table| table.get("access_keys"))
            && !keys.as_array().is_some_and(|keys| keys.iter().all(toml::Value::is_table))
        {
            let problem = "access_keys: is no list of tables: write each as [[access_keys]] with id and secret";
            return Err(ConfigError::At { location: file.display().to_string(), problem: problem.to_owned() });
        }
        let mut settings: Self = crate::config::parse_file(file, text)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        settings.instances_file = settings.instances_file.map(|listed| folder.join(listed));
        Ok(settings)
    }

    /// Refuses what could never work, naming the setting.
    pub(super) fn check(&self) -> Result<(), InvalidSettings> {
        if self.access_keys.is_empty() {
            return Err(InvalidSettings::new("access_keys", "is empty: name at least one, or no call can be signed"));
        }
        check_rate("calls_per_second", self.calls_per_second)?;
        super::latency::check("latency_p99", self.latency, self.latency_p99)?;
        for (name, account) in &self.accounts {
            check_rate(&format!("accounts.{name}.calls_per_second"), account.calls_per_second)?;
        }
        let mut ids = BTreeSet::new();
        for (index, key) in self.access_keys.iter().enumerate() {
            let setting = format!("access_keys[{index}]");
            key.check(&setting)?;
            if !ids.insert(&key.id) {
                return Err(InvalidSettings::new(setting + ".id", format!("repeats {:?}: each id once", key.id)));
            }
            if !self.accounts.contains_key(&key.account) {
                let problem = format!("is {:?}, which is no account here: add [accounts.{0}]", key.account);
                return Err(InvalidSettings::new(setting + ".account", problem));
            }
        }
        for (index, rule) in self.instances.iter().enumerate() {
            rule.check(&format!("instances[{index}]"))?;
        }
        super::faults::check(&self.faults)
    }
}

fn check_rate(setting: &str, rate: Option<f64>) -> Result<(), InvalidSettings> {
    match rate {
        Some(rate) if !(0.001..=1_000_000.0).contains(&rate) => {
            Err(InvalidSettings::new(setting, format!("is {rate}: choose 0.001 to 1000000, or leave it out")))
        }
        _ => Ok(()),
    }
}

/// A settings file's text, from nowhere in particular.
impl FromStr for SandboxSettings {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        Self::parse(Path::new("settings"), text)
    }
}

#[cfg(test)]
mod tests;
