//! The server of a world: a bucket of tokens, filled at what is allowed.

use std::time::Duration;

use bulkrelease::engine::Moment;

pub struct Server {
    /// From each moment on so many calls a second.
    allowed: Vec<(Moment, f64)>,
    tokens: f64,
    filled_at: Moment,
}

impl Server {
    pub fn new(allowed: Vec<(Moment, f64)>) -> Self {
        let tokens = allowed.first().map_or(0.0, |(_, rate)| rate.max(1.0));
        Self { allowed, tokens, filled_at: Duration::ZERO }
    }

    /// Takes a call, or says how long until it would.
    pub fn serve(&mut self, now: Moment) -> Option<Duration> {
        let allowed = self.allowed.iter().rfind(|(from, _)| *from <= now).map_or(0.0, |(_, rate)| *rate);
        let capacity = allowed.max(1.0);
        self.tokens = (self.tokens + (now - self.filled_at).as_secs_f64() * allowed).min(capacity);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.tokens) / allowed))
    }
}
