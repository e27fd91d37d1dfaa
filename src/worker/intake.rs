//! From a delivery to a job that the engine can take, or to the reply that it can't. Nothing here is ever lost: what is not
//! admitted is answered.

use std::sync::Arc;

use jiff::Timestamp;

use super::reply::{Ending, EndingKind, Held};
use crate::broker::Delivery;
use crate::config::WorkerSettings;
use crate::contract::{AccountName, Evidence, InstanceId, InstanceOutcome, Job, Message, Outcome, header, result_id};
use crate::engine::{Moment, NewJob, Suspects};

/// What becomes of a delivery.
pub enum Intake {
    /// The engine takes it.
    Admitted(Held, NewJob),
    /// It is answered at once.
    Answered(Held, Ending),
    /// Its body is no job.
    Malformed { message: Message, explanation: String },
}

/// Whether an account's calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Calling,
    /// Calls are held, so jobs may be delivered again and again without being to blame.
    Held,
}

/// The bounds that a job must keep.
pub struct Bounds<'a> {
    pub settings: &'a WorkerSettings,
    /// How a job's account stands, if there is one of that name.
    pub accounts: &'a dyn Fn(&AccountName) -> Option<Standing>,
}

impl Bounds<'_> {
    /// Takes a delivery in.
    pub fn take(&self, delivery: Delivery, received_at: Timestamp, now: Moment) -> Intake {
        let Delivery { tag, message, redelivered, earlier_deliveries } = delivery;
        let bytes = message.body.len();
        if bytes > self.settings.max_message_bytes {
            let most = self.settings.max_message_bytes;
            let explanation = format!(
                "the body has {bytes} bytes and worker.max_message_bytes is {most}: split the job into smaller ones"
            );
            return Intake::Malformed { message, explanation };
        }
        let mut job = match Job::parse(&message.body, message.properties.message_id.as_deref()) {
            Ok(job) => job,
            Err(error) => return Intake::Malformed { message, explanation: error.to_string() },
        };
        let Message { body, properties } = message;
        let replay = properties.headers.get(header::REPLAY).and_then(|text| text.parse().ok()).unwrap_or(0);
        let result_id = result_id(&job.id, &body, replay);
        let ids = std::mem::take(&mut job.ids);
        let suspects = std::mem::take(&mut job.suspects);
        let held = Held { tag, job, properties, result_id, received_at, bytes };

        let standing = (self.accounts)(&held.job.group.account);
        if let Some((code, problem)) = self.invalid(&held.job.group.account, standing, ids.len()) {
            let evidence = Evidence::own(code, problem);
            let outcome = |id: &InstanceId| InstanceOutcome::new(Outcome::Refused, suspects.contains(id), &evidence);
            return answered(held, ids, EndingKind::Invalid, outcome);
        }
        if earlier_deliveries >= self.settings.max_deliveries && standing == Some(Standing::Calling) {
            let problem = format!(
                "the job was delivered {earlier_deliveries} times before (worker.max_deliveries is {}): it may be what stops \
                 the workers, or they were stopped too often to finish it",
                self.settings.max_deliveries
            );
            let evidence = Evidence::own("DeliveredTooOften", problem);
            // Earlier workers may have released any of them.
            return answered(held, ids, EndingKind::DeliveredTooOften, |_| {
                InstanceOutcome::new(Outcome::Unresolved, true, &evidence)
            });
        }
        let expires_at = held.job.not_after.map(|at| {
            let left = at.duration_since(received_at);
            now + std::time::Duration::try_from(left).unwrap_or_default()
        });
        let group = Arc::new(held.job.group.clone());
        let suspects = if redelivered { Suspects::All } else { Suspects::These(suspects) };
        let dry_run = held.job.dry_run;
        Intake::Admitted(held, NewJob { group, ids, suspects, dry_run, expires_at })
    }

    /// Why a job can't be done with these settings.
    fn invalid(&self, account: &AccountName, standing: Option<Standing>, ids: usize) -> Option<(&'static str, String)> {
        let most = self.settings.max_ids_per_job;
        if standing.is_none() {
            let problem = format!(
                "Account: this worker knows no account {account}: set accounts.{account}.endpoint, or correct the job"
            );
            Some(("UnknownAccount", problem))
        } else if ids > most {
            let problem = format!(
                "InstanceIds: {ids} ids are more than worker.max_ids_per_job, {most}: split the job into smaller ones"
            );
            Some(("TooManyIds", problem))
        } else {
            None
        }
    }
}

fn answered(
    held: Held,
    ids: Vec<InstanceId>,
    kind: EndingKind,
    outcome: impl Fn(&InstanceId) -> InstanceOutcome,
) -> Intake {
    let outcomes = ids.into_iter().map(|id| (id.clone(), outcome(&id))).collect();
    Intake::Answered(held, Ending { outcomes, attempts: 0, first_failure: None, kind })
}
