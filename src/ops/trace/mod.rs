//! Spans: one job followed from its producer through batches and calls to its result, given to an OpenTelemetry collector.
//!
//! ```text
//! producer's span <── job (from delivery to confirmed result) <──> batch (from its oldest id to its last verdict) <── call
//! ```
//!
//! `context` reads and writes W3C's headers, `job` and `batch` are the spans, `export` is the way out. Where tracing is off
//! nothing is made, and no header is touched. No span names an instance id.

mod batch;
mod context;
mod export;
mod job;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, SdkProvidedResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::time::Instant;

pub use batch::{BatchSpans, CallSpan, JobSpans};
pub use context::{Headers, of_caller};
pub use job::JobSpan;

use super::Metrics;
use crate::config::Settings;
use export::Export;

/// How long the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the last spans are waited for at a stop, at most.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Makes spans, where that was asked for.
#[derive(Debug, Clone, Default)]
pub struct Tracer(Option<Arc<On>>);

#[derive(Debug)]
struct On {
    sdk: SdkTracer,
    export: Export,
    /// What the messages come through, in the words of OpenTelemetry.
    system: &'static str,
}

/// Why spans can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    #[error("trace.otlp_endpoint: {0}")]
    Exporter(#[from] ExporterBuildError),
    #[error("the HTTP client can't be built: {0}")]
    Http(#[from] reqwest::Error),
}

impl Tracer {
    /// Begins to export to `trace.otlp_endpoint`, from within a runtime; without one nothing is traced. OpenTelemetry's own
    /// variables say the rest: headers, sampler, resource. Whether the collector is there shows only later.
    pub fn start(settings: &Settings, worker: &str, metrics: Arc<Metrics>) -> Result<Self, TraceError> {
        let Some(endpoint) = &settings.trace.otlp_endpoint else { return Ok(Self::default()) };
        let http = reqwest::Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("bulkrelease/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let mut exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(http)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .build()?;
        let resource = resource(worker);
        opentelemetry_sdk::trace::SpanExporter::set_resource(&mut exporter, &resource);
        let (export, ended) = Export::start(exporter, metrics);
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(ended).build();
        let scope = InstrumentationScope::builder("bulkrelease").with_version(env!("CARGO_PKG_VERSION")).build();
        let sqlite = settings.broker.url.as_deref().is_some_and(|url| url.starts_with("sqlite:"));
        let system = if sqlite { "sqlite" } else { "rabbitmq" };
        Ok(Self(Some(Arc::new(On { sdk: provider.tracer_with_scope(scope), export, system }))))
    }

    /// Waits until what has ended is exported: not for long, and never beyond the deadline.
    pub async fn flush(&self, deadline: Instant) {
        let Some(on) = &self.0 else { return };
        if !on.export.flush(deadline.min(Instant::now() + LAST_SPANS)).await {
            tracing::warn!("the collector has not taken the last spans in time: they are dropped");
        }
    }
}

/// Who traces. The operator's variables have the last word.
fn resource(worker: &str) -> Resource {
    let own = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "bulkrelease"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", worker.to_owned()),
    ]);
    let told = own.with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    let named = std::env::var_os("OTEL_SERVICE_NAME").is_some_and(|name| !name.is_empty());
    if named { told.with_detector(Box::new(SdkProvidedResourceDetector)).build() } else { told.build() }
}

/// What marks log lines with a span. At the highest level, so that no filter takes it from a line.
fn mark(span: &Option<Context>) -> tracing::Span {
    let Some(context) = span else { return tracing::Span::none() };
    let span = context.span();
    let span = span.span_context();
    tracing::error_span!("trace", trace_id = %span.trace_id(), span_id = %span.span_id())
}
