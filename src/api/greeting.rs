//! What the endpoint tells anyone who asks for nothing: whether it is there, whether it is the API, and its clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// An answer to a request that names no operation and bears no signature, which no server can take for an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    pub status: u16,
    /// Whether the answer bears a RequestId, as every answer of the API does, in JSON or XML.
    pub is_api: bool,
    /// How far our clock is ahead of the server's, as far as can be told; `None` if it tells no time.
    pub ahead: Option<Ahead>,
}

/// The difference between two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ahead {
    /// Negative if ours is behind.
    pub by: SignedDuration,
    /// How wrong that may be: a second, in which times are written, and what the answer took.
    pub give_or_take: Duration,
}

impl Ahead {
    /// From the `Date` of an answer to a request that was sent and answered at these times of ours.
    pub(super) fn read(date: &str, sent: Timestamp, took: Duration) -> Option<Self> {
        let theirs = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
        let signed = SignedDuration::try_from(took).ok()?;
        let middle = sent.checked_add(signed / 2).ok()?;
        Some(Self { by: middle.duration_since(theirs), give_or_take: took + Duration::from_secs(1) })
    }

    /// The least that the clocks are apart.
    pub fn at_least(&self) -> Duration {
        self.by.unsigned_abs().saturating_sub(self.give_or_take)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_off_by_no_more_than_can_be_told() {
        let sent: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let cases = [
            ("Sat, 31 Jan 2026 12:00:00 GMT", 0, Some(0)),
            ("Sat, 31 Jan 2026 11:50:00 GMT", 0, Some(599)),
            ("Sat, 31 Jan 2026 12:10:00 GMT", 0, Some(599)),
            ("Sat, 31 Jan 2026 12:01:00 GMT", 120, Some(0)),
            ("yesterday", 0, None),
        ];
        for (date, took, seconds) in cases {
            let ahead = Ahead::read(date, sent, Duration::from_secs(took));
            assert_eq!(ahead.map(|ahead| ahead.at_least().as_secs()), seconds, "{date}");
        }
    }
}
