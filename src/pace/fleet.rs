//! A worker among those of its account: who is heard, who deals the permits out, and which are in this worker's hand.
//!
//! One worker, as a rule the oldest, takes the account's permits and deals them out in its beacons, a little ahead of time.
//! A permit is dealt once, so what all call together is what one limiter allows, whatever is lost or late. Nobody
//! need agree on anything: a worker that hears nothing from another for an `expiry` takes it for gone; if that was the
//! dealer, the oldest left deals, after the last permit that it has heard of; until then all go on with what was dealt to
//! them ahead, which is for longer than an expiry. A newcomer listens for an expiry first.
//! A worker alone deals to itself: it takes its permits as it needs them.
//!
//! A worker that doesn't hear even its own beacons can't know whether another deals by now. It deals no more, and calls at
//! what would be its part if one more worker were there than it last knew of. (Not at nothing: where the broker itself is
//! away all are deaf alike, and the calls that they still owe fit into the quota.)

use std::collections::BTreeMap;
use std::time::Duration;

use super::Quota;
use super::beacon::{AccountBeacon, Allotment, Member};
use super::plan::{Hand, Horizon, Plan};
use crate::engine::Moment;

/// How the workers of a fleet keep in touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rhythm {
    /// How often each tells how it stands, at the least.
    pub beacon_every: Duration,
    /// The silence after which a worker counts as gone: several beacons, so that a lost one costs nothing.
    pub expiry: Duration,
}

impl Default for Rhythm {
    fn default() -> Self {
        Self { beacon_every: Duration::from_secs(1), expiry: Duration::from_secs(6) }
    }
}

impl Rhythm {
    /// The time for which a deal is firm: it is told twice, so that one lost beacon loses none.
    fn firm(self) -> Duration {
        self.beacon_every * 9 / 4
    }

    /// How far ahead permits are dealt: until somebody else deals, if this worker should be gone.
    fn ahead(self) -> Duration {
        self.expiry + self.firm()
    }

    /// How long a permit is good for that nobody needed when it fell due. No server counts in shorter windows than a second.
    fn good_for(self) -> Duration {
        self.beacon_every.min(Duration::from_secs(1)) / 2
    }
}

/// Where a worker's permits come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    /// Its own limiter, at this part of the quota.
    Own(f64),
    /// Its hand.
    Dealt,
}

/// A member as its last beacon tells.
#[derive(Debug)]
struct Heard {
    at: u64,
    need: u64,
    listens: bool,
    deals: bool,
    /// Taken, and throttled.
    calls: (u64, u64),
    expires_at: Moment,
}

#[derive(Debug)]
pub(super) struct Fleet {
    me: Member,
    rhythm: Rhythm,
    /// The others.
    heard: BTreeMap<Member, Heard>,
    listens_until: Moment,
    /// Until when our last beacon that we heard ourselves lets us know that we are heard.
    known_until: Moment,
    /// The others when we last heard ourselves.
    knew: usize,
    /// Dealt by this worker, if it deals.
    plan: Option<Plan>,
    hand: Hand,
    deaf: bool,
    told_at: Option<Moment>,
    told_need: u64,
    /// Something happened that can't wait for the next beacon.
    hurries: bool,
}

impl Fleet {
    pub fn new(me: Member, rhythm: Rhythm, now: Moment) -> Self {
        Self {
            me,
            rhythm,
            heard: BTreeMap::new(),
            listens_until: now + rhythm.expiry,
            known_until: now + rhythm.expiry,
            knew: 0,
            plan: None,
            hand: Hand::default(),
            deaf: false,
            told_at: None,
            told_need: 0,
            hurries: false,
        }
    }

    pub fn rhythm(&self) -> Rhythm {
        self.rhythm
    }

    /// The workers that are heard, this one included.
    pub fn workers(&self) -> usize {
        self.heard.len() + 1
    }

    /// What part of the account's calls this worker knows of, if it believes nobody else about the quota.
    pub fn observes(&self, now: Moment) -> Option<f64> {
        match self.source(now) {
            Source::Own(part) => Some(part),
            Source::Dealt => self.plan.is_some().then_some(1.0),
        }
    }

