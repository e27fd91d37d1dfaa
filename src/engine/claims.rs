//! Who wants an id, and until when: joining a flight, leaving it, and what everyone who waits is told at its end.

use std::collections::HashSet;
use std::sync::Arc;

use super::flight::{Flight, Phase, Waiter};
use super::{CALL_PATIENCE, Engine, JobKey, Moment};
use crate::contract::{Evidence, GroupKey, InstanceId, InstanceOutcome, Outcome};

impl Engine {
    pub(super) fn join(&mut self, group: &Arc<GroupKey>, id: InstanceId, waiter: Waiter, suspect: bool, now: Moment) {
        match self.flights.get_mut(&id) {
            Some(flight) => {
                flight.suspect |= suspect;
                flight.unknown |= suspect;
                if flight.group == *group {
                    flight.waiters.push(waiter);
                } else {
                    flight.later.push((Arc::clone(group), waiter));
                }
            }
            None => {
                self.flights.insert(id.clone(), Flight::new(Arc::clone(group), suspect, vec![waiter]));
                self.backlog.push(group, id, now);
            }
        }
    }

    /// The guards at the seal: is the id unprotected, and does a live job want it? If not it gets its outcome here.
    pub(super) fn admissible(&mut self, id: &InstanceId, now: Moment) -> bool {
        if self.protection.covers(id) {
            self.end(id, now, |flight| match flight.suspect {
                false => InstanceOutcome::new(Outcome::Refused, false, &protected()),
                true => InstanceOutcome::new(Outcome::Unresolved, true, &protected()),
            });
            return false;
        }
        let Some(flight) = self.flights.get_mut(id) else { return false };
        let ledger = &self.ledger;
        let expired =
            |waiter: &Waiter| ledger.get(waiter.job).and_then(|entry| entry.expires_at).is_some_and(|at| at <= now);
        if flight.waiters.iter().any(expired) {
            let (late, live) = std::mem::take(&mut flight.waiters).into_iter().partition(expired);
            flight.waiters = live;
            let (suspect, calls, failed) = (flight.suspect, flight.calls, flight.first_failure);
            self.answer_late(late, suspect, calls, failed);
        }
        if self.flights.get(id).is_some_and(|flight| !flight.waiters.is_empty()) {
            return true;
        }
        self.land(id, now);
        false
    }

    fn answer_late(&mut self, late: Vec<Waiter>, suspect: bool, calls: u32, failed: Option<Moment>) {
        for waiter in late {
            let outcome = match suspect {
                false => InstanceOutcome::new(Outcome::Expired, suspect, &expired()),
                true => InstanceOutcome::new(Outcome::Unresolved, suspect, &expired()),
            };
            self.ledger.settle(waiter.job, waiter.slot, outcome, calls, failed);
        }
    }

    /// A job's `NotAfter` has passed: answers for every id of it that is not in a call right now.
    pub(super) fn expire(&mut self, job: JobKey, now: Moment) {
        let mut pools = HashSet::new();
        for (slot, id) in self.ledger.open_ids(job) {
            let Some(flight) = self.flights.get_mut(&id) else { continue };
            if flight.phase == Phase::Called && flight.waiters.iter().any(|waiter| waiter.job == job) {
                self.ledger.expire_again(job, now + CALL_PATIENCE);
                continue;
            }
            flight.leave(job);
            let (suspect, calls, failed) = (flight.suspect, flight.calls, flight.first_failure);
            if flight.waiters.is_empty() && flight.phase == Phase::Pooled {
                pools.insert(Arc::clone(&flight.group));
            }
            self.answer_late(vec![Waiter { job, slot }], suspect, calls, failed);
        }
        self.sweep(pools, now);
    }

    /// Removes pooled flights that nobody wants any more.
    fn sweep(&mut self, pools: HashSet<Arc<GroupKey>>, now: Moment) {
        for group in pools {
            let flights = &self.flights;
            let wanted = |id: &InstanceId| flights.get(id).is_some_and(|flight| !flight.waiters.is_empty());
            for id in self.backlog.sweep(&group, wanted) {
                self.land(&id, now);
            }
        }
    }

    /// Ends a flight with an outcome for everyone who waits for it.
    pub(super) fn end(&mut self, id: &InstanceId, now: Moment, outcome: impl FnOnce(&Flight) -> InstanceOutcome) {
        let Some(flight) = self.flights.get_mut(id) else { return };
        let waiters = std::mem::take(&mut flight.waiters);
        let (calls, failed) = (flight.calls, flight.first_failure);
        let outcome = outcome(flight);
        if let Outcome::Released | Outcome::AlreadyGone = outcome.outcome {
            self.memory.remember(id, &flight.group, &outcome);
        }
        if let [waiter] = waiters[..] {
            self.ledger.settle(waiter.job, waiter.slot, outcome, calls, failed);
        } else {
            for waiter in waiters {
                self.ledger.settle(waiter.job, waiter.slot, outcome.clone(), calls, failed);
            }
        }
        self.land(id, now);
    }

    /// A flight is over; the next group that wants the id begins its own.
    fn land(&mut self, id: &InstanceId, now: Moment) {
        let Some(flight) = self.flights.remove(id) else { return };
        let Some((group, _)) = flight.later.first() else { return };
        let group = Arc::clone(group);
        let (same, other) = flight.later.into_iter().partition(|(other, _)| *other == group);
        let waiters = Vec::into_iter(same).map(|(_, waiter)| waiter).collect();
        let mut next = Flight::new(Arc::clone(&group), flight.suspect, waiters);
        next.later = other;
        if flight.calls == 0 {
            self.flights.insert(id.clone(), next);
            self.backlog.push(&group, id.clone(), now);
            return;
        }
        // One of our calls was about this id, so it may be gone: it must not make a batch of fresh ids fail.
        (next.suspect, next.unknown, next.phase) = (true, true, Phase::Sealed);
        self.flights.insert(id.clone(), next);
        let key = self.begin_course(&group, vec![id.clone()], now);
        self.make_ready(key);
    }

    pub(super) fn settle_waiter(&mut self, waiter: Waiter, outcome: Outcome, suspect: bool, evidence: &Arc<Evidence>) {
        self.ledger.settle(waiter.job, waiter.slot, InstanceOutcome::new(outcome, suspect, evidence), 0, None);
    }

    /// Lets go of jobs: their deliveries are no longer ours. Calls under way go on; their verdicts serve who is left.
    pub fn forget(&mut self, jobs: &[JobKey], now: Moment) {
        let mut pools = HashSet::new();
        for job in jobs {
            for (_, id) in self.ledger.open_ids(*job) {
                let Some(flight) = self.flights.get_mut(&id) else { continue };
                flight.leave(*job);
                if flight.waiters.is_empty() && flight.phase == Phase::Pooled {
                    pools.insert(Arc::clone(&flight.group));
                }
            }
            self.ledger.forget(*job);
        }
        self.sweep(pools, now);
    }
}

pub(super) fn protected() -> Arc<Evidence> {
    Evidence::own("Protected", "safety.protected covers this id")
}

fn expired() -> Arc<Evidence> {
    Evidence::own("NotAfter", "the job's NotAfter has passed")
}
