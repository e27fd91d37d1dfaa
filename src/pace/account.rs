//! The pace of one account: gate, quota, share and adaptation joined, and what a worker asks of them. It must not know
//! what a call is about, nor how beacons travel.

use std::time::Duration;

use super::adaptation::Adaptation;
use super::beacon::{AccountBeacon, Beacon, Member, stamp};
use super::fleet::{Fleet, Rhythm, Source};
use super::hint::{Backlog, Hint, Lately, Permits, Seen, Stand};
use super::{Delays, Gate, Quota};
use crate::config::CallsPerSecond;
use crate::contract::{AccountName, Verdict};
use crate::engine::Moment;

/// How long, in beacons, until everyone has heard of a lower quota and keeps to it.
const HEARD_BY_ALL: u32 = 2;

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
    fleet: Option<Fleet>,
    /// None where there is no limit.
    adaptation: Option<Adaptation>,
    calls_under_way: usize,
    /// Calls that were under way when one of them was throttled: if another is, that is no news.
    same_herd: usize,
    /// When the permit is due that was asked for in vain.
    waits_until: Option<Moment>,
    /// Permits that had fallen due when it was last seen that nobody can use them.
    idle_from: Option<f64>,
    /// Of these the ones that are saved up: they may be used yet.
    saved: f64,
    /// Work waits, and a call of it has no place beside those under way.
    full: bool,
    seen: Seen,
    seen_at: Moment,
    taken: u64,
    throttled: u64,
    lately: Lately,
}

impl Pace {
    /// `now` is the worker's start, or later; the first beacon is due then.
    pub fn new(settings: PaceSettings, me: Member, delays: Delays, now: Moment) -> Self {
        let mut pace = Self {
            quota: Quota::new(settings.calls_per_second, settings.burst),
            fleet: settings.fleet.map(|rhythm| Fleet::new(me, rhythm, now)),
            adaptation: Adaptation::new(settings.calls_per_second),
            settings,
            gate: Gate::new(delays),
            calls_under_way: 0,
            same_herd: 0,
            waits_until: None,
            idle_from: None,
            saved: 0.0,
            full: false,
            seen: Seen::default(),
            seen_at: now,
            taken: 0,
            throttled: 0,
            lately: Lately::default(),
        };
        pace.keep_to_quota(now);
        pace
    }

    /// Takes a permit for a call that goes at once: its verdict must be learned. To be asked only when work waits.
    pub fn take(&mut self, now: Moment) -> Result<(), Wait> {
        self.advance(now);
        self.count_idle(now);
        (self.idle_from, self.waits_until, self.full) = (None, None, false);
        let refused = if self.gate.open(now, self.calls_under_way) {
            match self.permit(now) {
                Ok(()) => {
                    self.calls_under_way += 1;
                    self.seen.used += 1;
                    self.saved = (self.saved - 1.0).max(0.0);
                    return Ok(());
                }
                Err(due) => due,
            }
        } else {
            self.gate.opens_at(now)
        };
        self.waits_until = refused;
        self.needs(true, now);
        Err(refused.map_or(Wait::Event, Wait::Until))
    }

    fn permit(&mut self, now: Moment) -> Result<(), Option<Moment>> {
        let Some(fleet) = self.fleet.as_mut().filter(|_| self.adaptation.is_some()) else {
            return self.quota.take(now);
        };
        let Err(dealt) = fleet.spend(now) else { return Ok(()) };
        match fleet.source(now) {
            Source::Dealt => Err(dealt),
            Source::Own(_) => self.quota.take(now).map_err(|own| own.into_iter().chain(dealt).min()),
        }
    }

    /// Work waits, and a call of it has no place beside those under way: permits lapse as if none did.
    pub fn unable(&mut self, now: Moment) {
        self.advance(now);
        self.full = true;
        self.count_idle(now);
        if !self.gate.open(now, self.calls_under_way) {
            self.idle_from = None;
        }
    }

    /// No work waits any more.
    pub fn rest(&mut self, now: Moment) {
        self.advance(now);
        (self.waits_until, self.full) = (None, false);
        self.quota.rest();
        self.count_idle(now);
        self.needs(false, now);
    }

