//! A small OpenTelemetry collector: it takes spans over OTLP/HTTP and keeps them. It must not know what is traced.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::subscriber::PATIENCE;

/// A span as its reader sees it; ids in hex.
#[derive(Debug, Clone)]
pub struct Seen {
    pub name: String,
    pub trace: String,
    pub id: String,
    /// Empty for the first span of a trace.
    pub parent: String,
    pub trace_state: String,
    /// 3 for a client, 5 for a consumer.
    pub kind: i32,
    pub attributes: BTreeMap<String, String>,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    pub failed: bool,
    /// Nanoseconds since 1970.
    pub from: u64,
    pub until: u64,
}

impl Seen {
    /// What names it in a message.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-01", self.trace, self.id)
    }

    pub fn place(&self) -> (String, String) {
        (self.trace.clone(), self.id.clone())
    }

    /// The value of an attribute; empty without one.
    pub fn says(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map(String::as_str).unwrap_or_default()
    }
}

/// Everything that came.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    pub spans: Vec<Seen>,
    /// Who the spans are of, as the last request said.
    pub resource: BTreeMap<String, String>,
    /// Of the last request.
    pub headers: HeaderMap,
    /// All requests, byte for byte.
    pub bytes: Vec<u8>,
}

impl Taken {
    pub fn named(&self, name: &str) -> Vec<&Seen> {
        self.spans.iter().filter(|span| span.name == name).collect()
    }
}

pub struct Collector {
    address: SocketAddr,
    taken: watch::Receiver<Taken>,
    _task: AbortOnDropHandle<()>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, taken) = watch::channel(Taken::default());
        let routes = Router::new().route("/v1/traces", post(take)).with_state(sender);
        let serving = async move { axum::serve(listener, routes).await.expect("a server") };
        Self { address, taken, _task: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Waits until so many spans have come.
    pub async fn until(&self, count: usize) -> Taken {
        let mut taken = self.taken.clone();
        let waited = timeout(PATIENCE, taken.wait_for(|taken| taken.spans.len() >= count)).await;
        let taken = waited.map(|taken| taken.expect("the collector lives").clone());
        taken.unwrap_or_else(|_| panic!("{count} spans did not come: {:#?}", self.taken.borrow().spans))
    }
}

async fn take(State(taken): State<watch::Sender<Taken>>, headers: HeaderMap, body: Bytes) {
    let request = ExportTraceServiceRequest::decode(&body[..]).expect("OTLP");
    taken.send_modify(|taken| {
        taken.bytes.extend_from_slice(&body);
        taken.headers = headers;
        for of_one in request.resource_spans {
            taken.resource = attributes(of_one.resource.expect("a resource").attributes);
            taken.spans.extend(of_one.scope_spans.into_iter().flat_map(|scope| scope.spans).map(seen));
        }
    });
}

fn seen(span: Span) -> Seen {
    Seen {
        name: span.name,
        trace: hex::encode(span.trace_id),
        id: hex::encode(span.span_id),
        parent: hex::encode(span.parent_span_id),
        trace_state: span.trace_state,
        kind: span.kind,
        attributes: attributes(span.attributes),
        links: span.links.into_iter().map(|link| (hex::encode(link.trace_id), hex::encode(link.span_id))).collect(),
        failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        from: span.start_time_unix_nano,
        until: span.end_time_unix_nano,
    }
}

fn attributes(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(|attribute| (attribute.key, attribute.value.map(text).unwrap_or_default())).collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::BoolValue(truth)) => truth.to_string(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}
