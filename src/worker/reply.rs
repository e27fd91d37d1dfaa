//! From what became of a job to the messages that say so: one result, and a dead letter for each kind of failure. It must
//! not know when they are sent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use uuid::Uuid;

use crate::broker::{DeliveryTag, Destination, Publication};
use crate::contract::{
    Counts, DeadLetter, DeadReason, Evidence, InstanceId, InstanceOutcome, InstanceResult, Job, JobResult, Message,
    Outcome, Properties, RESULT_KIND, Status, header,
};
use crate::engine::FinishedJob;
use crate::ops::Metrics;
use crate::ops::events::{DeadLettered, JobFinished};
use crate::ops::trace::JobSpan;

/// A delivery that is being worked on: all that its reply needs.
#[derive(Debug)]
pub struct Held {
    pub tag: DeliveryTag,
    /// Its ids are with the engine meanwhile.
    pub job: Job,
    pub properties: Properties,
    pub result_id: Uuid,
    /// When the job first came.
    pub received_at: Timestamp,
    pub earlier: Earlier,
    /// What the body weighed, for the bound on pending bytes.
    pub bytes: usize,
    pub span: JobSpan,
}

/// What earlier deliveries of a job did: its remainder carries it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Earlier {
    /// This is a remainder.
    pub began: bool,
    /// The most calls that any one id took part in.
    pub calls: u32,
    /// When a call with one of the ids first failed or was refused.
    pub first_failure: Option<Timestamp>,
}

/// What became of a job.
pub struct Ending {
    /// In the job's own order.
    pub ended: Vec<Ended>,
    /// `None`: as the outcomes say.
    pub status: Option<Status>,
    /// The most calls that any one id took part in, of this delivery.
    pub calls: u32,
    pub first_failure: Option<Timestamp>,
}

/// What became of an id.
pub struct Ended {
    pub id: InstanceId,
    pub outcome: InstanceOutcome,
    /// Why it is a dead letter too, if it is.
    pub dead: Option<DeadReason>,
}

impl Ended {
    /// An id that was worked on.
    pub fn worked(id: InstanceId, outcome: InstanceOutcome) -> Self {
        let dead = match outcome.outcome {
            Outcome::Rejected => Some(DeadReason::Rejected),
            Outcome::Unresolved => Some(DeadReason::Unresolved),
            Outcome::Released | Outcome::AlreadyGone | Outcome::Refused | Outcome::Expired | Outcome::DryRun => None,
        };
        Self { id, outcome, dead }
    }
}

impl Ending {
    /// The ending of a job that the engine worked on.
    pub fn worked(job: FinishedJob, first_failure: Option<Timestamp>) -> Self {
        let ended = job.outcomes.into_iter().map(|(id, outcome)| Ended::worked(id, outcome)).collect();
        Self { ended, status: None, calls: job.calls, first_failure }
    }
}

/// When a job was enqueued, as far as its message tells.
pub fn since(properties: &Properties, arrived: Timestamp) -> Timestamp {
    let enqueued = properties.timestamp.and_then(|seconds| i64::try_from(seconds).ok());
    enqueued.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(arrived)
}

impl Held {
    /// When the job was enqueued.
    pub fn since(&self) -> Timestamp {
        since(&self.properties, self.received_at)
    }

    /// The messages for an ending.
    pub fn reply(&self, ending: Ending, worker: &str, metrics: &Metrics) -> Vec<Publication> {
        let finished_at = Timestamp::now();
        let Ending { ended, status, calls, first_failure } = ending;
        let counts = Counts::of(ended.iter().map(|ended| ended.outcome.outcome));
        let status = status.unwrap_or_else(|| counts.status(self.job.dry_run));
        JobFinished { group: &self.job.group, status, outcomes: &counts.listed() }.emit(metrics);
        self.span.finished(status, &counts.listed());

        let mut publications = Vec::with_capacity(2);
        let attempts = self.calls_with(calls);
        let first = self.first_failure_with(first_failure).unwrap_or(finished_at);
        for letter in self.dead_letters(&ended, &Failure { attempts, first, last: finished_at, worker }) {
            let dead_lettered = DeadLettered { job: self.job.id.as_str(), letter: &letter };
            self.span.log().in_scope(|| dead_lettered.emit(metrics));
            let messages = letter.into_messages(&self.original());
            publications.extend(messages.into_iter().map(|message| Publication { to: Destination::Dead, message }));
        }
        let result = JobResult {
            result_id: self.result_id,
            job_id: self.job.id.clone(),
            status,
            counts,
            instances: ended.into_iter().map(|ended| InstanceResult::new(ended.id, &ended.outcome)).collect(),
            attempts,
            received_at: self.received_at,
            finished_at,
            worker: worker.to_owned(),
            labels: self.job.labels.clone(),
        };
        let message = Message { body: result.into_body(), properties: self.result_properties(finished_at) };
        if let Some(queue) = &self.properties.reply_to {
            let copy = message.clone();
            publications.push(Publication { to: Destination::Reply { queue: queue.clone() }, message: copy });
        }
        let key = format!("{}.{}", status.as_str(), self.job.group.product_code);
        publications.push(Publication { to: Destination::Results { key }, message });
        publications
    }