    /// Calls that the others' waiting work is worth.
    pub fn need_of_others(&self) -> u64 {
        self.heard.values().map(|heard| heard.need).sum()
    }

    /// Nobody else was there a moment ago.
    pub fn alone(&mut self, now: Moment) {
        if self.heard.is_empty() {
            self.listens_until = self.listens_until.min(now);
        }
    }

    fn is_deaf(&self, now: Moment) -> bool {
        now >= self.known_until
    }

    pub fn source(&self, now: Moment) -> Source {
        if self.is_deaf(now) {
            Source::Own(1.0 / (self.knew + 2) as f64)
        } else if self.plan.is_some() && self.heard.values().all(|heard| heard.listens) {
            Source::Own(1.0)
        } else {
            Source::Dealt
        }
    }

    pub fn share(&self, now: Moment) -> f64 {
        match self.source(now) {
            Source::Own(share) => share,
            Source::Dealt => self.hand.share,
        }
    }

    /// Lets time pass: who was not heard for too long is gone. How many permits have lapsed.
    pub fn advance(&mut self, quota: &mut Quota, now: Moment) -> u32 {
        self.heard.retain(|_, heard| heard.expires_at > now);
        let deaf = self.is_deaf(now);
        if !std::mem::replace(&mut self.deaf, deaf) && deaf {
            self.plan = None;
            // Whoever deals by now has taken them back.
            self.hand.drop_all();
            quota.begin_again(now);
        }
        if deaf {
            self.listens_until = now + self.rhythm.expiry;
        } else if self.plan.is_none() && self.falls_to_us(now) {
            let (dealt, due) = self.hand.last;
            let (me, heard) = (&self.me, &self.heard);
            self.hand.inherit(|member| member == me || heard.contains_key(member), now);
            self.plan = Some(Plan::succeeding(dealt));
            quota.begin_again(now.max(due));
            self.hurries = true;
        }
        self.hand.lapse(self.rhythm.good_for(), now)
    }

    /// The oldest deals; but nobody takes it from somebody who does.
    fn falls_to_us(&self, now: Moment) -> bool {
        now >= self.listens_until
            && self.heard.iter().all(|(other, heard)| !heard.deals && (heard.listens || self.me < *other))
    }

    /// Spends a dealt permit, or says when the next is due.
    pub fn spend(&mut self, now: Moment) -> Result<(), Option<Moment>> {
        self.hand.spend(now)
    }

    /// Work waits, and the next permit comes then, if one does; or there is none left. Whether that can wait for the next
    /// beacon.
    pub fn needs(&mut self, any: bool, permit_at: Option<Moment>, now: Moment) {
        let soon = now + self.rhythm.beacon_every / 4;
        self.hurries |= if any {
            self.told_need == 0 && permit_at.is_none_or(|at| at > soon)
        } else {
            self.told_need > 0 && self.need_of_others() > 0
        };
    }

    /// Has the next beacon go as soon as it may.
    pub fn hurry(&mut self) {
        self.hurries = true;
    }

    /// When the next beacon is due. The larger the fleet, the less it hurries: everyone hears everyone.
    pub fn beacon_at(&self) -> Moment {
        let Some(told_at) = self.told_at else { return Moment::ZERO };
        let every = self.rhythm.beacon_every;
        let hurried = every.mul_f64((0.05 * (1.0 + self.heard.len() as f64 / 8.0)).min(1.0));
        told_at + if self.hurries { hurried } else { every }
    }

