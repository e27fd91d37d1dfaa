//! How long an id is tried: a few failed calls in this process, then its job is postponed; over all its deliveries so many
//! calls or so long, then it is given up on. A delivery whose calls were refused and settled nothing counts as one of them.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::course::CallKey;
use super::flight::{History, Waiter};
use super::{Engine, Moment};
use crate::contract::{Evidence, InstanceId, InstanceOutcome, Open, Outcome};

impl Engine {
    /// A call of a course failed, or its split budget was spent for nothing: it waits, or its ids leave.
    pub(super) fn try_again_later(&mut self, key: CallKey, evidence: &Arc<Evidence>, now: Moment) {
        let Some(course) = self.courses.get_mut(&key) else { return };
        course.failures.add();
        let failures = course.failures.count();
        let enough = failures >= self.settings.attempts_in_process;
        let open = course.open();
        let left: HashSet<_> = open.into_iter().filter(|id| self.leaves(id, enough, evidence, now)).collect();
        let Some(course) = self.courses.get_mut(&key) else { return };
        if !left.is_empty() {
            course.retain(|id| !left.contains(id));
        }
        if course.asked().is_empty() {
            self.courses.remove(&key);
            return;
        }
        let delay = (self.delays)(failures);
        self.retries.push(Reverse((now + delay, key)));
    }

    /// Gives an id up for every job that has tried it for long enough, and postpones it for the others if it had enough of
    /// this process. Whether nobody waits for it here any more.
    fn leaves(&mut self, id: &InstanceId, enough: bool, evidence: &Arc<Evidence>, now: Moment) -> bool {
        let Some(flight) = self.flights.get_mut(id) else { return true };
        let history = flight.suffered(&self.courses);
        let waiters = std::mem::take(&mut flight.waiters);
        let mut patient = Vec::new();
        for waiter in waiters {
            let Some(open) = self.ledger.standing(waiter, &history, now) else { continue };
            if self.is_spent(&open) {
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

    /// Whether an id was tried so often, or for so long, that it is given up on.
    fn is_spent(&self, open: &Open) -> bool {
        open.attempts >= self.settings.max_attempts || open.age.is_some_and(|age| age >= self.settings.max_age)
    }

    /// A job lets go of an id without an outcome: it is postponed, or given up on if this delivery tried it once too often.
    pub(super) fn let_go(&mut self, waiter: Waiter, history: &History, now: Moment) {
        match self.ledger.standing(waiter, history, now) {
            Some(open) if waiter.attempts(history) > 0 && self.is_spent(&open) => {
                let outcome = InstanceOutcome::new(Outcome::Unresolved, open.doubt.is_suspect(), &never_settled());
                self.ledger.settle(waiter, outcome, history);
            }
            _ => self.ledger.postpone(waiter, history, now),
        }
    }
}

fn never_settled() -> Arc<Evidence> {
    let words = "calls carried it in one delivery after another, and in none was it settled within worker.max_hold";
    Evidence::own("NeverSettled", words)
}
