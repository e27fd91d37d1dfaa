//! Suspects read back: before a batch of unknown fate is called again, or searched for the ids that are gone, the account
//! is asked which of its suspects it still lists. A query tells of a hundred ids what calls would tell of one each.
//!
//! Only ids that a call of unknown fate may have released are judged by it: of any other id "not listed" may mean that it
//! never was this account's. A query that fails changes nothing.

use std::collections::HashSet;
use std::sync::Arc;

use super::course::{CallKey, Course, Reading};
use super::split::Guilt;
use super::{Call, CallKind, Engine, Moment};
use crate::contract::{Batch, Doubt, Evidence, InstanceId, InstanceOutcome, Outcome, ReadBack, Refusal};

impl Engine {
    /// Whether a permit for a query would be spent now.
    pub fn read_back_ready(&self) -> bool {
        !self.read_backs.is_empty()
    }

    /// A permit for a query is in hand: chooses the suspects to ask about. `None` if nobody wants to know any more.
    pub fn seal_read_back(&mut self, now: Moment) -> Option<Call> {
        while let Some((since, key)) = self.read_backs.pop_first() {
            let suspects = self.courses.get(&key).map(|course| self.suspects(course)).unwrap_or_default();
            let Some(course) = self.courses.get_mut(&key) else { continue };
            let Reading::Due(guilt) = std::mem::replace(&mut course.reading, Reading::Done) else { continue };
            match Batch::new(Arc::clone(&course.group), suspects) {
                Ok(batch) => {
                    course.reading = Reading::Asked(batch.ids().to_vec(), guilt);
                    self.calls_under_way += 1;
                    return Some(Call { key, batch, kind: CallKind::ReadBack, waited: now.saturating_sub(since) });
                }
                Err(_) => self.go_on_unread(key, guilt, now),
            }
        }
        None
    }

    /// A query has its answer.
    pub fn read_back(&mut self, key: CallKey, answer: &ReadBack, now: Moment) {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
        let Some(course) = self.courses.get_mut(&key) else { return };
        let Reading::Asked(suspects, guilt) = std::mem::replace(&mut course.reading, Reading::Done) else { return };
        let ReadBack::Listed { ids: listed, evidence } = answer else { return self.go_on_unread(key, guilt, now) };
        let gone: HashSet<_> = suspects.into_iter().filter(|id| !listed.contains(id)).collect();
        if gone.is_empty() {
            return self.go_on_unread(key, guilt, now);
        }
        // What was refused was another batch than the one that is left.
        course.retain(|id| !gone.contains(id));
        course.progressed();
        let evidence = not_listed(evidence);
        for id in &gone {
            self.end(id, now, |_| InstanceOutcome {
                presumed: true,
                ..InstanceOutcome::new(Outcome::Released, false, &evidence)
            });
        }
        self.make_ready(key);
    }

    /// Nothing was found out: the course takes the way that it has without a query.
    fn go_on_unread(&mut self, key: CallKey, guilt: Option<Guilt>, now: Moment) {
        match (guilt, self.courses.get(&key).map(|course| course.asked().to_vec())) {
            (Some(guilt), Some(asked)) => self.judge(key, asked, guilt, now),
            _ => self.make_ready(key),
        }
    }

    /// Whether a refusal is to be judged only after the suspects among the refused are read back.
    pub(super) fn wants_reading(&self, key: CallKey, asked: &[InstanceId], guilt: &Guilt) -> bool {
        let first = self.courses.get(&key).is_some_and(|course| matches!(course.reading, Reading::Needless));
        self.settings.read_back && first && guilt.refusal == Refusal::Gone && guilt.unknown && asked.len() > 1
    }

    /// Ids of a course that a call of unknown fate may have released.
    fn suspects(&self, course: &Course) -> Vec<InstanceId> {
        let unknown = |id: &InstanceId| {
            let flight = self.flights.get(id);
            flight.is_some_and(|flight| flight.history.doubt == Doubt::Unknown && !flight.waiters.is_empty())
        };
        course.open().into_iter().filter(unknown).collect()
    }
}

fn not_listed(query: &Evidence) -> Arc<Evidence> {
    let words = "the account does not list it any more, and a call of unknown fate may have released it";
    Arc::new(Evidence { request_id: query.request_id.clone(), ..Evidence::words("NotListed", words) })
}
