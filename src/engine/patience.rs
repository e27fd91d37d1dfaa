//! How long an id is tried: a few failed calls in this process, then its job is postponed; over all its deliveries so many
//! calls or so long, then it is given up on.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::course::CallKey;
use super::flight::Failures;
use super::{Engine, Moment};
use crate::contract::{Evidence, InstanceId, InstanceOutcome, Outcome};

impl Engine {
    /// A call of a course failed, or its split budget was spent for nothing: it waits, or its ids leave.
    pub(super) fn try_again_later(&mut self, key: CallKey, evidence: &Arc<Evidence>, now: Moment) {
        let Some(course) = self.courses.get_mut(&key) else { return };
        course.failures.add(now);
        let failures = course.failures;
        let enough = failures.count >= self.settings.attempts_in_process;
        let open = course.open();
        let left: HashSet<_> = open.into_iter().filter(|id| self.leaves(id, failures, enough, evidence, now)).collect();
        let Some(course) = self.courses.get_mut(&key) else { return };
        if !left.is_empty() {
            course.retain(|id| !left.contains(id));
        }
        if course.asked().is_empty() {
            self.courses.remove(&key);
            return;
        }
        let delay = (self.delays)(failures.count);
        self.retries.push(Reverse((now + delay, key)));
    }

    /// Gives an id up for every job that has tried it for long enough, and postpones it for the others if it had enough of
    /// this process. Whether nobody waits for it here any more.
    fn leaves(
        &mut self,
        id: &InstanceId,
        failures: Failures,
        enough: bool,
        evidence: &Arc<Evidence>,
        now: Moment,
    ) -> bool {
        let Some(flight) = self.flights.get_mut(id) else { return true };
        // What its course suffered is the id's too, though the last call may have carried others.
        let mut history = flight.history;
        history.failures = history.failures.or_worse(failures);
        let waiters = std::mem::take(&mut flight.waiters);
        let mut patient = Vec::new();
        for waiter in waiters {
            let Some(open) = self.ledger.standing(waiter, &history, now) else { continue };
            let old = open.age.is_some_and(|age| age >= self.settings.max_age);
            if open.attempts >= self.settings.max_attempts || old {
                let outcome = InstanceOutcome::new(Outcome::Unresolved, open.doubt.is_suspect(), evidence);
                self.ledger.settle(waiter, outcome, &history);
            } else if enough {
                self.ledger.postpone(waiter, &history, now);
            } else {
                patient.push(waiter);
            }
        }
        if let Some(flight) = self.flights.get_mut(id)
            && !patient.is_empty()
        {
            flight.waiters = patient;
            return false;
        }
        self.land(id, now);
        true
    }
}
