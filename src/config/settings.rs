//! Every setting, typed, with its default. `config/bulkrelease.toml` lists the same with a line of why for each; a test
//! holds the two together. It must not know where a value came from (`layers`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use crate::contract::AccountName;

/// All settings of all commands.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub broker: BrokerSettings,
    pub worker: WorkerSettings,
    pub retry: RetrySettings,
    pub safety: SafetySettings,
    pub ops: OpsSettings,
    pub log: LogSettings,
    pub trace: TraceSettings,
    pub accounts: BTreeMap<AccountName, AccountSettings>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BrokerSettings {
    /// `amqp://`, `amqps://` or `sqlite:PATH`. May hold a password: never print it whole.
    pub url: Option<String>,
    /// Of RabbitMQ's management plugin, for `doctor` alone. May hold a password as well.
    pub management_url: Option<String>,
    pub prefetch: u16,
    pub queue_type: QueueType,
    pub declare: bool,
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    #[serde(with = "duration")]
    pub heartbeat: Duration,
    pub tls: TlsSettings,
}

impl Default for BrokerSettings {
    fn default() -> Self {
        Self {
            url: None,
            management_url: None,
            prefetch: 1000,
            queue_type: QueueType::Quorum,
            declare: true,
            connect_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(10),
            tls: TlsSettings::default(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueType {
    Quorum,
    Classic,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM. Trusted beside the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// PEM, with `key_file`.
    pub certificate_file: Option<PathBuf>,
    /// PEM, PKCS#8.
    pub key_file: Option<PathBuf>,
}

/// Of `worker.max_hold`, the part for which a delivery may be held at least.
pub const SHORTEST_HOLD: f64 = 0.75;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Stands in results, dead letters and logs. Default: the host's name and the process id.
    pub name: Option<String>,
    #[serde(with = "duration")]
    pub linger: Duration,
    #[serde(with = "duration")]
    pub max_wait: Duration,
    /// At most every n-th permit goes to a part-filled batch that waited `max_wait` behind others, and at most as many to a
    /// full one behind batches that were called before.
    pub overdue_share: u32,
    pub max_in_flight_calls: usize,
    pub split_budget: u32,
    pub max_ids_per_job: usize,
    pub max_message_bytes: usize,
    pub max_pending_ids: usize,
    pub max_pending_bytes: usize,
    pub max_deliveries: u64,
    /// A delivery is held no longer, but for a call that is under way.
    #[serde(with = "duration")]
    pub max_hold: Duration,
    #[serde(with = "duration")]
    pub drain_deadline: Duration,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: None,
            linger: Duration::from_millis(20),
            max_wait: Duration::from_secs(10),
            overdue_share: 25,
            max_in_flight_calls: 16,
            split_budget: 32,
            max_ids_per_job: 10_000,
            max_message_bytes: 4 * 1024 * 1024,
            max_pending_ids: 100_000,
            max_pending_bytes: 64 * 1024 * 1024,
            max_deliveries: 50,
            max_hold: Duration::from_secs(300),
            drain_deadline: Duration::from_secs(25),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrySettings {
    /// Failed calls of a batch, with no outcome between them, after which its open ids wait outside the worker.
    pub attempts_in_process: u32,
    /// Failed calls of an id, wherever it waited between them, after which it is given up on.
    pub max_attempts: u32,
    /// Counted from the first failed call, without the time that an id waited for permits or for its account.
    #[serde(with = "duration")]
    pub max_age: Duration,
    #[serde(with = "duration")]
    pub initial_interval: Duration,
    pub multiplier: f64,
    #[serde(with = "duration")]
    pub max_interval: Duration,
    /// How long what waits outside the worker waits, rising: a queue of the broker for each.
    #[serde(with = "duration::list")]
    pub steps: Vec<Duration>,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self {
            attempts_in_process: 3,
            max_attempts: 20,
            max_age: Duration::from_secs(24 * 60 * 60),
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
            steps: [10, 60, 600].map(Duration::from_secs).into(),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SafetySettings {
    /// Ids that are never released, and prefixes that end in `*`.
    pub protected: Vec<String>,
    /// The same, one a line; `#` starts a comment.
    pub protected_file: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OpsSettings {
    pub listen: SocketAddr,
}

impl Default for OpsSettings {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 9464)) }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// A tracing filter: `info`, `bulkrelease=debug`.
    pub level: String,
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Human }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Human,
    Json,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TraceSettings {
    /// The URL of a collector that takes OTLP over HTTP, without `/v1/traces`. Nothing is traced without.
    pub otlp_endpoint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSettings {
    /// A host, or a URL. There is no default: a worker never releases anywhere that was not named.
    pub endpoint: Option<String>,
    pub calls_per_second: CallsPerSecond,
    pub burst: u32,
    /// `default` (the chain of them all, in this order), or one source outright: `environment`, `oidc`, `profile:NAME`,
    /// `ini:NAME`, `ecs` or `uri`.
    pub credentials: CredentialSource,
    /// Whether a refused call is known to have released nothing. The vendor doesn't say; `false` assumes nothing.
    pub atomic: bool,
    /// Whether `QueryAvailableInstances` may be asked which suspects are still there. The operator vouches that it lists
    /// every instance of the account; what it does not list is called once more before it counts as released.
    pub read_back: bool,
    pub read_back_calls_per_second: CallsPerSecond,
    #[serde(with = "duration")]
    pub connect_timeout: Duration,
    #[serde(with = "duration")]
    pub call_timeout: Duration,
    /// Extends the error table: a code, or a prefix that ends in `*`, to its class.
    pub error_classes: BTreeMap<String, ErrorClass>,
}

impl Default for AccountSettings {
    fn default() -> Self {
        Self {
            endpoint: None,
            calls_per_second: CallsPerSecond::Limited(3.0),
            burst: 1,
            credentials: CredentialSource::Default,
            atomic: false,
            read_back: false,
            read_back_calls_per_second: CallsPerSecond::Limited(5.0),
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(20),
            error_classes: BTreeMap::new(),
        }
    }
}

/// A quota: calls a second, `"unlimited"`, or `"auto"`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum CallsPerSecond {
    Limited(f64),
    Unlimited,
    /// It is found by calling, and kept to.
    Auto,
}

/// Where an account's access key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// The official default chain.
    Default,
    Environment,
    /// A role taken on with an OIDC provider's token.
    Oidc,
    /// A profile of `~/.aliyun/config.json`.
    Profile(String),
    /// A section of the SDKs' INI file.
    Ini(String),
    /// The role of the ECS instance that this runs on.
    Ecs,
    /// `ALIBABA_CLOUD_CREDENTIALS_URI`.
    Uri,
}

/// What an error code of the API means for the batch. The names stand in the settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorClass {
    Throttled,
    Transient,
    Unknown,
    Account,
    Request,
    Instance,
    Gone,
}

impl Serialize for CallsPerSecond {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Limited(rate) => serializer.serialize_f64(*rate),
            Self::Unlimited => serializer.serialize_str("unlimited"),
            Self::Auto => serializer.serialize_str("auto"),
        }
    }
}

