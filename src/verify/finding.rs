//! What is wrong, one kind each: something is missing, or somebody did what nobody asked for.

use std::fmt;

use serde::Serialize;

use crate::contract::{InstanceId, JobId, Outcome};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "Kind", rename_all_fields = "PascalCase")]
pub enum Finding {
    /// A job without a final answer. The broker's own delivery limit, for one, leaves a dead letter and no result.
    Unanswered { job_id: JobId, ids: usize, in_dead_letters: usize },
    /// A body that is no job, and no dead letter keeps it.
    Vanished { message: String },
    /// A result that lists other ids than its job.
    OtherIds { job_id: JobId },
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
    /// A call above the API's limit.
    TooLarge { call: u64, ids: usize },
    /// A call that named an id twice.
    NamedTwice { call: u64 },
}

impl Finding {
    /// Whether this says that something is lost, rather than that something was done that shouldn't have been.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Unanswered { .. } | Self::Vanished { .. } | Self::NotInDeadLetters { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered { job_id, ids, in_dead_letters } => {
                write!(f, "job {job_id} has no result ({in_dead_letters} of its {ids} ids are in dead letters)")
            }
            Self::Vanished { message } => write!(f, "the message {message} is no job, and no dead letter keeps it"),
            Self::OtherIds { job_id } => write!(f, "a result of job {job_id} lists other ids than the job"),
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
