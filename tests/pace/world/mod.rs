//! A world in virtual time: a queue of jobs, workers that come, go and crash, a bus that loses and delays their beacons,
//! and a server with a token bucket. The workers are the library's engine and pace, driven as the program drives them.
//! This file says what a world is made of; it must not know how it turns.

mod batcher;
mod heart;
mod run;
mod server;
mod told;
mod worker;

use std::ops::Range;
use std::time::Duration;

use bulkrelease::config::CallsPerSecond;
use bulkrelease::engine::Moment;
use bulkrelease::pace::Rhythm;

pub use heart::{MAX_WAIT, OVERDUE_SHARE};
pub use told::Told;

/// How a worker makes batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Batching {
    /// When a permit is there.
    ByPermit,
    /// At 100 ids, or so long after the first.
    BySizeOrTime(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Crash,
    Leave,
}

#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub from: Moment,
    pub end: Option<(Moment, End)>,
}

/// A time in which these workers and the others don't hear each other; deaf ones don't hear even their own beacons.
#[derive(Debug, Clone)]
pub struct Cut {
    pub from: Moment,
    pub until: Moment,
    pub workers: Range<usize>,
    pub deaf: bool,
}

impl Cut {
    /// Whether it keeps the one's beacons from the other.
    fn parts(&self, one: usize, other: usize, now: Moment) -> bool {
        let inside = [one, other].map(|worker| self.workers.contains(&worker));
        (self.from..self.until).contains(&now)
            && if self.deaf { inside[0] || inside[1] } else { inside[0] != inside[1] }
    }
}

#[derive(Debug, Clone)]
pub struct Job {
    pub group: usize,
    pub ids: u32,
    pub at: Moment,
}

#[derive(Debug, Clone)]
pub struct World {
    pub seed: u64,
    pub configured: CallsPerSecond,
    pub burst: u32,
    /// What the server allows: from each moment on so many calls a second, strangers' already taken off.
    pub allowed: Vec<(Moment, f64)>,
    pub rhythm: Option<Rhythm>,
    pub lives: Vec<Life>,
    pub jobs: Vec<Job>,
    pub groups: usize,
    pub prefetch: usize,
    pub max_in_flight_calls: usize,
    pub batching: Batching,
    /// Milliseconds from a call to its answer.
    pub latency: Range<u64>,
    /// Milliseconds by which a worker wakes late.
    pub lateness: Range<u64>,
    /// Beacons lost in a thousand, and the milliseconds that the others take.
    pub lost: u64,
    pub delay: Range<u64>,
    /// Which workers no beacon reaches for a while, and whose reach nobody.
    pub cuts: Vec<Cut>,
    pub until: Moment,
}

impl World {
    /// One worker, with nothing but the quota to hold it up.
    pub fn new(seed: u64, rate: f64, until: Moment) -> Self {
        Self {
            seed,
            configured: CallsPerSecond::Limited(rate),
            burst: 1,
            allowed: vec![(Duration::ZERO, rate)],
            rhythm: None,
            lives: vec![Life { from: Duration::ZERO, end: None }],
            jobs: Vec::new(),
            groups: 12,
            prefetch: 1000,
            max_in_flight_calls: 64,
            batching: Batching::ByPermit,
            latency: 40..260,
            lateness: 0..5,
            lost: 0,
            delay: 1..20,
            cuts: Vec::new(),
            until,
        }
    }

    /// Jobs of 1 to `largest` ids that are all there from the start, of groups whose shares are skewed.
    pub fn backlog(mut self, ids: u64, largest: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        let mut left = ids;
        while left > 0 {
            let size = u64::from(random.u32(1..=largest)).min(left);
            self.jobs.push(Job { group: skewed(&mut random, self.groups), ids: size as u32, at: Duration::ZERO });
            left -= size;
        }
        self
    }

    /// Jobs that come at random moments, so many ids a second on average.
    pub fn stream(mut self, ids_per_second: f64, largest: u32, lasts: Moment) -> Self {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        let mean = f64::from(1 + largest) / 2.0;
        let mut at = 0.0;
        loop {
            at += -random.f64().max(1e-12).ln() * mean / ids_per_second;
            if at >= lasts.as_secs_f64() {
                return self;
            }
            let (group, ids) = (skewed(&mut random, self.groups), random.u32(1..=largest));
            self.jobs.push(Job { group, ids, at: Duration::from_secs_f64(at) });
        }
    }

    /// The fewest calls that all jobs need.
    pub fn fewest(&self) -> u64 {
        let mut ids = vec![0_u64; self.groups];
        for job in &self.jobs {
            ids[job.group] += u64::from(job.ids);
        }
        ids.iter().map(|ids| ids.div_ceil(100)).sum()
    }

    pub fn run(self) -> Told {
        run::Run::new(self).run()
    }
}

/// The first groups have far more than the last.
fn skewed(random: &mut fastrand::Rng, groups: usize) -> usize {
    ((random.f64().powi(3) * groups as f64) as usize).min(groups - 1)
}