impl<'de> Deserialize<'de> for CallsPerSecond {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Word(String),
        }
        match Written::deserialize(deserializer) {
            Ok(Written::Number(rate)) if (0.001..=10_000.0).contains(&rate) => Ok(Self::Limited(rate)),
            Ok(Written::Word(word)) if word == "unlimited" => Ok(Self::Unlimited),
            Ok(Written::Word(word)) if word == "auto" => Ok(Self::Auto),
            _ => Err(serde::de::Error::custom(
                "calls per second are a number from 0.001 to 10000, \"unlimited\" or \"auto\"",
            )),
        }
    }
}

impl Serialize for CredentialSource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Default => serializer.serialize_str("default"),
            Self::Environment => serializer.serialize_str("environment"),
            Self::Oidc => serializer.serialize_str("oidc"),
            Self::Profile(name) => serializer.serialize_str(&format!("profile:{name}")),
            Self::Ini(name) => serializer.serialize_str(&format!("ini:{name}")),
            Self::Ecs => serializer.serialize_str("ecs"),
            Self::Uri => serializer.serialize_str("uri"),
        }
    }
}

impl<'de> Deserialize<'de> for CredentialSource {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.split_once(':') {
            Some(("profile", name)) if !name.is_empty() => return Ok(Self::Profile(name.to_owned())),
            Some(("ini", name)) if !name.is_empty() => return Ok(Self::Ini(name.to_owned())),
            _ => {}
        }
        match text.as_str() {
            "default" => Ok(Self::Default),
            "environment" => Ok(Self::Environment),
            "oidc" => Ok(Self::Oidc),
            "ecs" => Ok(Self::Ecs),
            "uri" => Ok(Self::Uri),
            // The text itself stays out of the message: it may be the secret, pasted into the wrong place.
            _ => Err(serde::de::Error::custom(
                "not a source of credentials: write \"default\", \"environment\", \"oidc\", \"profile:NAME\", \"ini:NAME\", \
                \"ecs\" or \"uri\"",
            )),
        }
    }
}