    /// Permits of our own limiter that nobody used, beyond those that it saves up; dealt ones are counted as they lapse.
    fn count_idle(&mut self, now: Moment) {
        let own = self.fleet.as_ref().is_none_or(|fleet| fleet.source(now) != Source::Dealt);
        let due = own.then(|| self.quota.fallen_due(now));
        if let (Some(from), Some(due)) = (std::mem::replace(&mut self.idle_from, due), due) {
            self.saved += (due - from).max(0.0);
            let lapsed = (self.saved - f64::from(self.settings.burst.max(1))).max(0.0);
            self.seen.idle += lapsed;
            self.saved -= lapsed;
        }
    }

    /// A permit was taken and no call made of it: nothing of what waited was wanted any more.
    pub fn forgo(&mut self) {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
    }

    /// Learns what a call came to, and the pause that the server asks for with it.
    pub fn learn(&mut self, verdict: &Verdict, pause: Option<Duration>, now: Moment) {
        let herd = self.came_back(now);
        match verdict {
            Verdict::Throttled(_) => {
                self.throttled += 1;
                if !herd {
                    self.same_herd = self.calls_under_way;
                    self.throttle(now);
                }
            }
            Verdict::Released(_) | Verdict::Refused(..) => {
                self.taken += 1;
                self.observe(1, 0, now);
            }
            Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Account(_) => {}
        }
        self.gate.learn(verdict, pause, now);
        self.keep_to_quota(now);
    }

    /// A call failed as only calls for the same jobs do: it tells nothing of the account.
    pub fn learn_nothing(&mut self, pause: Option<Duration>, now: Moment) {
        self.came_back(now);
        self.gate.pause(pause, now);
    }

    /// Whether the call was under way when another was throttled.
    fn came_back(&mut self, now: Moment) -> bool {
        self.advance(now);
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
        self.seen.answered += 1;
        let herd = self.same_herd > 0;
        self.same_herd = self.same_herd.saturating_sub(1);
        herd
    }

    fn throttle(&mut self, now: Moment) {
        if let Some(fleet) = &mut self.fleet {
            fleet.hurry();
        }
        self.observe(0, 1, now);
    }

