//! The name of a job, and ids that are derived from content.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The namespace of ids that are derived from content. A random constant; never change it.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d2f_3c1e_98b4_4f0a_a2b7_51c6_0f4e_7d19);

/// The producer's name of a job: 1 to 200 bytes without control characters. Names may repeat.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobId(Arc<str>);

impl JobId {
    /// Checks and takes a name.
    pub fn new(text: &str) -> Result<Self, String> {
        if (1..=200).contains(&text.len()) && !text.chars().any(char::is_control) {
            Ok(Self(text.into()))
        } else {
            Err("must be 1 to 200 bytes of text without control characters".to_owned())
        }
    }

    /// The name of a job that carries none: derived from its bytes, so that a repeat gets the same name.
    pub fn of_body(body: &[u8]) -> Self {
        Self(derived_id(&[body]).to_string().into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A UUIDv5 over parts, each preceded by its length so that no two lists of parts collide.
pub(super) fn derived_id(parts: &[&[u8]]) -> Uuid {
    let mut name = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part);
    }
    Uuid::new_v5(&NAMESPACE, &name)
}
