//! Who wants an id, and until when: joining a flight, leaving it, and what everyone who waits is told at its end.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::backlog::PoolKey;
use super::course::{CallKey, Course};
use super::flight::{Flight, History, Phase, Waiter};
use super::ledger::Late;
use super::{CALL_PATIENCE, Engine, JobKey, Moment};
use crate::contract::{Doubt, Evidence, GroupKey, InstanceId, InstanceOutcome, Outcome};

impl Engine {
    /// `doubt` is what the job knows of the id; of a told suspect it knows for itself.
    pub(super) fn join(&mut self, pool: &PoolKey, id: InstanceId, waiter: Waiter, doubt: Doubt, now: Moment) {
        let group = &pool.group;
        match self.flights.get_mut(&id) {
            Some(flight) => {
                flight.history.doubt = flight.history.doubt.max(doubt);
                flight.apart |= pool.suspects;
                if flight.group == *group {
                    flight.waiters.push(waiter.after(&flight.suffered(&self.courses)));
                } else {
                    flight.later.push((Arc::clone(group), waiter));
                }
            }
            None => {
                let flight = Flight::new(Arc::clone(group), doubt, vec![waiter]);
                self.flights.insert(id.clone(), Flight { apart: pool.suspects, ..flight });
                self.backlog.push(pool, id, now);
            }
        }
    }

    /// The guards at the seal: is the id unprotected, and does a live job want it? If not it gets its outcome here.
    pub(super) fn admissible(&mut self, id: &InstanceId, now: Moment) -> bool {
        if self.protection.covers(id) {
            self.end(id, now, |flight| match flight.history.doubt {
                Doubt::None => InstanceOutcome::new(Outcome::Refused, false, &protected()),
                Doubt::Refused | Doubt::Unknown => InstanceOutcome::new(Outcome::Unresolved, true, &protected()),
            });
            return false;
        }
        let Some(flight) = self.flights.get_mut(id) else { return false };
        let (history, ledger) = (flight.suffered(&self.courses), &self.ledger);
        let mut late = Vec::new();
        flight.waiters.retain(|waiter| match ledger.late(waiter.job, now) {
            Some(why) => {
                late.push((*waiter, why));
                false
            }
            None => true,
        });
        let wanted = !flight.waiters.is_empty();
        for (waiter, why) in late {
            self.part(waiter, why, &history, now);
        }
        if !wanted {
            self.land(id, now);
        }
        wanted
    }

    /// A job doesn't wait for an id any longer.
    fn part(&mut self, waiter: Waiter, late: Late, history: &History, now: Moment) {
        let suspect = history.doubt.is_suspect();
        match late {
            Late::Held => self.let_go(waiter, history, now),
            Late::Expired => {
                let outcome = if suspect { Outcome::Unresolved } else { Outcome::Expired };
                self.ledger.settle(waiter, InstanceOutcome::new(outcome, suspect, &expired()), history);
            }
        }
    }

    /// Parts with jobs that are late, but for ids in a call that is under way: its verdict is waited for.
    pub(super) fn part_with_late_jobs(&mut self, now: Moment) {
        let mut pools = HashSet::new();
        for job in self.ledger.take_due(now) {
            let Some(late) = self.ledger.late(job, now) else { continue };
            if self.part_with(job, late, &mut pools, now) {
                self.ledger.look_again(job, now + CALL_PATIENCE);
            }
        }
        self.sweep(pools, now);
    }

    /// No call can succeed for now: lets go of every job, with no attempt counted and no age added. Ids in a call that is
    /// under way stay until its verdict comes: tell it by [`Engine::outage`]. Where no call is under way the newest job stays,
    /// so that there is something to probe with.
    pub fn park(&mut self, now: Moment) {
        let probing = self.calls_under_way > self.queries_under_way();
        let mut jobs: BTreeSet<_> = self.ledger.keys().map(|(job, _)| job).collect();
        if !probing {
            jobs.pop_last();
        }
        let mut pools = HashSet::new();
        for job in jobs {
            let late = self.ledger.late(job, now).unwrap_or(Late::Held);
            self.part_with(job, late, &mut pools, now);
        }
        self.sweep(pools, now);
    }

    /// A job leaves, but for ids in a call that is under way. Whether there are such.
    fn part_with(&mut self, job: JobKey, late: Late, pools: &mut HashSet<Arc<GroupKey>>, now: Moment) -> bool {
        let mut in_a_call = false;
        for id in self.ledger.owed_ids(job) {
            let Some(flight) = self.flights.get_mut(&id) else { continue };
            if flight.is_deciding(job) {
                in_a_call = true;
            } else if let Some((waiter, history)) = leave(flight, job, &self.courses, pools) {
                self.part(waiter, late, &history, now);
            }
        }
        in_a_call
    }

