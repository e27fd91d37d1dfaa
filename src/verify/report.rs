//! What the books say: where every job and id ended, what is wrong, and the sums.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::finding::Finding;
use crate::contract::{InstanceId, JobId, Outcome};

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    pub summary: Summary,
    /// What is wrong; empty where nothing is.
    pub findings: Vec<Finding>,
    pub jobs: Vec<JobReport>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Summary {
    pub jobs: u64,
    pub ids: u64,
    /// How many ids of jobs ended where.
    pub ended: BTreeMap<Ended, u64>,
    pub results: u64,
    /// Results that came again with the same ResultId: consumers drop them.
    pub repeats: u64,
    /// Results of replays of these jobs.
    pub replays: u64,
    /// Results under the name of one of these jobs for another body: another job of the name.
    pub namesakes: u64,
    /// Results and dead letters of jobs that are not in the books.
    pub others: u64,
    pub dead_letters: u64,
    /// By the ledger, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released: Option<u64>,
    pub missing: u64,
    pub wrong: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobReport {
    pub job_id: JobId,
    pub result_id: Uuid,
    /// How often the very same message was sent.
    pub sent: u32,
    /// The first, and its repeats.
    pub results: Vec<ResultReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<ResultReport>,
    pub instances: Vec<InstanceReport>,
}

/// Which worker answered, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ResultReport {
    pub result_id: Uuid,
    pub worker: String,
    pub received_at: Timestamp,
    pub finished_at: Timestamp,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct InstanceReport {
    pub instance_id: InstanceId,
    pub ended: Ended,
    /// Every outcome that a result gave it.
    pub outcomes: Vec<Outcome>,
    pub in_dead_letters: bool,
    /// The call that released it, by the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub released_by: Option<u64>,
}

/// Where an id ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Ended {
    Released,
    AlreadyGone,
    /// Given up on, and kept for a replay.
    DeadLetter,
    Refused,
    Expired,
    DryRun,
    /// No result and no dead letter has it.
    Missing,
}

impl Ended {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::AlreadyGone => "already gone",
            Self::DeadLetter => "in dead letters",
            Self::Refused => "refused on purpose",
            Self::Expired => "expired",
            Self::DryRun => "dry run",
            Self::Missing => "missing",
        }
    }
}
