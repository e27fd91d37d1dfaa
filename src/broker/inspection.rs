//! What a broker tells of itself when it is asked and nothing is changed: plain facts, for whoever judges them (`doctor`).
//! It must not know which of them are good.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Queue;

/// Arguments of a queue or an exchange, or what a policy sets.
pub type Arguments = Map<String, Value>;

/// How much is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Version, queues, exchanges and the rights for beacons: what a worker should know before it begins.
    Brief,
    /// All rights, alarms and what the management plugin tells as well.
    Whole,
}

/// A broker, as far as it could be asked.
#[derive(Debug)]
pub enum Inspection {
    RabbitMq(Box<RabbitMq>),
    File(QueueFile),
}

/// Why there is nothing to judge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoInspection {
    NotNamed,
    Unreachable {
        address: String,
        reason: String,
    },
    /// User, password or virtual host.
    LoginRefused {
        address: String,
        reason: String,
    },
    Settings(String),
}

/// What a RabbitMQ server tells whoever logs in.
#[derive(Debug, Default)]
pub struct RabbitMq {
    /// Without user and password.
    pub address: String,
    pub user: String,
    pub virtual_host: String,
    /// As it greets everyone; `None` if it could not be read.
    pub version: Option<String>,
    pub queues: Vec<StandingQueue>,
    pub exchanges: Vec<StandingExchange>,
    /// The bindings that there should be. AMQP can't ask for one.
    pub bindings: Vec<Binding>,
    /// Empty where they were not tried.
    pub rights: Vec<Right>,
    /// Those without which a worker can't share a quota.
    pub beacon_rights: Vec<Right>,
    pub publishing: Option<Publishing>,
    /// `None` where it was not asked.
    pub management: Option<Result<Management, NoManagement>>,
}

#[derive(Debug, Clone)]
pub struct StandingQueue {
    pub queue: Queue,
    pub wanted: Arguments,
    pub standing: Standing,
    pub ready: u64,
    pub consumers: u64,
}

#[derive(Debug, Clone)]
pub struct StandingExchange {
    pub name: String,
    pub kind: String,
    pub alternate: Option<String>,
    pub standing: Standing,
}

/// How something compares with what there should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    Missing,
    AsWanted,
    Differs(Difference),
    /// It exists; without the right to configure nobody is told its arguments.
    Untold,
    /// The broker's reason.
    Unavailable(String),
}

/// The first difference, which is all that the broker tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub argument: Option<String>,
    /// `None`: it has no such argument.
    pub current: Option<Value>,
    pub words: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub exchange: String,
    pub queue: String,
    pub key: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    pub kind: RightKind,
    pub entity: String,
    /// `Err` with the reason if it can't be told.
    pub held: Result<bool, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RightKind {
    Configure,
    Write,
    Read,
}

impl RightKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Whether the broker reads what is published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Publishing {
    Read,
    /// An alarm holds publishers up.
    Blocked,
    Unknown(String),
}

/// What the management plugin adds, by the names of queues and exchanges. What does not exist is left out.
#[derive(Debug, Default)]
pub struct Management {
    pub url: String,
    pub version: Option<String>,
    pub queues: BTreeMap<String, ManagedQueue>,
    pub exchanges: BTreeMap<String, ManagedExchange>,
    pub bindings: Vec<Binding>,
    /// `None`: the user lacks the tag `monitoring`.
    pub nodes: Option<Vec<Node>>,
}

/// Why the plugin tells nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoManagement {
    pub url: String,
    pub reason: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct ManagedQueue {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    pub durable: bool,
    #[serde(default, deserialize_with = "object")]
    pub arguments: Option<Arguments>,
    /// Both policies together; not there yet on a queue that is a few seconds old.
    #[serde(default, rename = "effective_policy_definition", deserialize_with = "object")]
    pub policies: Option<Arguments>,
    #[serde(default)]
    pub policy: Option<String>,
    #[serde(default)]
    pub operator_policy: Option<String>,
    #[serde(default)]
    pub leader: Option<String>,
    #[serde(default)]
    pub members: Vec<String>,
    #[serde(default)]
    pub online: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct ManagedExchange {
    #[serde(rename = "type")]
    pub kind: String,
    pub durable: bool,
    #[serde(default, deserialize_with = "object")]
    pub arguments: Option<Arguments>,
    /// The policy's name.
    #[serde(default)]
    pub policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub struct Node {
    pub name: String,
    #[serde(default)]
    pub running: bool,
    #[serde(default)]
    pub mem_alarm: bool,
    #[serde(default)]
    pub disk_free_alarm: bool,
    #[serde(default)]
    pub partitions: Vec<String>,
}

/// An empty object of Erlang's may arrive as an empty list.
fn object<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Arguments>, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::Object(members) => Some(members),
        Value::Array(members) if members.is_empty() => Some(Arguments::new()),
        _ => None,
    })
}

/// The embedded broker's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueFile {
    pub path: String,
    pub state: FileState,
    /// Bytes that this user may still write to its disk, where the system tells.
    pub free_bytes: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    Missing,
    /// It is there, and no tables are in it.
    Empty,
    OtherVersion {
        found: i64,
        known: i64,
    },
    Unusable(String),
    Usable {
        journal: String,
        dead: u64,
        unrouted: u64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_policy_is_another_thing_than_one_that_is_not_told() {
        let cases = [
            (r#"{"durable":true}"#, None),
            (r#"{"durable":true,"effective_policy_definition":""}"#, None),
            (r#"{"durable":true,"effective_policy_definition":{}}"#, Some(0)),
            (r#"{"durable":true,"effective_policy_definition":[]}"#, Some(0)),
            (r#"{"durable":true,"effective_policy_definition":{"message-ttl":1}}"#, Some(1)),
        ];
        for (text, members) in cases {
            let queue: ManagedQueue = serde_json::from_str(text).unwrap();
            assert_eq!(queue.policies.map(|policies| policies.len()), members, "{text}");
        }
    }
}
