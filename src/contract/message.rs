//! A message as any broker carries it: a body and the few properties that the contract gives a meaning.

use std::collections::BTreeMap;

/// Names of the headers that bulkrelease itself sets or reads.
pub mod header {
    /// W3C trace context, carried from a job to what becomes of it.
    pub const TRACEPARENT: &str = "traceparent";
    /// What the tracing systems on the way add to it.
    pub const TRACESTATE: &str = "tracestate";
    /// Both: they go together.
    pub const TRACE_CONTEXT: [&str; 2] = [TRACEPARENT, TRACESTATE];
    /// Which replay of a job it is: a number that rises with each. Part of `ResultId`, so that consumers keep a replay's result.
    pub const REPLAY: &str = "bulkrelease-replay";
    pub const REASON: &str = "bulkrelease-reason";
    /// What the API's answer means for a batch: `unknown`, `instance`, ...
    pub const CLASS: &str = "bulkrelease-class";
    pub const CODE: &str = "bulkrelease-code";
    pub const EXPLANATION: &str = "bulkrelease-explanation";
    pub const FINGERPRINT: &str = "bulkrelease-fingerprint";
    pub const REQUEST_ID: &str = "bulkrelease-request-id";
    pub const ATTEMPTS: &str = "bulkrelease-attempts";
    pub const FIRST_FAILURE: &str = "bulkrelease-first-failure";
    pub const LAST_FAILURE: &str = "bulkrelease-last-failure";
    pub const WORKER: &str = "bulkrelease-worker";
    pub const ORIGIN: &str = "bulkrelease-origin";
    /// Of a dead letter that keeps a body as it came: the AMQP `type` that it came with, for a replay to restore.
    pub const TYPE: &str = "bulkrelease-type";
    /// Of what the broker itself put aside, or one worker could not read that another had before, and of their replays: a worker
    /// may have begun these very bytes, so that each of their ids is suspect. A body that a worker wrote names its suspects itself.
    pub const WORN_OUT: &str = "bulkrelease-worn-out";
    /// Of a remainder: ids with an outcome.
    pub const SETTLED: &str = "bulkrelease-settled";
    /// Of a remainder: ids without one.
    pub const OPEN: &str = "bulkrelease-open";
    /// `2/3`: the second of three messages whose bodies, put together, are the original.
    pub const PART: &str = "bulkrelease-part";

    /// Whether a header goes on with what is left of a job, wherever that goes.
    pub fn stays_with_the_job(name: &str) -> bool {
        name == REPLAY || TRACE_CONTEXT.contains(&name)
    }
}

/// A body with its properties.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    pub body: Vec<u8>,
    pub properties: Properties,
}

/// The properties that bulkrelease reads or writes. On the way in every one is optional.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    pub message_id: Option<String>,
    pub correlation_id: Option<String>,
    /// Where a best-effort copy of the result goes.
    pub reply_to: Option<String>,
    /// AMQP's `type`: `release.job.v1`, `release.remainder.v1`, `release.result.v1`, `release.dead.v1`.
    pub kind: Option<String>,
    /// Seconds since 1970, as AMQP counts.
    pub timestamp: Option<u64>,
    /// Headers whose value is text or a number, as text. Others are dropped on the way in.
    pub headers: BTreeMap<String, String>,
}
