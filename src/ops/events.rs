//! What happens in a worker: each event is one type, and its `emit` is the only place where its log line and its metrics
//! are made. No line at `info` for a single job or id.

use std::time::Duration;

use crate::api::{Answer, QUERY, RELEASE};
use crate::broker::DeliveryTag;
use crate::config::CallsPerSecond;
use crate::contract::{AccountName, DeadLetter, GroupKey, Outcome, ReadBack, Status, Verdict};
use crate::engine::{Call, CallKind};

use super::Metrics;

/// A delivery is taken in.
pub struct JobReceived<'a> {
    /// By its message; the body may say another name.
    pub job: &'a str,
    pub tag: DeliveryTag,
    pub redelivered: bool,
    /// It is the rest of a job that was postponed.
    pub remainder: bool,
}

impl JobReceived<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { job, tag: DeliveryTag { session, number }, redelivered, remainder } = self;
        tracing::debug!(job, session, number, redelivered, remainder, "delivery taken in");
        let redelivered = if redelivered { "true" } else { "false" };
        let kind = if remainder { "remainder" } else { "job" };
        metrics.jobs_received.with_label_values(&[kind, redelivered]).inc();
    }
}

/// A batch is sealed and its call is on its way.
pub struct BatchSealed<'a> {
    pub call: &'a Call,
}

impl BatchSealed<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Call { batch, kind, waited, .. } = self.call;
        let CallKind::Release { attempt, reason } = kind else { return };
        let account = batch.group().account.as_str();
        tracing::debug!(group = %batch.group(), ids = batch.len(), attempt, reason = reason.as_str(), "batch sealed");
        metrics.batches_sealed.with_label_values(&[account, reason.as_str()]).inc();
        metrics.batch_instances.with_label_values(&[account]).observe(batch.len() as f64);
        metrics.batch_wait_seconds.with_label_values(&[account]).observe(waited.as_secs_f64());
    }
}

/// A call has its verdict.
pub struct CallAnswered<'a> {
    pub group: &'a GroupKey,
    pub ids: usize,
    pub answer: &'a Answer,
    pub took: Duration,
}

impl CallAnswered<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { group, ids, answer, took } = self;
        let class = answer.verdict.class().as_str();
        let evidence = answer.verdict.evidence();
        let (code, request_id) = (evidence.code.as_deref(), evidence.request_id.as_deref());
        match &answer.verdict {
            Verdict::Released(_) => tracing::debug!(%group, ids, request_id, ?took, "batch released"),
            // What these lead to is told elsewhere: an outcome, a pause, an account that is held.
            Verdict::Refused(..) | Verdict::Throttled(_) | Verdict::Account(_) => {
                tracing::debug!(%group, ids, class, code, said = evidence.brief(), request_id, "call refused");
            }
            Verdict::Transient(_) | Verdict::Unknown(_) => {
                tracing::warn!(%group, ids, class, code, said = evidence.brief(), request_id, ?took, "call failed");
            }
        }
        metrics.called(&group.account, RELEASE, class, took);
    }
}

/// A query for suspects has its answer.
pub struct QueryAnswered<'a> {
    pub group: &'a GroupKey,
    pub ids: usize,
    pub answer: &'a ReadBack,
    pub took: Duration,
}

impl QueryAnswered<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { group, ids, answer, took } = self;
        let class = match answer {
            ReadBack::Listed { ids: listed, evidence } => {
                let request_id = evidence.request_id.as_deref();
                tracing::debug!(%group, ids, listed = listed.len(), request_id, ?took, "suspects read back");
                "listed"
            }
            ReadBack::Failed(verdict) => {
                let (class, evidence) = (verdict.class().as_str(), verdict.evidence());
                let (code, request_id) = (evidence.code.as_deref(), evidence.request_id.as_deref());
                let said = evidence.brief();
                match verdict {
                    // What this leads to is told elsewhere: queries rest.
                    Verdict::Account(_) => tracing::debug!(%group, ids, class, code, said, request_id, "query refused"),
                    _ => tracing::warn!(
                        %group, ids, class, code, said, request_id, ?took, "suspects could not be read back"
                    ),
                }
                class
            }
        };
        metrics.called(&group.account, QUERY, class, took);
    }
}

/// Queries of an account are refused, so they rest for a while.
pub struct ReadBackRests<'a> {
    pub account: &'a AccountName,
    pub problem: &'a str,
    pub rest: Duration,
}

impl ReadBackRests<'_> {
    pub fn emit(self) {
        tracing::warn!(
            account = self.account.as_str(),
            problem = self.problem,
            rest = ?self.rest,
            "suspects can't be read back: calls find them out, one by one if need be; grant bss:QueryAvailableInstances, or \
             set read_back = false"
        );
    }
}

/// A job has a result, and it is on its way to the broker.
pub struct JobFinished<'a> {
    pub group: &'a GroupKey,
    pub status: Status,
    pub outcomes: &'a [(Outcome, u32)],
}

impl JobFinished<'_> {
    pub fn emit(self, metrics: &Metrics) {
        metrics.jobs_finished.with_label_values(&[self.status.as_str()]).inc();
        let product = metrics.product(self.group.product_code.as_str());
        let subscription_type = self.group.subscription_type.as_str();
        for (outcome, count) in self.outcomes.iter().filter(|(_, count)| *count > 0) {
            let labels = [product.as_str(), subscription_type, outcome.as_str()];
            metrics.instances.with_label_values(&labels).inc_by(u64::from(*count));
        }
    }
}