    /// Whoever deals observes for all, and the others believe; one that hears nobody goes by what it sees itself.
    fn observe(&mut self, taken: u64, throttled: u64, now: Moment) {
        let (part, settles) = match &self.fleet {
            None => (1.0, Duration::ZERO),
            Some(fleet) => match fleet.observes(now) {
                None => return,
                Some(part) if fleet.workers() > 1 => (part, fleet.rhythm().beacon_every * HEARD_BY_ALL),
                Some(part) => (part, Duration::ZERO),
            },
        };
        if let Some(adaptation) = &mut self.adaptation {
            adaptation.observe(taken, throttled, part, settles, now);
        }
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
    pub fn beacon_at(&self, now: Moment) -> Option<Moment> {
        self.fleet.as_ref().map(|fleet| fleet.beacon_at().max(now))
    }

    /// What to tell the others, as it is sent. `need`: the calls that waiting work is worth.
    pub fn beacon(&mut self, need: u64, now: Moment) -> AccountBeacon {
        self.advance(now);
        let has_limit = self.adaptation.is_some();
        // While no call can succeed here one is enough to probe with; the account may do better elsewhere.
        let need = if self.gate.problem().is_some() { need.min(1) } else { need };
        let believed = self.quota();
        let beacon = AccountBeacon {
            account: self.settings.account.clone(),
            need,
            listens: false,
            leaves: false,
            pause: stamp(self.gate.told(now)),
            allots: None,
            taken: self.taken,
            throttled: self.throttled,
        };
        let Some(fleet) = &mut self.fleet else { return beacon };
        let allots = fleet.deal(need, has_limit.then_some(believed), &mut self.quota, now);
        fleet.tell(AccountBeacon { allots, ..beacon }, now)
    }

    /// The last beacon: what this worker has is for the others from here on, and it calls no more.
    pub fn farewell(&mut self, now: Moment) -> AccountBeacon {
        AccountBeacon { leaves: true, ..self.beacon(0, now) }
    }

    /// Hears a beacon, its own included.
    pub fn hear(&mut self, beacon: &Beacon, now: Moment) {
        self.advance(now);
        let Some(about) = beacon.accounts.iter().find(|about| about.account == self.settings.account) else { return };
        let Some(fleet) = &mut self.fleet else { return };
        let news = fleet.hear(&beacon.from, beacon.at, about, &self.quota, now);
        if let Some(pause) = news.pause {
            self.gate.heed(pause, now);
        }
        if let (Some(quota), Some(adaptation)) = (news.quota, &mut self.adaptation) {
            adaptation.adopt(quota);
        }
        if news.taken + news.throttled > 0 {
            self.observe(news.taken, news.throttled, now);
        }
        self.advance(now);
    }

    /// Nobody else was there a moment ago: what is not heard by now need not be listened for.
    pub fn alone(&mut self, now: Moment) {
        if let Some(fleet) = &mut self.fleet {
            fleet.alone(now);
        }
        self.advance(now);
    }

    /// Takes other settings of the quota, as from here on. Nothing is called sooner for it than they allow, and what was
    /// learned of a quota that is set as before stays.
    pub fn reset(&mut self, calls_per_second: CallsPerSecond, burst: u32, now: Moment) {
        if calls_per_second != self.settings.calls_per_second {
            self.adaptation = Adaptation::new(calls_per_second);
        }
        (self.settings.calls_per_second, self.settings.burst) = (calls_per_second, burst);
        self.quota.allow_burst(burst, now);
        self.keep_to_quota(now);
    }

    /// The account's quota as believed now, in calls a second; infinite where there is no limit.
    pub fn quota(&self) -> f64 {
        self.adaptation.as_ref().map_or(f64::INFINITY, Adaptation::rate)
    }

    /// What this worker may call now, in calls a second.
    pub fn rate(&self) -> f64 {
        match &self.adaptation {
            Some(adaptation) => adaptation.rate() * self.share(),
            None => f64::INFINITY,
        }
    }

    /// This worker's share of the quota, 0 to 1.
    pub fn share(&self) -> f64 {
        let shared = self.fleet.as_ref().filter(|_| self.adaptation.is_some());
        shared.map_or(1.0, |fleet| fleet.share(self.seen_at))
    }

    /// The workers of this account that are heard, this one included.
    pub fn workers(&self) -> usize {
        self.fleet.as_ref().map_or(1, Fleet::workers)
    }

    pub fn permits(&self) -> Permits {
        Permits { used: self.seen.used, idle: self.seen.idle as u64 }
    }

    /// What holds the backlog up, of which this worker knows so much itself.
    pub fn hint(&mut self, backlog: Backlog, now: Moment) -> Hint {
        self.advance(now);
        let others = self.fleet.as_ref().map_or(0, Fleet::need_of_others);
        let stand = Stand {
            backlog: Backlog { calls: backlog.calls + others, ..backlog },
            quota: self.quota(),
            open: self.gate.problem().is_none(),
            workers: self.workers(),
            at_a_time: self.settings.max_in_flight_calls.max(1),
        };
        self.lately.hint(self.seen, stand, now)
    }

    /// Lets time pass.
    fn advance(&mut self, now: Moment) {
        let passed = now.saturating_sub(self.seen_at).as_secs_f64();
        self.seen.calling += self.calls_under_way as f64 * passed;
        self.seen.full += if self.full { passed } else { 0.0 };
        self.seen_at = self.seen_at.max(now);
        if let Some(fleet) = &mut self.fleet {
            self.seen.idle += f64::from(fleet.advance(&mut self.quota, now));
        }
        self.keep_to_quota(now);
    }

    fn keep_to_quota(&mut self, now: Moment) {
        let part = match self.fleet.as_ref().map(|fleet| fleet.source(now)) {
            Some(Source::Own(part)) => part,
            Some(Source::Dealt) | None => 1.0,
        };
        let rate = self.quota() * part;
        if rate != self.quota.rate() {
            self.quota.reshape(rate, now);
        }
    }

    fn needs(&mut self, any: bool, now: Moment) {
        if let Some(fleet) = &mut self.fleet {
            fleet.needs(any, self.waits_until, now);
        }
    }
}
