//! What an outcome may say, given what the world knows of the id.

use std::collections::HashSet;

use super::run::{Admitted, Run};
use super::world::{is_foreign, is_unlisted};
use crate::contract::{InstanceId, InstanceOutcome, Open, Outcome};

impl Run {
    pub(super) fn check_outcome(&self, job: &Admitted, open: &Open, id: &InstanceId, outcome: &InstanceOutcome) {
        let shared = self.wanted_by.get(id).map_or(0, HashSet::len) > 1;
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
                // The inventory of an account doesn't list what is another's either: that is what the setting says.
                assert!(self.api.is_gone(id) || is_foreign(id), "{id} is presumed to be released and is there");
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
            Outcome::Refused => assert!(id.as_str().starts_with('p'), "{id} was refused"),
            Outcome::Expired => {
                assert!(job.expires_at.is_some_and(|at| at <= self.now), "{id} expired early");
                assert!(!ours, "{id} expired though a call of ours released it");
                assert!(!suspect, "{id} expired though an earlier call may have released it");
            }
            Outcome::DryRun => assert!(job.dry_run),
            Outcome::Unresolved => {}
        }
        assert_eq!(
            job.dry_run,
            matches!(outcome.outcome, Outcome::DryRun) || (job.dry_run && outcome.outcome == Outcome::Refused)
        );
    }
}
