//! What happens in a worker: each event is one type, and its `emit` is the only place where its log line and its metrics
//! are made. No line at `info` for a single job or id. What is told now and then is in `stands`.

mod stands;

use std::time::Duration;

use crate::api::{Answer, QUERY, RELEASE};
use crate::broker::DeliveryTag;
use crate::contract::{AccountName, DeadLetter, GroupKey, Outcome, ReadBack, Status, Verdict};
use crate::engine::{Call, CallKind, SealReason};

use super::Metrics;

pub use stands::{LaneStands, PaceStands, PostponedLately, SpansDroppedLately, ThrottledLately, WorkerStands};

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
    /// How long it was ready and could not go.
    pub blocked: Duration,
}

impl BatchSealed<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { call: Call { batch, kind, waited, .. }, blocked } = self;
        let CallKind::Release { attempt, reason } = kind else { return };
        let account = batch.group().account.as_str();
        tracing::debug!(group = %batch.group(), ids = batch.len(), attempt, reason = reason.as_str(), "batch sealed");
        metrics.batches_sealed.with_label_values(&[account, reason.as_str()]).inc();
        metrics.batch_instances.with_label_values(&[account]).observe(batch.len() as f64);
        metrics.batch_wait_seconds.with_label_values(&[account]).observe(waited.as_secs_f64());
        metrics.permit_wait_seconds.with_label_values(&[account]).observe(blocked.as_secs_f64());
        if !matches!(reason, SealReason::Retry | SealReason::Split) {
            metrics.called_first(batch.group(), batch.len());
        }
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
        // Those that none ended in as well: a rate needs a value to begin from.
        for (outcome, count) in self.outcomes {
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
    /// Its turn has not come: too few permits.
    Parked,
    /// Its account is held, for so long by now.
    Held(Duration),
    /// The worker stops.
    Stopping,
}

impl Postponement {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Parked => "parked",
            Self::Held(_) => "held",
            Self::Stopping => "stopping",
        }
    }
}

impl JobPostponed {
    pub fn emit(self, metrics: &Metrics) {
        metrics.jobs_postponed.with_label_values(&[self.why.as_str()]).inc();
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
    /// The API's code for it, and what it is in words.
    pub problem: Option<(Option<&'a str>, String)>,
}

impl AccountChanged<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let account = self.account.as_str();
        metrics.account_held.with_label_values(&[account]).set(i64::from(self.problem.is_some()));
        metrics.refused_with(account, self.problem.as_ref().and_then(|(code, _)| *code));
        match self.problem {
            Some((_, problem)) => tracing::error!(account, problem, "calls are held, but for one probe at a time"),
            None => tracing::info!(account, "calls go again"),
        }
    }
}

/// The collector has taken spans.
pub struct SpansExported {
    pub spans: u64,
}

impl SpansExported {
    pub fn emit(self, metrics: &Metrics) {
        metrics.spans_exported.inc_by(self.spans);
    }
}

/// Spans are lost: the collector did not take them, or not fast enough.
pub struct SpansDropped {
    pub spans: u64,
}

impl SpansDropped {
    pub fn emit(self, metrics: &Metrics) {
        metrics.spans_dropped.inc_by(self.spans);
    }
}

/// The settings were read again.
pub enum SettingsReloaded<'a> {
    /// The paths of what has changed: what is in force now, and what waits for the next start.
    Applied {
        applied: &'a [String],
        needs_restart: &'a [String],
    },
    Refused {
        error: &'a str,
    },
}

impl SettingsReloaded<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let result = match self {
            Self::Applied { applied, needs_restart } => {
                tracing::info!(changed = applied.join(", "), "the settings were read again, protected ids included");
                if !needs_restart.is_empty() {
                    let settings = needs_restart.join(", ");
                    tracing::warn!(settings, "these changes take effect only when the worker starts anew: restart it");
                }
                "applied"
            }
            Self::Refused { error } => {
                tracing::error!("the settings are refused, and the old ones stay in force: {error}");
                "refused"
            }
        };
        metrics.settings_reloads.with_label_values(&[result]).inc();
    }
}
