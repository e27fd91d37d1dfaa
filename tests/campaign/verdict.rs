//! The end of a campaign: what `bulkrelease verify` says, what became dead letters of what, and whether each result and
//! each call that there was twice has its reason.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bulkrelease::sandbox::{Action, CallRecord, Ledger};
use jiff::Timestamp;
use serde::Deserialize;
use tempfile::NamedTempFile;

use crate::campaign::field::Field;
use crate::campaign::orders::Sent;
use crate::campaign::witness::Witness;
use crate::support::program::{Program, run};

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
    results: Vec<serde_json::Value>,
}

/// What came of a campaign.
pub struct Verdict {
    pub summary: serde_json::Value,
    pub findings: Vec<serde_json::Value>,
    pub repeats: Repeats,
}

/// What came twice, counted by its reason.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Further results of jobs that their producer sent again.
    pub sent_again: usize,
    /// Further results of jobs that forked.
    pub forked: usize,
    /// Ids called again after a call that the API had not answered with success.
    pub called_after_failure: usize,
    /// Ids called again after a call that had released them, and whose worker never heard so.
    pub called_unheard: usize,
    /// Ids called again after a call that had released them, because their job was sent again or forked.
    pub called_for_a_repeat: usize,
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
    let witness = Witness::of(&field.past);
    let mut repeats = Repeats::default();
    for job in &report.jobs {
        repeats.results(job, &witness, twice);
    }
    repeats.calls(&field.sandbox.ledger(), &witness, sent, twice);
    Verdict { summary: report.summary, findings: report.findings, repeats }
}

/// What `bulkrelease dead list` says.
pub async fn given_up(field: &Field) -> String {
    run(&["dead", "list"], field.settings[0].variables(), "").await.output
}

impl Repeats {
    fn results(&mut self, job: &Job, witness: &Witness, twice: &HashSet<String>) {
        let further = job.results.len().saturating_sub(job.sent);
        if further == 0 {
            return;
        }
        let forks = witness.forks(&job.job_id);
        if twice.contains(&job.job_id) {
            self.sent_again += further;
        } else if further <= forks {
            self.forked += further;
        } else {
            let Job { job_id, results, .. } = job;
            self.unexplained.push(format!("{job_id} forked {forks} times and has the results {results:?}"));
        }
    }

    fn calls(&mut self, ledger: &Ledger, witness: &Witness, sent: &[Sent], twice: &HashSet<String>) {
        let jobs: HashMap<&str, &str> =
            sent.iter().flat_map(|sent| sent.ids.iter().map(|id| (id.as_str(), sent.name.as_str()))).collect();
        let mut last: BTreeMap<&str, &CallRecord> = BTreeMap::new();
        for call in ledger.calls.iter().filter(|call| call.action() == Action::ReleaseInstance) {
            for id in &call.call.instance_ids {
                let Some(before) = last.insert(id, call) else { continue };
                let at = ledger.since.saturating_add(before.at).unwrap_or(Timestamp::MAX);
                let request_id = format!("{:X}", before.request_id.hyphenated());
                let job = jobs.get(id.as_ref()).copied().unwrap_or_default();
                if before.fault.is_some() || before.code.as_deref() != Some("Success") {
                    self.called_after_failure += 1;
                } else if !witness.heard(&request_id) && witness.may_be_unheard(at, before.call.id_count) {
                    self.called_unheard += 1;
                } else if twice.contains(job) || witness.forks(job) > 0 {
                    self.called_for_a_repeat += 1;
                } else {
                    let heard = if witness.heard(&request_id) { "heard" } else { "not heard" };
                    self.unexplained
                        .push(format!("{id} of {job} was called again, and {request_id} of {at} was {heard}"));
                }
            }
        }
    }
}