    /// Lets go of jobs at once, though calls of theirs may be under way: nobody will hear the verdicts.
    pub fn abandon(&mut self, jobs: &[JobKey], now: Moment) {
        let mut pools = HashSet::new();
        for &job in jobs {
            for id in self.ledger.owed_ids(job) {
                let Some(flight) = self.flights.get_mut(&id) else { continue };
                let in_a_call = flight.is_deciding(job);
                if let Some((waiter, mut history)) = leave(flight, job, &self.courses, &mut pools) {
                    if in_a_call {
                        history.doubt = Doubt::Unknown;
                        history.failures.add(now);
                        history.first_failure.get_or_insert(now);
                    }
                    self.let_go(waiter, &history, now);
                }
            }
        }
        self.sweep(pools, now);
    }

    /// Lets go of jobs: their deliveries are no longer ours. Calls under way go on; their verdicts serve who is left.
    pub fn forget(&mut self, jobs: &[JobKey], now: Moment) {
        let mut pools = HashSet::new();
        for &job in jobs {
            for id in self.ledger.owed_ids(job) {
                if let Some(flight) = self.flights.get_mut(&id) {
                    leave(flight, job, &self.courses, &mut pools);
                }
            }
            self.ledger.forget(job);
        }
        self.sweep(pools, now);
    }

    /// Removes pooled flights that nobody wants any more.
    fn sweep(&mut self, pools: HashSet<Arc<GroupKey>>, now: Moment) {
        for pool in pools.iter().flat_map(|group| [false, true].map(|suspects| PoolKey::new(group, suspects))) {
            let flights = &self.flights;
            let wanted = |id: &InstanceId| flights.get(id).is_some_and(|flight| !flight.waiters.is_empty());
            for id in self.backlog.sweep(&pool, wanted) {
                self.land(&id, now);
            }
        }
    }

    /// Ends a flight with an outcome for everyone who waits for it.
    pub(super) fn end(&mut self, id: &InstanceId, now: Moment, outcome: impl FnOnce(&Flight) -> InstanceOutcome) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let waiters = std::mem::take(&mut flight.waiters);
        let history = flight.history;
        let outcome = outcome(flight);
        if let Outcome::Released | Outcome::AlreadyGone = outcome.outcome {
            self.memory.remember(id, &flight.group, &outcome);
        }
        if let [waiter] = waiters[..] {
            self.ledger.settle(waiter, outcome, &history);
        } else {
            for waiter in waiters {
                self.ledger.settle(waiter, outcome.clone(), &history);
            }
        }
        self.land(id, now);
    }

    /// A flight is over; the next group that wants the id begins its own.
    pub(super) fn land(&mut self, id: &InstanceId, now: Moment) {
        let Some(flight) = self.flights.remove(id) else { return };
        let Some((group, _)) = flight.later.first() else { return };
        let group = Arc::clone(group);
        let doubt = flight.doubt_afterwards();
        let (same, other) = flight.later.into_iter().partition(|(other, _)| *other == group);
        let waiters = Vec::into_iter(same).map(|(_, waiter)| waiter).collect();
        let mut next = Flight::new(Arc::clone(&group), doubt, waiters);
        (next.later, next.apart) = (other, flight.apart);
        if flight.history.calls == 0 {
            let pool = PoolKey::new(&group, next.apart);
            self.flights.insert(id.clone(), next);
            self.backlog.push(&pool, id.clone(), now);
            return;
        }
        // One of our calls was about this id, so it may be gone: it must not make a batch of fresh ids fail.
        next.phase = Phase::Sealed;
        self.flights.insert(id.clone(), next);
        let key = self.begin_course(&group, vec![id.clone()], now);
        self.make_ready(key);
    }
}

/// Takes a job's claim back, and notes the pool that may have to be swept for it.
fn leave(
    flight: &mut Flight,
    job: JobKey,
    courses: &HashMap<CallKey, Course>,
    pools: &mut HashSet<Arc<GroupKey>>,
) -> Option<(Waiter, History)> {
    let left = flight.leave(job, courses);
    if flight.waiters.is_empty() && flight.phase == Phase::Pooled {
        pools.insert(Arc::clone(&flight.group));
    }
    left
}

pub(super) fn protected() -> Arc<Evidence> {
    Evidence::own("Protected", "safety.protected covers this id")
}

fn expired() -> Arc<Evidence> {
    Evidence::own("NotAfter", "the job's NotAfter has passed")
}
