//! The demo's audit: the results that a producer received, held against what the sandbox says it did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use anyhow::bail;

use super::jobs::{GONE, Order};
use crate::contract::{JobResult, MAX_IDS_PER_CALL, Outcome};
use crate::sandbox::Ledger;
use crate::worker::Summary;

pub struct Audit {
    outcomes: BTreeMap<Outcome, usize>,
    jobs: usize,
    calls: u64,
    throttled: u64,
    /// Calls that an all-knowing client would make: full batches of ids that can be released.
    fewest: usize,
    /// Ids a call, on average.
    fill: f64,
    /// Where results and ledger differ.
    disagreements: Vec<String>,
}

impl Audit {
    pub fn new(orders: &[Order], results: &[JobResult], ledger: &Ledger) -> Self {
        let mut disagreements = Vec::new();
        let mut by_job: HashMap<&str, Vec<&JobResult>> = HashMap::new();
        for result in results {
            by_job.entry(result.job_id.as_str()).or_default().push(result);
        }
        let released = ledger.released_ids();
        let (mut outcomes, mut wanted, mut groups) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::<_, usize>::new());
        for order in orders {
            let [result] = by_job.remove(order.job_id.as_str()).unwrap_or_default()[..] else {
                disagreements.push(format!("{} has not exactly one result", order.job_id));
                continue;
            };
            if !result.instances.iter().map(|instance| &instance.instance_id).eq(&order.ids) {
                disagreements.push(format!("{} lists other ids than its job", order.job_id));
            }
            for instance in &result.instances {
                let id = instance.instance_id.as_str();
                *outcomes.entry(instance.outcome).or_default() += 1;
                let gone = released.contains(id) || id.starts_with(GONE);
                let said = match instance.outcome {
                    Outcome::Released | Outcome::AlreadyGone => true,
                    Outcome::Unresolved => gone,
                    Outcome::Refused | Outcome::Rejected | Outcome::Expired | Outcome::DryRun => false,
                };
                if said != gone && instance.outcome != Outcome::DryRun {
                    disagreements
                        .push(format!("{id} is {:?} by the result, gone = {gone} by the ledger", instance.outcome));
                }
                if matches!(instance.outcome, Outcome::Released | Outcome::AlreadyGone | Outcome::Unresolved) {
                    wanted.insert(id);
                    *groups.entry(&order.group).or_default() += 1;
                }
            }
        }
        disagreements.extend(released.difference(&wanted).map(|id| format!("{id} was released and no result says so")));
        if ledger.counts.violations > 0 {
            disagreements.push(format!("{} calls broke the API's own limits", ledger.counts.violations));
        }
        let called: u64 = ledger.times_asked().values().sum();
        Self {
            outcomes,
            jobs: results.len(),
            calls: ledger.counts.calls,
            throttled: ledger.counts.throttled,
            fewest: groups.values().map(|ids| ids.div_ceil(MAX_IDS_PER_CALL)).sum(),
            fill: called as f64 / ledger.counts.calls.max(1) as f64,
            disagreements,
        }
    }

    /// Prints what happened. The worker's own summary is there once it has stopped.
    pub fn show(&self, took: Duration, worker: Option<&Summary>) {
        say!("\n{} jobs answered in {:.1} s; what became of every id:", self.jobs, took.as_secs_f64());
        for (outcome, count) in &self.outcomes {
            say!("  {:<12} {count:>6}", outcome.as_str());
        }
        say!(
            "calls: {} ({:.1} a second); the fewest possible, had every id been known to be good or bad: {}",
            self.calls,
            self.calls as f64 / took.as_secs_f64(),
            self.fewest
        );
        if let Some(worker) = worker {
            let first = worker.calls - worker.retries - worker.splits;
            say!("  {first} first calls, {} retries, {} to find the ids at fault", worker.retries, worker.splits);
        }
        say!("throttled: {}; ids a call on average: {:.1} of {MAX_IDS_PER_CALL}", self.throttled, self.fill);
    }

    /// Whether results and ledger agree on every id.
    pub fn judge(self) -> anyhow::Result<()> {
        if let Some(first) = self.disagreements.first() {
            bail!("results and the sandbox's ledger disagree {} times; first: {first}", self.disagreements.len());
        }
        say!("every result agrees with the sandbox's own ledger");
        Ok(())
    }
}
