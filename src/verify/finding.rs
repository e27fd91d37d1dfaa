//! What is wrong, one kind each: something is missing, or somebody did what nobody asked for.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::contract::{AccountName, InstanceId, JobId, Outcome, Status};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "Kind", rename_all_fields = "PascalCase")]
pub enum Finding {
    /// A job without a final answer. The broker's own delivery limit, for one, leaves a dead letter and no result.
    Unanswered { job_id: JobId, ids: usize, in_dead_letters: usize },
    /// A job that was sent more often than it was answered.
    TooFewResults { job_id: JobId, sent: u32, results: usize },
    /// A body that is no job, and fewer whole dead letters keep it than it was sent.
    Vanished { message: String, sent: u32, kept: u32 },
    /// A dead letter waits nowhere any more, and no replay of it was answered: it is on its way, or somebody took or purged it.
    ReplayUnanswered { job_id: JobId, ids: usize, replay: u32 },
    /// A result under the id of another job's.
    OtherName { job_id: JobId, named: JobId },
    /// A result that lists other ids than its job, or than the dead letter that was replayed.
    OtherIds { job_id: JobId, replay: u32 },
    /// A result whose counts are not those of its outcomes.
    Miscounted { job_id: JobId, result_id: Uuid },
    /// A result whose status is not what its outcomes make.
    OtherStatus { job_id: JobId, replay: u32, status: Status, right: Status },
    /// An outcome that the job forbids, and the first of the ids that have it.
    AgainstItsWish { job_id: JobId, outcome: Outcome, wish: String, ids: usize, instance_id: InstanceId },
    /// An id was given up on and no dead letter carries it, so nobody can send it again.
    NotInDeadLetters { job_id: JobId, instance_id: InstanceId, outcomes: Vec<Outcome> },
    /// A result says that an id is gone, and the API says that it isn't.
    NotReleased { instance_id: InstanceId, outcomes: Vec<Outcome> },
    /// A call released an id and no result says so, or that it may be.
    Unreported { instance_id: InstanceId, call: u64, outcomes: Vec<Outcome> },
    /// A call released an id that no job asked for.
    ReleasedUnasked { instance_id: InstanceId, call: u64 },
    /// A call named ids that no job asked for.
    CalledUnasked { call: u64, instance_ids: Vec<InstanceId> },
    /// A call named ids that were asked for with another product, region or the like.
    MixedGroups { call: u64, instance_ids: Vec<InstanceId> },
    /// A call named ids that were asked for in several accounts.
    MixedAccounts { call: u64, instance_ids: Vec<InstanceId> },
    /// Calls for one account were made by several of the API's, which own different instances.
    OtherCaller { account: AccountName, caller: String, first_caller: String, instance_ids: Vec<InstanceId> },
    /// A call above the API's limit.
    TooLarge { call: u64, ids: usize },
    /// A call that named an id twice.
    NamedTwice { call: u64 },
}

impl Finding {
    /// Whether this says that something is lost, rather than that something was done that shouldn't have been.
    pub fn is_missing(&self) -> bool {
        matches!(
            self,
            Self::Unanswered { .. }
                | Self::TooFewResults { .. }
                | Self::Vanished { .. }
                | Self::ReplayUnanswered { .. }
                | Self::NotInDeadLetters { .. }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { job_id, ids, in_dead_letters } => {
                write!(f, "job {job_id} has no result ({in_dead_letters} of its {ids} ids are in dead letters)")
            }
            Self::TooFewResults { job_id, sent, results } => {
                write!(f, "job {job_id} was sent {sent} times and has {results} results")
            }
            Self::Vanished { message, sent, kept } => {
                write!(f, "the message {message} is no job and was sent {sent} times, and {kept} dead letters keep it")
            }
            Self::ReplayUnanswered { job_id, ids, replay } => write!(
                f,
                "a dead letter of job {job_id} with {ids} ids is gone from its queue and the archive, and its replay {replay} \
                 has no result"
            ),
            Self::OtherName { job_id, named } => write!(f, "a result of job {job_id} says that it is of job {named}"),
            Self::OtherIds { job_id, replay: 0 } => write!(f, "a result of job {job_id} lists other ids than the job"),
            Self::OtherIds { job_id, replay } => {
                write!(f, "the result of replay {replay} of job {job_id} lists other ids than the dead letter")
            }
            Self::Miscounted { job_id, result_id } => {
                write!(f, "a result of job {job_id} ({result_id}) counts other outcomes than it lists")
            }
            Self::OtherStatus { job_id, replay, status, right } => {
                let (status, right) = (status.as_str(), right.as_str());
                write!(f, "a result of job {job_id}")?;
                if *replay > 0 {
                    write!(f, " (replay {replay})")?;
                }
                write!(f, " says {status}, and its outcomes make it {right}")
            }
            Self::AgainstItsWish { job_id, outcome, wish, ids, instance_id } => {
                write!(f, "job {job_id} {wish}, and {ids} of its ids are {}, {instance_id} first", outcome.as_str())
            }
            Self::NotInDeadLetters { job_id, instance_id, outcomes } => {
                write!(f, "{instance_id} of job {job_id} is {}, and in no dead letter", words(outcomes))
            }
            Self::NotReleased { instance_id, outcomes } => {
                write!(f, "{instance_id} is {} by its results, and still there by the ledger", words(outcomes))
            }
            Self::Unreported { instance_id, call, outcomes } => {
                write!(f, "{instance_id} was released by call {call}, and by its results is {}", words(outcomes))
            }
            Self::ReleasedUnasked { instance_id, call } => {
                write!(f, "{instance_id} was released by call {call}, and no job asked for it")
            }
            Self::CalledUnasked { call, instance_ids } => {
                write!(f, "call {call} named {} ids that no job asked for, {}", instance_ids.len(), first(instance_ids))
            }
            Self::MixedGroups { call, instance_ids } => {
                write!(f, "call {call} named {} ids of another group, {}", instance_ids.len(), first(instance_ids))
            }
            Self::MixedAccounts { call, instance_ids } => {
                write!(f, "call {call} named {} ids of several accounts, {}", instance_ids.len(), first(instance_ids))
            }
            Self::OtherCaller { account, caller, first_caller, instance_ids } => write!(
                f,
                "{caller} called for account {account} with {} ids, {}, and otherwise {first_caller} did",
                instance_ids.len(),
                first(instance_ids)
            ),
            Self::TooLarge { call, ids } => write!(f, "call {call} named {ids} ids"),
            Self::NamedTwice { call } => write!(f, "call {call} named an id twice"),
        }
    }
}

fn words(outcomes: &[Outcome]) -> String {
    match outcomes {
        [] => "not mentioned".to_owned(),
        _ => outcomes.iter().map(|outcome| outcome.as_str()).collect::<Vec<_>>().join(" and "),
    }
}

fn first(ids: &[InstanceId]) -> String {
    ids.first().map_or_else(String::new, |id| format!("{id} first"))
}
