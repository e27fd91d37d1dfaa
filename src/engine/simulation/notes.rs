//! What the judge must know of a world's history: who asked for what, and what calls did to it. It is written down from
//! outside, never taken from the engine's own books, but for who waits for an id at this moment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::run::Admitted;
use super::world::{Api, is_foreign};
use crate::contract::{Batch, Doubt, GroupKey, InstanceId, Open, Refusal, Verdict};
use crate::engine::read_back::FEW;
use crate::engine::{Call, CallKey, Engine, JobKey, Moment};

/// An id, and a delivery that waits for it.
type Claim = (InstanceId, JobKey);

/// An id as one group calls it.
type Called = (InstanceId, Arc<GroupKey>);

#[derive(Default)]
pub(super) struct Notes {
    /// The groups in which anyone ever asked for an id.
    wanted_by: HashMap<InstanceId, HashSet<Arc<GroupKey>>>,
    /// The deliveries that ever asked for an id, finished ones too.
    claims: HashMap<InstanceId, Vec<JobKey>>,
    /// Ids that a call of unknown fate carried, and that have no outcome since.
    unknown: HashSet<InstanceId>,
    /// Ids that a call of unknown fate ever carried, as far as anybody told the engine.
    ever_unknown: HashSet<InstanceId>,
    /// Ids of deliveries that waited for them while a call was of unknown fate.
    unknown_for: HashSet<Claim>,
    /// Ids of deliveries that waited for them from before a call that spoke of them, and left them open.
    tried_for: HashSet<Claim>,
    /// Who waited for a course's ids when its last call was sealed, and all that the course ever carried.
    sealed: HashMap<CallKey, (HashSet<Claim>, HashSet<InstanceId>)>,
    /// When a call failed, or was refused, of a course that had carried an id.
    strikes: HashMap<Called, Vec<Moment>>,
    /// Another account's ids that the API once called "gone" together with ids that are, none of them listed; until the
    /// API speaks of one alone.
    beside_gone: HashSet<Called>,
}

impl Notes {
    pub fn admitted(&mut self, key: JobKey, job: &Admitted) {
        for (id, open) in job.places.iter().filter_map(|(id, place)| Some((id, place.open()?))) {
            self.claims.entry(id.clone()).or_default().push(key);
            if !job.dry_run {
                self.wanted_by.entry(id.clone()).or_default().insert(Arc::clone(&job.group));
            }
            if job.redelivered || told(open) {
                self.ever_unknown.insert(id.clone());
            }
        }
    }

    pub fn sealed(&mut self, call: &Call, engine: &Engine) {
        let sealed = self.sealed.entry(call.key).or_default();
        sealed.0 = waiting_for(&call.batch, engine);
        sealed.1.extend(call.batch.ids().iter().cloned());
    }

    /// A verdict came that the engine has not heard yet; `counts` unless it is an outage's.
    pub fn answered(&mut self, call: &Call, verdict: &Verdict, counts: bool, api: &Api, engine: &Engine, now: Moment) {
        let ids = call.batch.ids();
        let of = |id: &InstanceId| (id.clone(), Arc::clone(call.batch.group()));
        let (waited, carried) = &self.sealed[&call.key];
        let strike = match verdict {
            Verdict::Released(_) | Verdict::Throttled(_) => false,
            Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Account(_) => counts,
            Verdict::Refused(..) => true,
        };
        if strike {
            for id in carried {
                self.strikes.entry(of(id)).or_default().push(now);
            }
        }
        let waiting = waiting_for(&call.batch, engine);
        match verdict {
            Verdict::Transient(_) | Verdict::Unknown(_) if !counts => {}
            Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Refused(..) => {
                self.tried_for.extend(waiting.intersection(waited).cloned());
            }
            Verdict::Released(_) | Verdict::Throttled(_) | Verdict::Account(_) => {}
        }
        match verdict {
            Verdict::Unknown(_) => {
                self.unknown.extend(ids.iter().cloned());
                self.ever_unknown.extend(ids.iter().cloned());
                self.unknown_for.extend(waiting);
            }
            _ if ids.len() == 1 => drop(self.unknown.remove(&ids[0])),
            _ => {}
        }
        match verdict {
            Verdict::Refused(Refusal::Gone, _)
                if ids.len() > FEW && ids.iter().all(|id| api.is_gone(id) || is_foreign(id)) =>
            {
                self.beside_gone.extend(ids.iter().filter(|id| is_foreign(id)).map(of));
            }
            Verdict::Refused(Refusal::Instance, _) if ids.len() == 1 => drop(self.beside_gone.remove(&of(&ids[0]))),
            _ => {}
        }
    }

    /// Nobody will hear the verdict of a call.
    pub fn abandoned(&mut self, call: &Call, engine: &Engine, now: Moment) {
        self.unknown_for.extend(waiting_for(&call.batch, engine));
        for id in call.batch.ids() {
            self.ever_unknown.insert(id.clone());
            self.strikes.entry((id.clone(), Arc::clone(call.batch.group()))).or_default().push(now);
        }
    }

    pub fn forget_landed(&mut self, engine: &Engine) {
        self.unknown.retain(|id| engine.flights.contains_key(id));
    }

    /// The deliveries that ever asked for an id.
    pub fn claims(&self, id: &InstanceId) -> &[JobKey] {
        &self.claims[id]
    }

    /// Whether more than one group ever wanted an id.
    pub fn is_shared(&self, id: &InstanceId) -> bool {
        self.wanted_by.get(id).is_some_and(|groups| groups.len() > 1)
    }

    pub fn is_unknown(&self, id: &InstanceId) -> bool {
        self.unknown.contains(id)
    }

    pub fn ever_unknown(&self, id: &InstanceId) -> bool {
        self.ever_unknown.contains(id)
    }

    pub fn unknown_for(&self, id: &InstanceId, job: JobKey) -> bool {
        self.unknown_for.contains(&(id.clone(), job))
    }

    pub fn tried_for(&self, id: &InstanceId, job: JobKey) -> bool {
        self.tried_for.contains(&(id.clone(), job))
    }

    /// Calls in vain of courses that carried an id, since a moment.
    pub fn strikes(&self, id: &InstanceId, group: &Arc<GroupKey>, since: Moment) -> usize {
        let strikes = self.strikes.get(&(id.clone(), Arc::clone(group)));
        strikes.into_iter().flatten().filter(|at| **at >= since).count()
    }

    pub fn beside_gone(&self, id: &InstanceId, group: &Arc<GroupKey>) -> bool {
        self.beside_gone.contains(&(id.clone(), Arc::clone(group)))
    }
}

fn told(open: &Open) -> bool {
    open.doubt == Doubt::Unknown
}

/// The deliveries that wait for ids of a batch.
fn waiting_for(batch: &Batch, engine: &Engine) -> HashSet<Claim> {
    let waiters = |id: &InstanceId| engine.flights.get(id).into_iter().flat_map(|flight| &flight.waiters);
    batch.ids().iter().flat_map(|id| waiters(id).map(|waiter| (id.clone(), waiter.job))).collect()
}
