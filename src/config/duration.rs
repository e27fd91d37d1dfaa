//! Durations as people write them: `20ms`, `5s`, `1m 30s`.

use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Deserializer, Serializer, de};

/// Added to the present, any longer one could leave the clock's range; none of the settings needs a day.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

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
    let duration = Duration::try_from(signed).map_err(|_| problem())?;
    if duration > LONGEST {
        return Err(format!("{text:?} is longer than 30 days: write a shorter duration"));
    }
    Ok(duration)
}

/// Several of them, as an array.
pub mod list {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    #[derive(serde::Serialize, Deserialize)]
    #[serde(transparent)]
    struct One(#[serde(with = "super")] Duration);

    pub fn serialize<S: Serializer>(durations: &[Duration], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(durations.iter().copied().map(One))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|One(duration)| duration).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Setting {
        #[serde(with = "super")]
        wait: Duration,
    }

    #[test]
    fn a_duration_is_taken_as_people_write_it() {
        let cases = [
            ("0s", Duration::ZERO),
            ("20ms", Duration::from_millis(20)),
            ("5s", Duration::from_secs(5)),
            ("1.5s", Duration::from_millis(1500)),
            ("2m", Duration::from_secs(120)),
            ("1m 30s", Duration::from_secs(90)),
            ("1h30m", Duration::from_secs(5400)),
            ("720h", LONGEST),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "5", "-5s", "5s ago", "soon", "s", "5 parsecs", "1y", "1e3s", "NaNs", "99999999999999999999s"]
        {
            let error = parse(text).expect_err(text);
            assert!(error.contains("such as 20ms"), "{text}: {error}");
        }
        assert!(parse("721h").unwrap_err().contains("longer than 30 days"));
        assert!(parse("9223372036854775807s").unwrap_err().contains("longer than 30 days"));
    }

    #[test]
    fn a_duration_that_is_written_out_reads_back_as_the_same() {
        for millis in [0, 1, 20, 999, 1000, 1500, 90_000, 3_600_000, 86_400_000] {
            let setting = Setting { wait: Duration::from_millis(millis) };
            let text = toml::to_string(&setting).unwrap();
            assert_eq!(toml::from_str::<Setting>(&text).unwrap(), setting, "{text}");
        }
    }
}
