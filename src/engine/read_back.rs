//! Suspects read back: before a batch of unknown fate is called again, or searched for the ids that are gone, the account
//! is asked which of its suspects it still lists. A query tells of a hundred ids what calls would tell of one each.
//!
//! That an id is not listed proves nothing: it may never have been this account's, and a listing may be empty for reasons
//! of its own. So the suspects that are not listed are called once more: a few of them one by one, so that each has a verdict
//! of its own; more of them as a batch of their own, and only if the API calls that batch "gone" do both together make them
//! released. There one gap stays: the API says "gone" of the batch, not of each id. An id that is another account's, among
//! ids that are gone, is taken for released where the API names "gone" first; so are ids that are there, if the account by
//! mistake does not list them and one of the batch is gone. Who sets `read_back` vouches for the listing. (A query before
//! each group's first release would close the gap, at a query for every batch to find out what almost no batch needs.)
//!
//! Only ids that a call of unknown fate may have released are read back. A query that fails changes nothing.

use std::cmp::Reverse;
use std::collections::HashSet;
use std::sync::Arc;

use super::course::{CallKey, Course, Plan, Reading};
use super::split::Guilt;
use super::{Call, CallKind, Engine, Moment};
use crate::contract::{Batch, Doubt, Evidence, InstanceId, InstanceOutcome, Outcome, ReadBack, Refusal, Verdict};

/// Queries for one batch, after which its suspects are found out by calls.
const TRIES: u32 = 3;

/// So many suspects that are not listed are called one by one.
pub(super) const FEW: usize = 8;

impl Engine {
    /// Whether suspects are read back at all.
    pub fn reads_back(&self) -> bool {
        self.settings.read_back
    }

    /// Whether a permit for a query would be spent now.
    pub fn read_back_ready(&self) -> bool {
        !self.read_backs.is_empty()
    }

    /// A permit for a query is in hand: chooses the suspects to ask about. `None` if nobody wants to know any more.
    pub fn seal_read_back(&mut self, now: Moment) -> Option<Call> {
        while let Some((since, key, guilt, tries)) = self.next_reading() {
            let suspects = self.courses.get(&key).map(|course| self.suspects(course)).unwrap_or_default();
            let Some(course) = self.courses.get_mut(&key) else { continue };
            match Batch::new(Arc::clone(&course.group), suspects) {
                Ok(batch) => {
                    course.reading = Reading::Asked { suspects: batch.ids().to_vec(), guilt, tries };
                    self.calls_under_way += 1;
                    return Some(Call { key, batch, kind: CallKind::ReadBack, waited: now.saturating_sub(since) });
                }
                Err(_) => self.go_on_unread(key, guilt, now),
            }
        }
        None
    }

    /// No query can be made for now: the course whose turn it is goes on without.
    pub fn forgo_read_back(&mut self, now: Moment) {
        if let Some((_, key, guilt, _)) = self.next_reading() {
            self.go_on_unread(key, guilt, now);
        }
    }

    /// Takes the course out that waits for its reading longest.
    fn next_reading(&mut self) -> Option<(Moment, CallKey, Option<Guilt>, u32)> {
        while let Some((since, key)) = self.read_backs.pop_first() {
            let Some(course) = self.courses.get_mut(&key) else { continue };
            if let Reading::Due { guilt, tries } = std::mem::replace(&mut course.reading, Reading::Needless) {
                return Some((since, key, guilt, tries));
            }
        }
        None
    }

    /// A query has its answer.
    pub fn read_back(&mut self, key: CallKey, answer: &ReadBack, now: Moment) {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
        let Some(course) = self.courses.get_mut(&key) else { return };
        let reading = std::mem::replace(&mut course.reading, Reading::Needless);
        let Reading::Asked { suspects, guilt, tries } = reading else { return };
        let listed = match answer {
            ReadBack::Listed { ids, .. } => ids,
            ReadBack::Failed(Verdict::Throttled(_) | Verdict::Transient(_)) if tries + 1 < TRIES => {
                course.reading = Reading::Due { guilt, tries: tries + 1 };
                let delay = (self.delays)(tries + 1);
                return self.retries.push(Reverse((now + delay, key)));
            }
            ReadBack::Failed(_) => {
                course.reading = Reading::Useless;
                return self.go_on_unread(key, guilt, now);
            }
        };
        let of_one_call = guilt.is_none() && course.asked().iter().any(|id| listed.contains(id));
        if self.settings.atomic && of_one_call {
            // The call of unknown fate has left one of its ids there, so it has left them all: who is missing was missing before.
            course.reading = Reading::Useless;
            return self.go_on_unread(key, guilt, now);
        }
        let unlisted: Vec<_> = suspects.into_iter().filter(|id| !listed.contains(id)).collect();
        if unlisted.is_empty() {
            course.reading = Reading::Useless;
            return self.go_on_unread(key, guilt, now);
        }
        // What was refused was another batch than those that it becomes.
        let (group, since, failures) = (Arc::clone(&course.group), course.since, course.failures);
        let leaving: HashSet<_> = unlisted.iter().collect();
        course.retain(|id| !leaving.contains(id));
        self.make_ready(key, now);
        let together = if unlisted.len() > FEW { unlisted.len() } else { 1 };
        for ids in unlisted.chunks(together) {
            let confirming = self.begin_course(&group, ids.to_vec(), since);
            if let Some(course) = self.courses.get_mut(&confirming) {
                (course.failures, course.reading) = (failures, Reading::Unlisted);
            }
            self.make_ready(confirming, now);
        }
    }

    /// Nothing was found out: the course takes the way that it has without a query.
    fn go_on_unread(&mut self, key: CallKey, guilt: Option<Guilt>, now: Moment) {
        match (guilt, self.courses.get(&key).map(|course| course.asked().to_vec())) {
            (Some(guilt), Some(asked)) => self.judge(key, asked, guilt, now),
            _ => self.make_ready(key, now),
        }
    }

    /// Whether a refusal is to be judged only after the suspects among the refused are read back.
    pub(super) fn wants_reading(&self, key: CallKey, asked: &[InstanceId], guilt: &Guilt) -> bool {
        let unread = self.courses.get(&key).is_some_and(|course| matches!(course.reading, Reading::Needless));
        self.settings.read_back && unread && guilt.refusal == Refusal::Gone && guilt.unknown && asked.len() > 1
    }

    /// Whether a refusal says that all ids of a batch are gone. Of a few each can be asked.
    pub(super) fn confirms(&self, key: CallKey, asked: &[InstanceId], refusal: Refusal) -> bool {
        let unlisted = self
            .courses
            .get(&key)
            .is_some_and(|course| matches!((&course.plan, &course.reading), (Plan::Whole(_), Reading::Unlisted)));
        unlisted && refusal == Refusal::Gone && asked.len() > FEW
    }

    pub(super) fn confirmed(&mut self, key: CallKey, asked: &[InstanceId], call: &Evidence, now: Moment) {
        self.courses.remove(&key);
        let evidence = gone_and_not_listed(call);
        for id in asked {
            self.end(id, now, |_| InstanceOutcome {
                presumed: true,
                ..InstanceOutcome::new(Outcome::Released, false, &evidence)
            });
        }
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

fn gone_and_not_listed(call: &Evidence) -> Arc<Evidence> {
    let words = format!(
        "a call of unknown fate may have released it: the account lists no id of its batch any more, and called again the \
         API refuses the batch with {}",
        call.code.as_deref().unwrap_or("no code")
    );
    let class = call.class;
    Arc::new(Evidence { class, request_id: call.request_id.clone(), ..Evidence::words("NotListed", words) })
}
