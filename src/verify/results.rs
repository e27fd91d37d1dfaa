//! A result as it came, held against itself: what it says of the whole must be what it says of each id.

use std::collections::HashSet;

use uuid::Uuid;

use super::finding::Finding;
use super::report::ResultReport;
use crate::contract::{Counts, InstanceId, JobId, JobResult, Outcome, Status};

/// What is kept of a result.
#[derive(Debug)]
pub(super) struct Arrived {
    pub job: JobId,
    pub result_id: Uuid,
    pub status: Status,
    pub counts: Counts,
    pub outcomes: Vec<(InstanceId, Outcome)>,
    pub report: ResultReport,
}

impl Arrived {
    pub fn new(result: JobResult, findings: &mut Vec<Finding>) -> Self {
        let outcomes: Vec<_> = result.instances.into_iter().map(|each| (each.instance_id, each.outcome)).collect();
        let counts = Counts::of(outcomes.iter().map(|(_, outcome)| *outcome));
        if counts != result.counts {
            findings.push(Finding::Miscounted { job_id: result.job_id.clone(), result_id: result.result_id });
        }
        Self {
            job: result.job_id,
            result_id: result.result_id,
            status: result.status,
            counts,
            outcomes,
            report: ResultReport {
                result_id: result.result_id,
                worker: result.worker,
                received_at: result.received_at,
                finished_at: result.finished_at,
            },
        }
    }

    /// The status that its outcomes make, if it bears another.
    pub fn other_status(&self, dry_run: bool) -> Option<Status> {
        let right = match self.status {
            // Of a job that was refused as a whole nothing was called, this time.
            Status::Invalid if self.counts.refused + self.counts.unresolved == self.ids() => return None,
            _ => self.counts.status(dry_run),
        };
        (right != self.status).then_some(right)
    }

    fn ids(&self) -> u32 {
        u32::try_from(self.outcomes.len()).unwrap_or(u32::MAX)
    }

    /// Whether it lists each of these ids once, and no other.
    pub fn lists<'a>(&self, ids: impl ExactSizeIterator<Item = &'a InstanceId> + Clone) -> bool {
        // Nearly always in the job's own order.
        if self.outcomes.iter().map(|(id, _)| id).eq(ids.clone()) {
            return true;
        }
        let listed: HashSet<_> = self.outcomes.iter().map(|(id, _)| id).collect();
        listed.len() == self.outcomes.len()
            && listed.len() == ids.len()
            && ids.into_iter().all(|id| listed.contains(id))
    }
}
