//! Durations that a setting may leave out, written as all settings write them: `"20ms"`.

use std::time::Duration;

use serde::{Deserializer, Serializer};

use crate::config::duration;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    duration::deserialize(deserializer).map(Some)
}

pub(super) fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => duration::serialize(value, serializer),
        None => serializer.serialize_none(),
    }
}
