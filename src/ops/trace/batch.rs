//! A batch's span, from the arrival of its oldest id to the last verdict on what was in it, and the spans of its calls:
//! retries, parts of it and queries included.
//!
//! A batch serves many jobs and a span has one parent: the first of them is it, for a trace that began here would be
//! sampled apart from its jobs. All of them are linked, each way, so whoever looks at one finds the other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use opentelemetry::trace::{FutureExt, SpanKind, Status as SpanStatus, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};
use tracing::Instrument;

use super::job::whole;
use super::{JobSpan, On, Tracer, mark};
use crate::api::{QUERY, RELEASE};
use crate::contract::{Evidence, ReadBack, Verdict};
use crate::engine::{Call, CallKey, CallKind, Engine, JobKey};

/// Where a lane finds the spans of its jobs.
#[derive(Clone, Copy)]
pub struct JobSpans<'a> {
    pub tracer: &'a Tracer,
    pub of: &'a dyn Fn(JobKey) -> Option<&'a JobSpan>,
}

/// The open batches of a lane; none where nothing is traced.
#[derive(Debug, Default)]
pub struct BatchSpans(HashMap<CallKey, BatchSpan>);

/// It ends when it is dropped.
#[derive(Debug)]
struct BatchSpan {
    context: Context,
    linked: BTreeSet<JobKey>,
}

impl BatchSpans {
    /// Begins a call's span, and that of its batch if this is the first one.
    pub fn begin(&mut self, call: &Call, engine: &Engine, jobs: JobSpans<'_>) -> CallSpan {
        let Some(on) = &jobs.tracer.0 else { return CallSpan::default() };
        let recorded = |key| Some((key, (jobs.of)(key)?.0.as_ref()?));
        let jobs: Vec<(JobKey, &Context)> = engine.jobs_of(&call.batch).into_iter().filter_map(recorded).collect();
        let batch = match self.0.entry(call.key) {
            Entry::Occupied(batch) => batch.into_mut(),
            Entry::Vacant(place) => match jobs.first() {
                Some((_, first)) => place.insert(BatchSpan::new(on, call, first)),
                None => return CallSpan::default(),
            },
        };
        for (key, job) in jobs {
            batch.link(key, job);
        }
        CallSpan::new(on, call, &batch.context)
    }

    /// Ends a batch of which nothing will be called any more.
    pub fn end_if_over(&mut self, key: CallKey, engine: &Engine) {
        if !engine.has_course(key) {
            self.0.remove(&key);
        }
    }

    /// The same of all batches: some end without a last verdict.
    pub fn end_those_over(&mut self, engine: &Engine) {
        self.0.retain(|key, _| engine.has_course(*key));
    }
}

impl BatchSpan {
    fn new(on: &On, call: &Call, first: &Context) -> Self {
        let begun = on.sdk.span_builder("batch").with_kind(SpanKind::Internal);
        let begun = begun.with_start_time(SystemTime::now() - call.waited).with_attributes(about(call));
        let context = Context::new().with_span(on.sdk.build_with_context(begun, first));
        Self { context, linked: BTreeSet::new() }
    }

    /// The library keeps 128 links of a span, and counts the rest.
    fn link(&mut self, key: JobKey, job: &Context) {
        if self.linked.insert(key) {
            let (batch, job) = (self.context.span(), job.span());
            batch.add_link(job.span_context().clone(), Vec::new());
            job.add_link(batch.span_context().clone(), Vec::new());
        }
    }
}

fn about(call: &Call) -> Vec<KeyValue> {
    let group = call.batch.group();
    vec![
        KeyValue::new("bulkrelease.account", group.account.as_str().to_owned()),
        KeyValue::new("bulkrelease.group", group.to_string()),
        KeyValue::new("bulkrelease.instances", whole(call.batch.len())),
    ]
}

/// A call's span, or none. It ends with the answer.
#[derive(Debug, Default)]
pub struct CallSpan(Option<Context>);

impl CallSpan {
    fn new(on: &On, call: &Call, batch: &Context) -> Self {
        let mut attributes = about(call);
        let name = match call.kind {
            CallKind::Release { attempt, reason } => {
                attributes.push(KeyValue::new("bulkrelease.attempt", i64::from(attempt)));
                attributes.push(KeyValue::new("bulkrelease.sealed", reason.as_str()));
                RELEASE
            }
            CallKind::ReadBack => QUERY,
        };
        let begun = on.sdk.span_builder(name).with_kind(SpanKind::Client).with_attributes(attributes);
        Self(Some(Context::new().with_span(on.sdk.build_with_context(begun, batch))))
    }

    /// Log lines about the call are written within this.
    pub fn log(&self) -> tracing::Span {
        mark(&self.0)
    }

    /// Makes the call within its span: its log lines name it, and the client adds to it what it alone knows.
    pub async fn around<T>(&self, call: impl Future<Output = T>) -> T {
        match &self.0 {
            Some(context) => call.with_context(context.clone()).instrument(self.log()).await,
            None => call.await,
        }
    }

    /// The call has its verdict.
    pub fn answered(&self, verdict: &Verdict) {
        let failed = !matches!(verdict, Verdict::Released(_));
        self.end(verdict.class().as_str(), verdict.evidence(), failed);
    }

    /// The query has its answer.
    pub fn read_back(&self, answer: &ReadBack) {
        match answer {
            ReadBack::Listed { evidence, .. } => self.end("listed", evidence, false),
            ReadBack::Failed(verdict) => self.answered(verdict),
        }
    }

    fn end(&self, class: &'static str, evidence: &Evidence, failed: bool) {
        let Some(context) = &self.0 else { return };
        let span = context.span();
        span.set_attribute(KeyValue::new("bulkrelease.class", class));
        let (code, request_id) = (evidence.code.clone(), evidence.request_id.clone());
        span.set_attributes(request_id.map(|id| KeyValue::new("bulkrelease.request_id", id)));
        if failed {
            let kind = code.clone().unwrap_or_else(|| class.to_owned());
            span.set_attribute(KeyValue::new("error.type", kind.clone()));
            span.set_status(SpanStatus::error(kind));
        }
        span.set_attributes(code.map(|code| KeyValue::new("bulkrelease.code", code)));
        span.end();
    }
}
