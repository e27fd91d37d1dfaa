//! From a permit to a call: whose turn it is, the guards at the seal, and what a course asks next.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use super::backlog::{Lot, PoolKey, SealReason};
use super::course::{CallKey, Course, Order, Plan, Reading};
use super::flight::Phase;
use super::{Call, CallKind, Engine, Moment};
use crate::contract::{Batch, GroupKey, InstanceId, MAX_IDS_PER_CALL};

impl Engine {
    /// Whether a permit would be spent now.
    pub fn ready(&self, now: Moment) -> bool {
        self.backlog.ready(now, self.calls_under_way == 0)
    }

    /// A permit is in hand: seals the batch whose turn it is. `None` if every waiting id has turned out not to be wanted.
    pub fn seal(&mut self, now: Moment) -> Option<Call> {
        loop {
            let lot = self.backlog.choose(now, self.calls_under_way == 0)?;
            let call = match lot {
                Lot::Course(key) => self.go_on_with(key, now),
                Lot::Pool(pool, reason) => self.seal_pool(&pool, now).and_then(|key| self.call(key, reason, now)),
            };
            if call.is_some() {
                return call;
            }
        }
    }

    /// Fills a new course from a pool; guards are asked again for every id.
    fn seal_pool(&mut self, pool: &PoolKey, now: Moment) -> Option<CallKey> {
        let mut ids = Vec::new();
        let mut since = now;
        let (suspects, mut told) = (PoolKey::new(&pool.group, true), false);
        while ids.len() < MAX_IDS_PER_CALL {
            let Some(waiting) = self.backlog.pop(pool) else { break };
            if !self.admissible(&waiting.id, now) {
                continue;
            }
            // Another job may have told of it since it came.
            if !pool.suspects && self.flights.get(&waiting.id).is_some_and(|flight| flight.apart) {
                self.backlog.push(&suspects, waiting);
                told = true;
                continue;
            }
            since = since.min(waiting.since);
            ids.push(waiting.id);
        }
        self.backlog.reorder(pool);
        if told {
            // They have waited already, perhaps for longer than those that they join.
            self.backlog.reorder(&suspects);
        }
        if ids.is_empty() {
            return None;
        }
        Some(self.begin_course(&pool.group, ids, since))
    }

    /// A course's turn has come: whoever is no longer admissible leaves it, the rest is called.
    fn go_on_with(&mut self, key: CallKey, now: Moment) -> Option<Call> {
        let course = self.courses.get(&key)?;
        let reason = if let Plan::Split(_) = course.plan { SealReason::Split } else { SealReason::Retry };
        let asked = course.asked().to_vec();
        let unwanted: HashSet<_> = asked.into_iter().filter(|id| !self.admissible(id, now)).collect();
        if unwanted.is_empty() {
            return self.call(key, reason, now);
        }
        self.courses.get_mut(&key)?.retain(|id| !unwanted.contains(id));
        // What is asked next may be other ids, and they must pass the guards as well.
        self.make_ready(key, now);
        None
    }

    /// Turns what a course asks next into a call.
    fn call(&mut self, key: CallKey, reason: SealReason, now: Moment) -> Option<Call> {
        let course = self.courses.get(&key)?;
        let batch = Batch::new(Arc::clone(&course.group), course.asked().to_vec()).ok()?;
        let (attempt, waited) = (course.failures.count(), now.saturating_sub(course.since));
        for id in batch.ids() {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.phase = Phase::Called;
                flight.history.calls += 1;
                for waiter in &flight.waiters {
                    if let Some(entry) = self.ledger.get_mut(waiter.job) {
                        entry.begun = true;
                    }
                }
            }
        }
        self.calls_under_way += 1;
        Some(Call { key, batch, kind: CallKind::Release { attempt, reason }, waited })
    }

    /// A course's next question is due.
    pub(super) fn make_ready(&mut self, key: CallKey, now: Moment) {
        let Some(course) = self.courses.get(&key) else { return };
        match course.reading {
            Reading::Due { .. } => drop(self.read_backs.insert((course.since, key))),
            _ => self.queue_up(key, course.order.turn, now),
        }
    }

    /// Puts a course in line as if it came only now.
    pub(super) fn queue_up_again(&mut self, key: CallKey, now: Moment) {
        let Some(course) = self.courses.get(&key) else { return };
        match course.reading {
            Reading::Due { .. } => self.make_ready(key, now),
            _ => self.queue_up(key, now + course.order.delay, now),
        }
    }

    /// A course with nothing to ask is over, and so is one that nobody wants.
    fn queue_up(&mut self, key: CallKey, turn: Moment, now: Moment) {
        self.end_if_unwanted(key, now);
        let Some(course) = self.courses.get(&key) else { return };
        if course.asked().is_empty() {
            self.courses.remove(&key);
        } else {
            self.backlog.push_course(key, course.since, turn);
        }
    }

    /// Begins the course of ids that were taken out of a pool, or never were in one.
    pub(super) fn begin_course(&mut self, group: &Arc<GroupKey>, ids: Vec<InstanceId>, since: Moment) -> CallKey {
        self.next_course += 1;
        let key = CallKey(self.next_course);
        let mut order: Option<Order> = None;
        for id in &ids {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.course = Some(key);
                order = Some(order.map_or(flight.order, |order| order.or_sooner(flight.order)));
            }
        }
        let order = order.unwrap_or(Order { turn: since, delay: Duration::ZERO });
        self.courses.insert(key, Course::new(Arc::clone(group), ids, since, order));
        key
    }
}
