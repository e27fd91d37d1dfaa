//! A job's span: from its delivery to the word that its result is confirmed. What a job leads to carries this span's context
//! on, so a remainder's delivery, a replay and whoever reads the result are its children.

use std::time::{Duration, SystemTime};

use opentelemetry::trace::{Span, SpanKind, Status as SpanStatus, TraceContextExt, Tracer as _};
use opentelemetry::{Context, KeyValue};

use super::{Tracer, context, mark};
use crate::broker::Delivery;
use crate::contract::{GroupKey, JOBS, Outcome, Status};

/// A job's span, or none. It ends when it is dropped, if not before.
#[derive(Debug, Default)]
pub struct JobSpan(pub(super) Option<Context>);

impl Tracer {
    /// Begins the span of a delivery that came so long ago. If it is recorded, the message's headers name it from now on, and with them whatever the
    /// job leads to; else they stay as the producer wrote them.
    pub fn job(&self, delivery: &mut Delivery, waited: Duration) -> JobSpan {
        let Some(on) = &self.0 else { return JobSpan::default() };
        let properties = &mut delivery.message.properties;
        let mut attributes = vec![
            KeyValue::new("messaging.system", on.system),
            KeyValue::new("messaging.destination.name", JOBS),
            KeyValue::new("messaging.operation.name", "process"),
            KeyValue::new("messaging.operation.type", "process"),
            KeyValue::new("messaging.message.body.size", whole(delivery.message.body.len())),
            KeyValue::new("bulkrelease.redelivered", delivery.redelivered),
        ];
        attributes.extend(properties.message_id.clone().map(|id| KeyValue::new("messaging.message.id", id)));
        attributes
            .extend(properties.correlation_id.clone().map(|id| KeyValue::new("messaging.message.conversation_id", id)));
        let begun = on.sdk.span_builder("process release.jobs").with_kind(SpanKind::Consumer);
        let begun = begun.with_start_time(SystemTime::now() - waited).with_attributes(attributes);
        let span = on.sdk.build_with_context(begun, &context::read(&properties.headers));
        if !span.is_recording() {
            return JobSpan::default();
        }
        let span = Context::new().with_span(span);
        context::write(&span, &mut properties.headers);
        JobSpan(Some(span))
    }
}

impl JobSpan {
    /// Log lines about the job are written within this.
    pub fn log(&self) -> tracing::Span {
        mark(&self.0)
    }

    /// The message is a job, or what is left of one, with so many ids.
    pub fn is_of(&self, group: &GroupKey, ids: usize) {
        self.note(|| KeyValue::new("bulkrelease.account", group.account.as_str().to_owned()));
        self.note(|| KeyValue::new("bulkrelease.group", group.to_string()));
        self.note(|| KeyValue::new("bulkrelease.instances", whole(ids)));
    }

    /// Every id has its outcome.
    pub fn finished(&self, status: Status, outcomes: &[(Outcome, u32)]) {
        self.note(|| KeyValue::new("bulkrelease.status", status.as_str()));
        for (outcome, count) in outcomes.iter().filter(|(_, count)| *count > 0) {
            self.note(|| KeyValue::new(format!("bulkrelease.outcomes.{}", outcome.as_str()), i64::from(*count)));
        }
        match status {
            Status::Released | Status::DryRun | Status::Expired => {}
            Status::Partial | Status::Failed | Status::Invalid => self.failed(status.as_str()),
        }
    }

    /// What is left of the job comes again.
    pub fn postponed(&self, why: &'static str) {
        self.note(|| KeyValue::new("bulkrelease.postponed", why));
    }

    /// What the job came to is none that anybody wanted.
    pub fn failed(&self, kind: &'static str) {
        self.note(|| KeyValue::new("error.type", kind));
        if let Some(context) = &self.0 {
            context.span().set_status(SpanStatus::error(kind));
        }
    }

    fn note(&self, attribute: impl FnOnce() -> KeyValue) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(attribute());
        }
    }
}

/// OpenTelemetry counts so.
pub(super) fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