    /// What this worker deals, if it does, as it tells of it.
    pub fn deal(
        &mut self,
        need: u64,
        calls_per_second: Option<f64>,
        quota: &mut Quota,
        now: Moment,
    ) -> Option<Allotment> {
        (self.told_at, self.told_need, self.hurries) = (Some(now), need, false);
        let source = self.source(now);
        let Rhythm { expiry, .. } = self.rhythm;
        let firm = self.rhythm.firm();
        // What others may not have heard must not change hands.
        let is_told = now + expiry < self.known_until + firm;
        let plan = self.plan.as_mut()?;
        if source != Source::Dealt {
            plan.take_all(&self.me);
        } else if is_told {
            let mut members = vec![self.me.clone()];
            for (member, heard) in self.heard.iter().filter(|(_, heard)| !heard.listens) {
                members.push(member.clone());
                // From one that is silent for so long nothing more is taken, and it is dealt nothing more.
                if heard.expires_at + firm <= now + expiry {
                    plan.need(member, 0, quota, now);
                }
            }
            plan.need(&self.me, need, quota, now);
            let horizon = Horizon { firm: now + firm, until: now + self.rhythm.ahead() };
            plan.extend(&members, &self.me, quota, horizon, now);
        }
        let allotment = plan.tell(calls_per_second, quota, now);
        self.take_up(&allotment, &self.me.clone(), now);
        Some(allotment)
    }

    fn take_up(&mut self, allotment: &Allotment, dealer: &Member, now: Moment) {
        let is_gone = |before: &Member| *before != self.me && !self.heard.contains_key(before);
        self.hand.take_up(allotment, dealer, is_gone, &self.me, now);
    }

    pub fn tell(&self, beacon: AccountBeacon, now: Moment) -> AccountBeacon {
        AccountBeacon { listens: now < self.listens_until, ..beacon }
    }

    /// Hears a beacon, our own included.
    pub fn hear(&mut self, from: &Member, at: u64, beacon: &AccountBeacon, quota: &Quota, now: Moment) -> News {
        if *from == self.me {
            let known_until = Duration::from_millis(at) + self.rhythm.expiry;
            if known_until > now {
                self.known_until = self.known_until.max(known_until);
                self.knew = self.heard.len();
            }
            return News::default();
        }
        let before = self.heard.get(from);
        if before.is_some_and(|before| before.at >= at) {
            return News::default();
        }
        let calls = before.map_or((0, 0), |before| {
            (beacon.taken.saturating_sub(before.calls.0), beacon.throttled.saturating_sub(before.calls.1))
        });
        let begins =
            before.is_none_or(|before| before.need == 0 || before.listens) && beacon.need > 0 && !beacon.listens;
        if beacon.leaves {
            self.heard.remove(from);
            self.hurries |= beacon.allots.is_some();
        } else {
            let heard = Heard {
                at,
                need: beacon.need,
                listens: beacon.listens,
                deals: beacon.allots.is_some(),
                calls: (beacon.taken, beacon.throttled),
                expires_at: now + self.rhythm.expiry,
            };
            self.heard.insert(from.clone(), heard);
        }
        if let Some(plan) = &mut self.plan {
            plan.need(from, beacon.need, quota, now);
            self.hurries |= begins;
        }
        let pause = (beacon.pause > 0).then(|| Duration::from_millis(beacon.pause));
        News { taken: calls.0, throttled: calls.1, pause, quota: self.keep_to(from, beacon, now) }
    }

    /// The oldest who deals is the one to keep to. Its word about the quota.
    fn keep_to(&mut self, from: &Member, beacon: &AccountBeacon, now: Moment) -> Option<f64> {
        let allotment = beacon.allots.as_ref()?;
        if self.plan.is_some() {
            if self.me < *from {
                return None;
            }
            self.plan = None;
        }
        let older = self.heard.iter().find(|(_, heard)| heard.deals).map(|(member, _)| member);
        if older.is_some_and(|older| older < from) {
            return None;
        }
        if !self.is_deaf(now) && now >= self.listens_until {
            self.take_up(allotment, from, now);
        }
        allotment.calls_per_second
    }
}

/// What a beacon of another worker brings.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Calls of its that were taken, and throttled, since the last one.
    pub taken: u64,
    pub throttled: u64,
    /// The server asked it for this.
    pub pause: Option<Duration>,
    /// The quota, as whoever deals believes.
    pub quota: Option<f64>,
}
