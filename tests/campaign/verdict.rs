//! The end of a campaign: what `bulkrelease verify` says, and whether each repeat has its reason.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::campaign::field::{Field, Past};
use crate::campaign::orders::{LOCKED, Sent};
use crate::campaign::trouble::Trouble;
use crate::support::program::Program;

/// A broker or a worker that comes back takes this long to notice all that happened.
const NOTICED_AFTER: SignedDuration = SignedDuration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    summary: serde_json::Value,
    findings: Vec<serde_json::Value>,
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Job {
    job_id: String,
    sent: usize,
    results: Vec<JobResult>,
    instances: Vec<Instance>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    instance_id: String,
    ended: String,
    outcomes: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct JobResult {
    worker: String,
    received_at: Timestamp,
    finished_at: Timestamp,
}

/// What came of a campaign.
pub struct Verdict {
    pub summary: serde_json::Value,
    pub findings: Vec<serde_json::Value>,
    /// Ids given up on that could have been released, by what their results say, with one of each.
    pub given_up: BTreeMap<String, (usize, String)>,
    /// Results that came again because their producer sent the job again.
    pub sent_again: usize,
    /// Because of a trouble while the job was with its first worker.
    pub struck: usize,
    /// For no reason that is known.
    pub unexplained: Vec<String>,
}

/// Asks `bulkrelease verify`, which watched from the beginning.
pub async fn verify(field: &Field, watch: &str, sent: &[Sent], twice: &HashSet<String>) -> Verdict {
    let jobs = NamedTempFile::new().expect("a file");
    let lines: String = sent.iter().map(|sent| sent.line() + "\n").collect();
    std::fs::write(jobs.path(), lines).expect("a file");
    let (jobs, sandbox) = (jobs.path().display().to_string(), format!("http://{}", field.sandbox.address()));
    let arguments = ["verify", "report", watch, "--jobs", &jobs, "--sandbox", &sandbox, "--json"];
    let ended = Program::start(&arguments, field.settings[0].variables(), "").ended(PATIENCE).await;
    let report: Report = serde_json::from_str(&ended.output).unwrap_or_else(|_| panic!("{}", ended.errors));
    assert_eq!(ended.code == Some(0), report.findings.is_empty(), "{}", ended.errors);
    let mut verdict = Verdict {
        summary: report.summary,
        findings: report.findings,
        given_up: BTreeMap::new(),
        sent_again: 0,
        struck: 0,
        unexplained: Vec::new(),
    };
    for mut job in report.jobs {
        for instance in job.instances {
            if instance.ended == "DeadLetter" && !instance.instance_id.starts_with(LOCKED) {
                let example = || (0, format!("{} of {}", instance.instance_id, job.job_id));
                verdict.given_up.entry(instance.outcomes.join("+")).or_insert_with(example).0 += 1;
            }
        }
        job.results.sort_by_key(|result| result.finished_at);
        for pair in job.results.windows(2).skip(job.sent - 1) {
            if twice.contains(&job.job_id) {
                verdict.sent_again += 1;
            } else if field.past.iter().any(|past| explains(past, &pair[0], &pair[1])) {
                verdict.struck += 1;
            } else {
                let [first, second] = [&pair[0], &pair[1]]
                    .map(|result| format!("{} from {} to {}", result.worker, result.received_at, result.finished_at));
                verdict.unexplained.push(format!("{}: {first}, then {second}", job.job_id));
            }
        }
    }
    verdict
}

/// A trouble that a worker had between receiving a job and the end of the repeat: a call was in flight, or what the
/// worker had published was confirmed and not acked yet.
fn explains(past: &Past, first: &JobResult, second: &JobResult) -> bool {
    // Troubles of the API cost calls, and never a delivery.
    let of_the_api =
        matches!(past.trouble, Trouble::CutApi | Trouble::HalfCloseApi | Trouble::SilentApi(_) | Trouble::SlowApi(_));
    let its_own = past.trouble.worker().is_none_or(|worker| first.worker == format!("worker-{worker}"));
    let received = first.received_at.min(second.received_at);
    let noticed = past.until.saturating_add(NOTICED_AFTER).unwrap_or(past.until);
    !of_the_api && its_own && past.from <= second.finished_at && noticed >= received
}
