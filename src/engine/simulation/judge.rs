//! What an outcome, and a postponed job, may say, given what the world knows of the ids.
//!
//! One wrong outcome is let pass, the gap that `read_back` speaks of: another account's id counts as released if it was
//! called together with more than a few ids that are gone, none of the batch is listed, and the API named "gone" first. The other half of
//! that gap, a listing that is empty by mistake while one id of the batch is gone, is not played here: who sets `read_back`
//! vouches for the listing.

use super::run::{Admitted, Run};
use super::world::{is_foreign, is_unlisted};
use crate::contract::{Doubt, InstanceId, InstanceOutcome, Open, Outcome, Place};
use crate::engine::{JobKey, PostponedJob};

impl Run {
    pub(super) fn check_outcome(&self, job: &Admitted, open: &Open, id: &InstanceId, outcome: &InstanceOutcome) {
        let shared = self.notes.is_shared(id);
        // A call of ours took it after this delivery came and before it gave up waiting.
        let ours = self
            .api
            .released
            .get(id)
            .is_some_and(|at| !shared && job.at < *at && job.expires_at.is_none_or(|expires| *at < expires));
        let suspect = job.redelivered || open.doubt.is_suspect();
        let code = outcome.evidence.code.as_deref();
        match outcome.outcome {
            Outcome::Released if code == Some("NotListed") => {
                assert!(outcome.presumed && self.engine.settings.read_back, "{id} was read back: {outcome:?}");
                assert!(self.notes.ever_unknown(id), "{id} is judged by its absence, and no call was unknown");
                let gap = is_foreign(id) && self.notes.beside_gone(id, &job.group);
                assert!(self.api.is_gone(id) || gap, "{id} is presumed to be released and is there");
            }
            Outcome::Released | Outcome::AlreadyGone => {
                assert!(self.api.is_gone(id), "{id} is called {outcome:?} and is there");
            }
            Outcome::Rejected => {
                // Two halves refused with one unlisted code are taken for a refused request: judged, not known.
                let judged = code == Some("Strange");
                let unsupported = job.group.product_code.as_str() == "unsupported";
                let culprit = is_foreign(id) || is_unlisted(id) || judged || unsupported;
                assert!(culprit || !self.api.is_gone(id), "{id} is called {outcome:?} and is gone");
            }
            Outcome::Refused => {
                assert!(id.as_str().starts_with('p'), "{id} was refused");
                assert!(job.dry_run || !suspect, "{id} was refused though an earlier call may have released it");
            }
            Outcome::Expired => {
                assert!(job.expires_at.is_some_and(|at| at <= self.now), "{id} expired early");
                assert!(!ours, "{id} expired though a call of ours released it");
                assert!(!suspect, "{id} expired though an earlier call may have released it");
            }
            Outcome::DryRun => assert!(job.dry_run),
            Outcome::Unresolved => match code {
                // What a guard stopped, or the API refuses without a word of what an earlier call did.
                Some("Protected" | "NotAfter") => assert!(suspect || outcome.suspect, "{id}: {outcome:?}"),
                Some("Strange" | "ProductNotSupported") if outcome.suspect => {}
                _ => self.check_given_up(job, open, id, outcome),
            },
        }
        assert_eq!(
            job.dry_run,
            matches!(outcome.outcome, Outcome::DryRun) || (job.dry_run && outcome.outcome == Outcome::Refused)
        );
    }

    /// Who is given up on has been tried as often, or as long, as the settings say.
    fn check_given_up(&self, job: &Admitted, open: &Open, id: &InstanceId, outcome: &InstanceOutcome) {
        let settings = &self.engine.settings;
        let judged_since = usize::from(job.unjudged.contains(id));
        let attempts = open.attempts as usize + self.notes.strikes(id, &job.group, job.at) + judged_since;
        let age = open.age.unwrap_or_default() + (self.now - job.at);
        let often = attempts >= settings.max_attempts as usize;
        assert!(often || age >= settings.max_age, "{id} after {attempts} attempts in {age:?}: {outcome:?}");
    }

    /// What a postponed job carries: every id, what was settled as it was, and of the others no less than before.
    pub(super) fn check_postponed(&self, job: &Admitted, postponed: &PostponedJob) {
        assert!(postponed.places.iter().map(|(id, _)| id).eq(job.places.iter().map(|(id, _)| id)), "ids are lost");
        assert!(!job.dry_run, "nobody waits for a dry run");
        let mut failed = false;
        for ((id, after), (_, before)) in postponed.places.iter().zip(&job.places) {
            match (before, after) {
                (Place::Settled(before), after) => {
                    assert_eq!(Place::Settled(before.clone()), *after, "{id} is open again");
                }
                (Place::Open(before), Place::Settled(outcome)) => self.check_outcome(job, before, id, outcome),
                (Place::Open(before), Place::Open(after)) => {
                    failed |= self.check_open(job, postponed.key, id, before, after);
                }
            }
        }
        assert_eq!(failed, !postponed.parked, "parked means that nothing failed");
    }

    /// What is known of an open id only grows. Whether a call of it failed in this delivery.
    fn check_open(&self, job: &Admitted, key: JobKey, id: &InstanceId, before: &Open, after: &Open) -> bool {
        let settings = &self.engine.settings;
        let unknown = self.notes.unknown_for(id, key);
        assert!(!unknown || after.doubt == Doubt::Unknown, "{id} leaves as {after:?}");
        assert!(after.attempts >= before.attempts && after.doubt >= before.doubt, "{id}: {before:?} became {after:?}");
        if after.attempts == before.attempts {
            assert_eq!(before.age, after.age, "{id} has aged though nothing failed");
            assert!(!self.notes.tried_for(id, key), "{id} was in a call in vain, and nobody counts it");
        } else {
            let most = self.now - job.first_at - job.parked;
            assert!(after.age.is_some_and(|age| age <= most), "{id}: {after:?} in {most:?} that count");
            assert!(before.age <= after.age, "{id} grows younger: {before:?}, {after:?}");
            assert!(after.attempts < settings.max_attempts, "{id} goes on after {} attempts", after.attempts);
        }
        after.attempts > before.attempts
    }
}
