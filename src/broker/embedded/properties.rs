//! A message's properties as the file keeps them: JSON, without those that are not set.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::Properties;

/// The shape of `Properties`: the compiler holds the two together.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Properties", default = "Properties::default")]
struct Shape {
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
}

pub fn to_json(properties: &Properties) -> serde_json::Result<String> {
    let mut json = Vec::new();
    Shape::serialize(properties, &mut serde_json::Serializer::new(&mut json))?;
    Ok(String::from_utf8_lossy(&json).into_owned())
}

/// A row that somebody wrote by hand must not stop its queue: every property is optional on the way in.
pub fn from_json(json: &str) -> Properties {
    Shape::deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap_or_else(|error| {
        tracing::warn!(%error, "a stored message has unreadable properties: it goes without them");
        Properties::default()
    })
}
