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
use crate::ops::Metrics;
use crate::ops::events::{DeadLettered, JobFinished};

/// A delivery that is being worked on: all that its reply needs.
#[derive(Debug)]
pub struct Held {
    pub tag: DeliveryTag,
    /// Its ids are with the engine meanwhile.
    pub job: Job,
    pub properties: Properties,
    pub result_id: Uuid,
    pub received_at: Timestamp,
    /// What the body weighed, for the bound on pending bytes.
    pub bytes: usize,
}

/// What became of a job.
pub struct Ending {
    pub outcomes: Vec<(InstanceId, InstanceOutcome)>,
    pub attempts: u32,
    pub first_failure: Option<Timestamp>,
    pub kind: EndingKind,
}

/// Whether the job was worked on at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingKind {
    Worked,
    /// It can't be done as it stands: no id was called.
    Invalid,
    /// It was delivered too often.
    DeliveredTooOften,
}

impl Held {
    /// The messages for an ending.
    pub fn reply(&self, ending: Ending, worker: &str, metrics: &Metrics) -> Vec<Publication> {
        let finished_at = Timestamp::now();
        let Ending { outcomes, attempts, first_failure, kind } = ending;
        let counts = Counts::of(outcomes.iter().map(|(_, outcome)| outcome.outcome));
        let status = if kind == EndingKind::Invalid { Status::Invalid } else { counts.status(self.job.dry_run) };
        JobFinished { group: &self.job.group, status, outcomes: &counts.listed() }.emit(metrics);

        let mut publications = Vec::with_capacity(2);
        let failure =
            Failure { attempts, first: first_failure.unwrap_or(finished_at), last: finished_at, worker, kind };
        for letter in self.dead_letters(&outcomes, &failure) {
            let explanation = &letter.explanation;
            DeadLettered { job: self.job.id.as_str(), reason: letter.reason, explanation }.emit(metrics);
            let messages = letter.into_messages(&self.original());
            publications.extend(messages.into_iter().map(|message| Publication { to: Destination::Dead, message }));
        }
        let result = JobResult {
            result_id: self.result_id,
            job_id: self.job.id.clone(),
            status,
            counts,
            instances: outcomes.into_iter().map(|(id, outcome)| InstanceResult::new(id, &outcome)).collect(),
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

    /// One dead letter for each code that ids were given up on with, so that each can be replayed on its own.
    fn dead_letters(&self, outcomes: &[(InstanceId, InstanceOutcome)], failure: &Failure<'_>) -> Vec<DeadLetter> {
        let mut dead = BTreeMap::<_, Vec<&(InstanceId, InstanceOutcome)>>::new();
        for entry in outcomes {
            if let Some(reason) = failure.reason(entry.1.outcome) {
                dead.entry((reason, entry.1.evidence.code.as_deref())).or_default().push(entry);
            }
        }
        dead.into_iter()
            .map(|((reason, code), entries)| {
                let ids: Vec<_> = entries.iter().map(|(id, _)| id.clone()).collect();
                let suspects: Vec<_> = entries.iter().filter(|(_, o)| o.suspect).map(|(id, _)| id.clone()).collect();
                let evidence: &Evidence = &entries[0].1.evidence;
                DeadLetter {
                    body: self.job.narrowed(&ids, &suspects),
                    reason,
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
        let traceparent = self.properties.headers.get_key_value(header::TRACEPARENT);
        Properties {
            message_id: Some(self.job.id.as_str().to_owned()),
            correlation_id: self.properties.correlation_id.clone(),
            reply_to: None,
            kind: Some(RESULT_KIND.to_owned()),
            timestamp: Some(finished_at.as_second().max(0).unsigned_abs()),
            headers: traceparent.map(|(name, value)| (name.clone(), value.clone())).into_iter().collect(),
        }
    }
}

struct Failure<'a> {
    attempts: u32,
    first: Timestamp,
    last: Timestamp,
    worker: &'a str,
    kind: EndingKind,
}

impl Failure<'_> {
    /// Why an id with this outcome is dead, if it is.
    fn reason(&self, outcome: Outcome) -> Option<DeadReason> {
        match (self.kind, outcome) {
            (EndingKind::Invalid, _) => Some(DeadReason::Invalid),
            (EndingKind::DeliveredTooOften, _) => Some(DeadReason::DeliveredTooOften),
            (EndingKind::Worked, Outcome::Rejected) => Some(DeadReason::Rejected),
            (EndingKind::Worked, Outcome::Unresolved) => Some(DeadReason::Unresolved),
            (EndingKind::Worked, _) => None,
        }
    }
}

/// The messages for a body that is no job: its bytes as they came, with the reason.
pub fn malformed(
    message: Message,
    explanation: String,
    received_at: Timestamp,
    worker: &str,
    metrics: &Metrics,
) -> Vec<Publication> {
    let name = message.properties.message_id.as_deref().unwrap_or("unnamed");
    DeadLettered { job: name, reason: DeadReason::Malformed, explanation: &explanation }.emit(metrics);
    let letter = DeadLetter {
        body: message.body,
        reason: DeadReason::Malformed,
        code: None,
        explanation,
        request_id: None,
        product: String::new(),
        attempts: 0,
        first_failure: received_at,
        last_failure: received_at,
        worker: worker.to_owned(),
    };
    let messages = letter.into_messages(&message.properties);
    messages.into_iter().map(|message| Publication { to: Destination::Dead, message }).collect()
}
