//! What happened in a world, and what can be measured of it. It must not know what made it happen.

use std::collections::HashMap;
use std::time::Duration;

use bulkrelease::engine::Moment;

use super::heart::Sealed;

#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: Moment,
    pub worker: usize,
    pub batch: Sealed,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Told {
    pub sent: Vec<Sent>,
    /// When, and whether it was throttled.
    pub arrived: Vec<(Moment, bool)>,
    /// From a job's coming to its end.
    pub latencies: Vec<Duration>,
    pub finished_at: Moment,
    /// The quota as the oldest worker believes, every second.
    pub believed: Vec<(Moment, f64)>,
    /// Calls whose ids were called again since their worker crashed.
    pub orphans: u64,
}

impl Told {
    /// Calls that the server took, of those that arrived in a span.
    pub fn taken(&self, from: Moment, until: Moment) -> u64 {
        self.arrived.iter().filter(|(at, throttled)| (from..until).contains(at) && !throttled).count() as u64
    }

    /// The part of the calls that were throttled.
    pub fn throttled(&self, from: Moment, until: Moment) -> f64 {
        let calls: Vec<_> = self.arrived.iter().filter(|(at, _)| (from..until).contains(at)).collect();
        calls.iter().filter(|(_, throttled)| *throttled).count() as f64 / calls.len().max(1) as f64
    }

    /// The part of the permits that were used.
    pub fn used(&self, rate: f64, from: Moment, until: Moment) -> f64 {
        self.taken(from, until) as f64 / (rate * (until - from).as_secs_f64())
    }

    /// The longest that ids of a group waited in a worker for the group's next call, of what a batch of so many ids may.
    pub fn longest_turn(&self, allowed: impl Fn(usize) -> Duration) -> f64 {
        let mut called = HashMap::new();
        let waits = self.sent.iter().map(|Sent { at, worker, batch }| {
            let before = called.insert((*worker, batch.group), *at);
            let waited = before.map_or(batch.waited, |before| batch.waited.min(*at - before));
            waited.as_secs_f64() / allowed(batch.ids).as_secs_f64()
        });
        waits.fold(0.0, f64::max)
    }

    /// The most by which the calls of any window are more than its rate allows: what a bucket would have to hold.
    pub fn above(&self, rate: f64) -> f64 {
        let (mut lowest, mut most) = (f64::INFINITY, 0.0_f64);
        for (number, sent) in self.sent.iter().enumerate() {
            let ahead = number as f64 - sent.at.as_secs_f64() * rate;
            lowest = lowest.min(ahead);
            most = most.max(ahead + 1.0 - lowest);
        }
        most
    }

    /// The part of the calls that a bucket of that size would not have let go.
    pub fn excess(&self, rate: f64, size: f64) -> f64 {
        let (mut tokens, mut at, mut over) = (size, Duration::ZERO, 0);
        for sent in &self.sent {
            tokens = (tokens + (sent.at - at).as_secs_f64() * rate).min(size);
            at = sent.at;
            if tokens >= 1.0 { tokens -= 1.0 } else { over += 1 }
        }
        f64::from(over) / self.sent.len().max(1) as f64
    }

    pub fn percentile(&self, part: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted
            .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    pub fn calls(&self) -> u64 {
        self.sent.len() as u64
    }
}
