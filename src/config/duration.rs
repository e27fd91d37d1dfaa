//! Durations as people write them: `20ms`, `5s`, `1m 30s`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let signed = SignedDuration::try_from(*duration).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&format!("{signed:#}"))
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse(&text).map_err(de::Error::custom)
}

pub fn parse(text: &str) -> Result<Duration, String> {
    let problem = || format!("{text:?} is no duration: write a number with a unit, such as 20ms, 5s or 2m");
    let signed: SignedDuration = text.parse().map_err(|_| problem())?;
    Duration::try_from(signed).map_err(|_| problem())
}