    /// The most calls that any one id took part in, those of earlier deliveries counted in.
    pub fn calls_with(&self, calls: u32) -> u32 {
        self.earlier.calls.saturating_add(calls)
    }

    pub fn first_failure_with(&self, first_failure: Option<Timestamp>) -> Option<Timestamp> {
        self.earlier.first_failure.into_iter().chain(first_failure).min()
    }

    /// One dead letter for each code that ids were given up on with, so that each can be replayed on its own.
    fn dead_letters(&self, ended: &[Ended], failure: &Failure<'_>) -> Vec<DeadLetter> {
        let mut dead = BTreeMap::<_, Vec<&Ended>>::new();
        for entry in ended {
            if let Some(reason) = entry.dead {
                dead.entry((reason, entry.outcome.evidence.code.as_deref())).or_default().push(entry);
            }
        }
        dead.into_iter()
            .map(|((reason, code), entries)| {
                let ids: Vec<_> = entries.iter().map(|ended| ended.id.clone()).collect();
                let suspects = entries.iter().filter(|ended| ended.outcome.suspect).map(|ended| ended.id.clone());
                let evidence: &Evidence = &entries[0].outcome.evidence;
                DeadLetter {
                    body: self.job.narrowed(&ids, &suspects.collect::<Vec<_>>()),
                    reason,
                    class: evidence.class,
                    code: code.map(str::to_owned),
                    explanation: evidence.brief().unwrap_or_default(),
                    request_id: evidence.request_id.clone(),
                    product: self.job.group.product_code.to_string(),
                    attempts: failure.attempts,
                    first_failure: failure.first,
                    last_failure: failure.last,
                    worker: failure.worker.to_owned(),
                }
            })
            .collect()
    }

    /// The job's own properties, named by the job.
    fn original(&self) -> Properties {
        Properties { message_id: Some(self.job.id.as_str().to_owned()), ..self.properties.clone() }
    }

    fn result_properties(&self, finished_at: Timestamp) -> Properties {
        let trace = header::TRACE_CONTEXT.into_iter().filter_map(|name| self.properties.headers.get_key_value(name));
        Properties {
            message_id: Some(self.job.id.as_str().to_owned()),
            correlation_id: self.properties.correlation_id.clone(),
            reply_to: None,
            kind: Some(RESULT_KIND.to_owned()),
            timestamp: Some(finished_at.as_second().max(0).unsigned_abs()),
            headers: trace.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

struct Failure<'a> {
    attempts: u32,
    first: Timestamp,
    last: Timestamp,
    worker: &'a str,
}

/// The messages for a body that is neither a job nor a remainder: its bytes as they came, with the reason.
pub fn malformed(
    message: Message,
    explanation: String,
    received_at: Timestamp,
    worker: &str,
    metrics: &Metrics,
) -> Vec<Publication> {
    let letter = DeadLetter {
        body: message.body,
        reason: DeadReason::Malformed,
        class: None,
        code: None,
        explanation,
        request_id: None,
        product: String::new(),
        attempts: 0,
        first_failure: received_at,
        last_failure: received_at,
        worker: worker.to_owned(),
    };
    let name = message.properties.message_id.as_deref().unwrap_or("unnamed");
    DeadLettered { job: name, letter: &letter }.emit(metrics);
    let messages = letter.into_messages(&message.properties);
    messages.into_iter().map(|message| Publication { to: Destination::Dead, message }).collect()
}
