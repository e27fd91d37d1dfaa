//! A result: all outcomes of a job, in one message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job_id::derived_id;
use super::{InstanceId, InstanceOutcome, JobId, MAX_BODY_BYTES, Outcome};

/// AMQP's `type` of a result.
pub const KIND: &str = "release.result.v1";

/// What became of a job as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// Every id is released or was already gone.
    Released,
    /// Some are.
    Partial,
    /// None is.
    Failed,
    /// Nothing was called, on request.
    DryRun,
    /// Nothing was called: `NotAfter` had passed.
    Expired,
    /// The job can't be done as it stands.
    Invalid,
}

impl Status {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "Released",
            Self::Partial => "Partial",
            Self::Failed => "Failed",
            Self::DryRun => "DryRun",
            Self::Expired => "Expired",
            Self::Invalid => "Invalid",
        }
    }
}

/// How many ids ended in each outcome. The fields are the outcomes' own words.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    pub released: u32,
    pub already_gone: u32,
    pub refused: u32,
    pub rejected: u32,
    pub unresolved: u32,
    pub expired: u32,
    pub dry_run: u32,
}

impl Counts {
    /// Counts outcomes.
    pub fn of(outcomes: impl Iterator<Item = Outcome>) -> Self {
        let mut counts = Self::default();
        for outcome in outcomes {
            *counts.slot(outcome) += 1;
        }
        counts
    }

    fn slot(&mut self, outcome: Outcome) -> &mut u32 {
        match outcome {
            Outcome::Released => &mut self.released,
            Outcome::AlreadyGone => &mut self.already_gone,
            Outcome::Refused => &mut self.refused,
            Outcome::Rejected => &mut self.rejected,
            Outcome::Unresolved => &mut self.unresolved,
            Outcome::Expired => &mut self.expired,
            Outcome::DryRun => &mut self.dry_run,
        }
    }

    /// Each outcome with its count.
    pub fn listed(mut self) -> [(Outcome, u32); Outcome::ALL.len()] {
        Outcome::ALL.map(|outcome| (outcome, *self.slot(outcome)))
    }

    /// The status of a job with these outcomes that was not refused as a whole.
    pub fn status(&self, dry_run: bool) -> Status {
        let done = self.released + self.already_gone;
        let undone = self.refused + self.rejected + self.unresolved + self.expired + self.dry_run;
        match (done, undone) {
            _ if dry_run => Status::DryRun,
            (_, 0) => Status::Released,
            (1.., _) => Status::Partial,
            _ if self.expired == undone => Status::Expired,
            _ => Status::Failed,
        }
    }
}

/// One id in a result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceResult {
    pub instance_id: InstanceId,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// `true` where the id is gone and one of our calls may have done it, but none said so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub presumed: bool,
}

impl InstanceResult {
    pub fn new(instance_id: InstanceId, outcome: &InstanceOutcome) -> Self {
        Self {
            instance_id,
            outcome: outcome.outcome,
            code: outcome.evidence.code.clone(),
            message: outcome.evidence.brief(),
            request_id: outcome.evidence.request_id.clone(),
            presumed: outcome.presumed,
        }
    }
}

/// A result as it stands on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobResult {
    /// The same for every repeat of this result, other for a replay: drop what you have seen.
    pub result_id: Uuid,
    pub job_id: JobId,
    pub status: Status,
    pub counts: Counts,
    pub instances: Vec<InstanceResult>,
    /// The most calls that any one id of the job took part in, added up over the deliveries of its remainders.
    pub attempts: u32,
    pub received_at: Timestamp,
    pub finished_at: Timestamp,
    pub worker: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl JobResult {
    /// The message's body. In the result of a very large job the API's messages and request ids are left out, and codes if
    /// need be, rather than making a message that no broker takes: every id keeps its outcome.
    pub fn into_body(mut self) -> Vec<u8> {
        let body = self.serialised();
        if body.len() <= MAX_BODY_BYTES {
            return body;
        }
        for instance in &mut self.instances {
            (instance.message, instance.request_id) = (None, None);
        }
        let body = self.serialised();
        if body.len() <= MAX_BODY_BYTES {
            return body;
        }
        for instance in &mut self.instances {
            instance.code = None;
        }
        self.serialised()
    }

    fn serialised(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and string maps always serialise")
    }
}

/// The id of a job's result: UUIDv5 of its name, its body and the number of its replay.
pub fn result_id(job: &JobId, body: &[u8], replay: u32) -> Uuid {
    derived_id(&[job.as_str().as_bytes(), body, &replay.to_be_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::MAX_IDS_PER_JOB;

    #[test]
    fn the_status_says_what_became_of_the_job_as_a_whole() {
        use Outcome::*;
        let cases: [(&[Outcome], bool, Status); 9] = [
            (&[Released, AlreadyGone], false, Status::Released),
            (&[Released, Rejected], false, Status::Partial),
            (&[AlreadyGone, Expired], false, Status::Partial),
            (&[Rejected, Unresolved], false, Status::Failed),
            (&[Refused], false, Status::Failed),
            (&[Expired, Expired], false, Status::Expired),
            (&[Expired, Refused], false, Status::Failed),
            (&[DryRun, Refused], true, Status::DryRun),
            (&[Refused], true, Status::DryRun),
        ];
        for (outcomes, dry_run, status) in cases {
            assert_eq!(Counts::of(outcomes.iter().copied()).status(dry_run), status, "{outcomes:?}");
        }
    }

    #[test]
    fn the_result_of_the_largest_job_fits_into_one_message() {
        // The API's codes are cut at 128 characters, of up to six bytes in JSON.
        for (code, kept) in [("c".repeat(100), true), ("\u{1}".repeat(128), false)] {
            let instance = |number: usize| InstanceResult {
                instance_id: InstanceId::new(format!("{number:0>128}")).unwrap(),
                outcome: Outcome::Unresolved,
                code: Some(code.clone()),
                message: Some("m".repeat(1000)),
                request_id: Some("r".repeat(64)),
                presumed: false,
            };
            let result = JobResult {
                result_id: Uuid::nil(),
                job_id: JobId::new("large").unwrap(),
                status: Status::Failed,
                counts: Counts::default(),
                instances: (0..MAX_IDS_PER_JOB).map(instance).collect(),
                attempts: 1,
                received_at: Timestamp::UNIX_EPOCH,
                finished_at: Timestamp::UNIX_EPOCH,
                worker: "w".to_owned(),
                labels: BTreeMap::new(),
            };
            let body = result.into_body();
            assert!(body.len() <= MAX_BODY_BYTES, "{} bytes", body.len());
            let read: JobResult = serde_json::from_slice(&body).unwrap();
            assert!(read.instances.len() == MAX_IDS_PER_JOB && read.instances[7].code.is_some() == kept);
        }
    }

    #[test]
    fn a_repeat_has_the_same_result_id_and_a_replay_another() {
        let job = JobId::new("a").unwrap();
        assert_eq!(result_id(&job, b"x", 0), result_id(&job, b"x", 0));
        assert_ne!(result_id(&job, b"x", 0), result_id(&job, b"x", 1));
        assert_ne!(result_id(&job, b"x", 0), result_id(&job, b"y", 0));
        assert_ne!(result_id(&JobId::new("ab").unwrap(), b"c", 0), result_id(&job, b"bc", 0));
    }
}
