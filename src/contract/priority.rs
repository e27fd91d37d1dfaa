//! How soon a job wants its turn.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A job's place in the order of waiting. Each step is worth a head start, never more: whatever waits comes to its turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

/// What a body says of its priority, be it a job's or a remainder's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Said {
    priority: Option<Priority>,
    job: Option<SaidWithin>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SaidWithin {
    priority: Option<Priority>,
}

impl Priority {
    /// How much later than the highest it comes to its turn, where each step is worth a head start.
    pub fn delay(self, head_start: Duration) -> Duration {
        head_start * u32::from(self as u8)
    }

    /// The priority of a message whose body is a job or a remainder; what can't be read has the usual one.
    pub fn of_body(body: &[u8]) -> Self {
        let said: Said = serde_json::from_slice(body).unwrap_or_default();
        said.priority.or(said.job.and_then(|job| job.priority)).unwrap_or_default()
    }

    pub(super) fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_priority_of_a_body_is_read_without_reading_the_job() {
        let cases = [
            (r#"{"Priority":"high","InstanceIds":["i-1"]}"#, Priority::High),
            (r#"{"Job":{"Priority":"low","Labels":{}},"Parked":true}"#, Priority::Low),
            (r#"{"ProductCode":"ecs"}"#, Priority::Normal),
            (r#"{"Priority":"urgent"}"#, Priority::Normal),
            ("nonsense", Priority::Normal),
        ];
        for (body, expected) in cases {
            assert_eq!(Priority::of_body(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn each_step_down_costs_one_head_start() {
        let delays = [Priority::High, Priority::Normal, Priority::Low].map(|one| one.delay(Duration::from_secs(7)));
        assert_eq!(delays, [0, 7, 14].map(Duration::from_secs));
    }
}