/// A job goes back to the broker with open ids, to come again later.
pub struct JobPostponed {
    pub why: Postponement,
}

/// Why a job is postponed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponement {
    /// Its calls failed.
    Failed,
    /// Its turn has not come: too few permits, or its account is held.
    Parked,
    /// The worker stops.
    Stopping,
}

impl JobPostponed {
    pub fn emit(self, metrics: &Metrics) {
        let why = match self.why {
            Postponement::Failed => "failed",
            Postponement::Parked => "parked",
            Postponement::Stopping => "stopping",
        };
        metrics.jobs_postponed.with_label_values(&[why]).inc();
    }
}

/// Jobs were postponed in the last while: the API fails, or an account can't do what is asked of it in time.
pub struct PostponedLately {
    pub failed: u64,
    pub parked: u64,
}

impl PostponedLately {
    pub fn emit(self) {
        tracing::warn!(
            failed = self.failed,
            parked = self.parked,
            "jobs were postponed in the last minute: their calls failed, or their accounts could not serve them within \
             worker.max_hold; they wait in the broker and come back"
        );
    }
}

/// A dead letter is on its way to the broker.
pub struct DeadLettered<'a> {
    pub job: &'a str,
    pub letter: &'a DeadLetter,
}

impl DeadLettered<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { job, letter } = self;
        let (reason, fingerprint) = (letter.reason.as_str(), letter.fingerprint());
        tracing::warn!(job, reason, fingerprint, explanation = letter.explanation, "dead letter");
        metrics.dead_letters.with_label_values(&[reason, &metrics.fingerprint(&fingerprint)]).inc();
    }
}

/// The broker has confirmed everything that a delivery led to: it is done with.
pub struct DeliverySettled {
    pub tag: DeliveryTag,
}

impl DeliverySettled {
    pub fn emit(self) {
        let DeliveryTag { session, number } = self.tag;
        tracing::debug!(session, number, "delivery settled");
    }
}

/// A result is among what the broker has confirmed.
pub struct ResultConfirmed {
    pub since_enqueued: Duration,
}

impl ResultConfirmed {
    pub fn emit(self, metrics: &Metrics) {
        metrics.results_confirmed.inc();
        metrics.critical_seconds.observe(self.since_enqueued.as_secs_f64());
    }
}

/// Deliveries go back to the queue as they came.
pub struct GivenBack {
    pub deliveries: usize,
}

impl GivenBack {
    pub fn emit(self, metrics: &Metrics) {
        metrics.given_back.inc_by(self.deliveries as u64);
    }
}

/// The broker's session is gone, and with it what it held.
pub struct SessionLost<'a> {
    pub session: u64,
    pub reason: &'a str,
    pub jobs: usize,
}

impl SessionLost<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { session, reason, jobs } = self;
        tracing::warn!(session, reason, jobs, "broker session lost: its jobs will be delivered again");
        metrics.sessions_lost.inc();
    }
}

/// Calls of an account can't succeed, or can again.
pub struct AccountChanged<'a> {
    pub account: &'a AccountName,
    pub problem: Option<&'a str>,
}

impl AccountChanged<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let account = self.account.as_str();
        match self.problem {
            Some(problem) => tracing::error!(account, problem, "calls are held, but for one probe at a time"),
            None => tracing::info!(account, "calls go again"),
        }
        metrics.account_held.with_label_values(&[account]).set(i64::from(self.problem.is_some()));
    }
}

/// Calls were throttled in the last while: the quota is smaller than the settings say, or somebody else uses it.
pub struct ThrottledLately<'a> {
    pub account: &'a AccountName,
    pub throttled: u64,
    pub calls: u64,
}

impl ThrottledLately<'_> {
    pub fn emit(self) {
        tracing::warn!(
            account = self.account.as_str(),
            throttled = self.throttled,
            calls = self.calls,
            "calls were throttled in the last minute: lower calls_per_second, or find out who else calls"
        );
    }
}

/// How a lane stands, told now and then.
pub struct LaneStands<'a> {
    pub account: &'a AccountName,
    pub quota: CallsPerSecond,
    pub pending_ids: usize,
    pub pending_jobs: usize,
    pub calls_under_way: usize,
    pub oldest: Duration,
}

impl LaneStands<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let account = &[self.account.as_str()];
        let rate = match self.quota {
            CallsPerSecond::Limited(rate) => rate,
            CallsPerSecond::Unlimited => f64::INFINITY,
        };
        metrics.quota_calls_per_second.with_label_values(account).set(rate);
        metrics.pending_instances.with_label_values(account).set(whole(self.pending_ids));
        metrics.pending_jobs.with_label_values(account).set(whole(self.pending_jobs));
        metrics.calls_under_way.with_label_values(account).set(whole(self.calls_under_way));
        metrics.oldest_pending_seconds.with_label_values(account).set(self.oldest.as_secs_f64());
    }
}

/// How many deliveries are held, told now and then.
pub struct WorkerStands {
    pub held: usize,
}

impl WorkerStands {
    pub fn emit(self, metrics: &Metrics) {
        metrics.held_deliveries.set(whole(self.held));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
