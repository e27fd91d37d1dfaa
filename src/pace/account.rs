//! The pace of one account: gate, quota, share and adaptation joined, and what a worker asks of them. It must not know
//! what a call is about, nor how beacons travel.

use std::time::Duration;

use super::beacon::{AccountBeacon, Beacon, Member};
use super::hint::{Bound, Hint, Permits};
use super::{Delays, Gate, Quota};
use crate::config::CallsPerSecond;
use crate::contract::{AccountName, Verdict};
use crate::engine::Moment;

/// How the workers of a fleet keep in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// How often each tells how it stands, at the least.
    pub beacon_every: Duration,
    /// The silence after which a worker counts as gone: several beacons, so that a lost one costs nothing.
    pub expiry: Duration,
}

#[derive(Debug, Clone)]
pub struct PaceSettings {
    pub account: AccountName,
    pub calls_per_second: CallsPerSecond,
    pub burst: u32,
    /// What one worker has under way at most.
    pub max_in_flight_calls: usize,
    /// `None`: this worker has the quota for itself and never asks anyone.
    pub fleet: Option<Rhythm>,
}

/// What a call that may not go now waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// A permit, or the end of a pause.
    Until(Moment),
    /// The verdict of the probe that is under way, or a beacon.
    Event,
}

#[derive(Debug)]
pub struct Pace {
    settings: PaceSettings,
    gate: Gate,
    quota: Quota,
    calls_under_way: usize,
    /// When the permit is due that was asked for in vain.
    waits_until: Option<Moment>,
    permits: Permits,
    taken: u64,
    throttled: u64,
}

impl Pace {
    /// `now` is the worker's start, or later; the first beacon is due then.
    pub fn new(settings: PaceSettings, _me: Member, delays: Delays, _now: Moment) -> Self {
        Self {
            quota: Quota::new(settings.calls_per_second, settings.burst),
            settings,
            gate: Gate::new(delays),
            calls_under_way: 0,
            waits_until: None,
            permits: Permits::default(),
            taken: 0,
            throttled: 0,
        }
    }

    /// Takes a permit for a call that goes at once: its verdict must be learned. To be asked only when work waits.
    pub fn take(&mut self, now: Moment) -> Result<(), Wait> {
        self.waits_until = None;
        if !self.gate.open(now, self.calls_under_way) {
            return Err(self.gate.opens_at(now).map_or(Wait::Event, |at| self.wait(at)));
        }
        self.quota.take(now).map_err(|due| self.wait(due))?;
        self.calls_under_way += 1;
        self.permits.used += 1;
        Ok(())
    }

    fn wait(&mut self, until: Moment) -> Wait {
        self.waits_until = Some(until);
        Wait::Until(until)
    }

    /// No work waits any more.
    pub fn rest(&mut self, _now: Moment) {
        self.waits_until = None;
        self.quota.rest();
    }

    /// A permit was taken and no call made of it: nothing of what waited was wanted any more.
    pub fn forgo(&mut self) {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
    }

    /// Learns what a call came to, and the pause that the server asks for with it.
    pub fn learn(&mut self, verdict: &Verdict, pause: Option<Duration>, now: Moment) {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
        match verdict {
            Verdict::Throttled(_) => self.throttled += 1,
            Verdict::Released(_) | Verdict::Refused(..) => self.taken += 1,
            Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Account(_) => {}
        }
        self.gate.learn(verdict, pause, now);
    }

    /// No call can succeed, and that is known without one.
    pub fn fail(&mut self, verdict: &Verdict, now: Moment) {
        self.gate.learn(verdict, None, now);
    }

    /// Whether anything but a permit keeps calls from going, queries that need no permit of these included.
    pub fn open(&self, now: Moment) -> bool {
        self.gate.open(now, self.calls_under_way)
    }

    /// When calls may go again, where a pause or the circuit keeps them from going now.
    pub fn opens_at(&self, now: Moment) -> Option<Moment> {
        self.gate.opens_at(now)
    }

    /// Why no call can succeed, if that is so.
    pub fn problem(&self) -> Option<&str> {
        self.gate.problem()
    }

    /// When to ask again, if work waits and nothing happens before.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        self.waits_until.filter(|at| *at > now)
    }

    /// When the next beacon is due; none for a worker on its own.
    pub fn beacon_at(&self, _now: Moment) -> Option<Moment> {
        None
    }

    /// What to tell the others, as it is sent. `need`: the calls that waiting work is worth.
    pub fn beacon(&mut self, need: u64, _now: Moment) -> AccountBeacon {
        AccountBeacon {
            account: self.settings.account.clone(),
            need,
            holds: Some(1.0),
            keeps: None,
            allots: None,
            taken: self.taken,
            throttled: self.throttled,
        }
    }

    /// Hears a beacon, its own included.
    pub fn hear(&mut self, _beacon: &Beacon, _now: Moment) {}

    /// Takes other settings of the quota, as from here on. Nothing is called sooner for it than they allow.
    pub fn reset(&mut self, calls_per_second: CallsPerSecond, burst: u32, _now: Moment) {
        self.quota = Quota::new(calls_per_second, burst);
        (self.settings.calls_per_second, self.settings.burst) = (calls_per_second, burst);
    }

    /// The account's quota as believed now, in calls a second; infinite where there is no limit.
    pub fn quota(&self) -> f64 {
        match self.settings.calls_per_second {
            CallsPerSecond::Limited(rate) => rate,
            CallsPerSecond::Unlimited | CallsPerSecond::Auto => f64::INFINITY,
        }
    }

    /// What this worker may call now, in calls a second.
    pub fn rate(&self) -> f64 {
        self.quota() * self.share()
    }

    /// This worker's share of the quota, 0 to 1.
    pub fn share(&self) -> f64 {
        1.0
    }

    /// The workers of this account that are heard, this one included.
    pub fn workers(&self) -> usize {
        1
    }

    pub fn permits(&self) -> Permits {
        self.permits
    }

    /// What holds the backlog up. `here`: calls that wait in this worker; `queued`: those that the broker's queue is worth.
    pub fn hint(&mut self, here: u64, queued: u64, _now: Moment) -> Hint {
        if here + queued == 0 {
            return Hint { bound: Bound::Nothing, drain: Some(Duration::ZERO), useful_workers: 0 };
        }
        let drain = Duration::try_from_secs_f64((here + queued) as f64 / self.rate()).ok();
        Hint { bound: Bound::Quota, drain, useful_workers: 1 }
    }
}
