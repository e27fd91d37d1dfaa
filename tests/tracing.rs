//! A job followed from its producer's span to its result's, by a collector and by whoever reads the messages: job, batch and
//! call, in one trace; and a collector that is in trouble troubles nobody else.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::Duration;

use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{Message, header};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::collector::{Collector, Seen, Taken};
use crate::support::orders::{Order, messages, orders};
use crate::support::program::run;
use crate::support::rabbitmq::{Node, free_ports};
use crate::support::results::{Results, each_order_is_released_once};
use crate::support::subscriber::{PATIENCE, delivery, enqueue, take};
use crate::support::worker::{Worker, WorkerSettings, variable};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PRODUCER: &str = "b7ad6b7169203331";
const STATE: &str = "vendor=opaque";

const JOB: &str = "process release.jobs";
const CLIENT: i32 = 3;
const CONSUMER: i32 = 5;

fn traceparent(sampled: bool) -> String {
    format!("00-{TRACE}-{PRODUCER}-0{}", u8::from(sampled))
}

/// A job of all orders' first group, as a producer sends it who traces, or not.
fn job(name: &str, ids: usize, traceparent: Option<String>) -> Message {
    let ids = (0..ids).map(|number| format!("i-secret-{name}-{number}")).collect();
    let mut message = Order { job: name.to_owned(), group: 0, ids }.message();
    let context = [(header::TRACEPARENT, traceparent), (header::TRACESTATE, Some(STATE.to_owned()))];
    if context[0].1.is_some() {
        message.properties.headers =
            context.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    }
    message
}

/// The headers that a span gives to messages.
fn headers_of(span: &Seen) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::from([(header::TRACEPARENT.to_owned(), span.traceparent())]);
    if !span.trace_state.is_empty() {
        headers.insert(header::TRACESTATE.to_owned(), span.trace_state.clone());
    }
    headers
}

/// The trace context among a message's headers.
fn context_of(message: &Message) -> BTreeMap<String, String> {
    let headers = message.properties.headers.iter();
    let context = headers.filter(|(name, _)| header::TRACE_CONTEXT.contains(&name.as_str()));
    context.map(|(name, value)| (name.clone(), value.clone())).collect()
}

async fn sandbox(faults: &[&str], latency: Duration) -> Sandbox {
    let faults = faults.iter().map(|fault| fault.parse().expect("a fault")).collect();
    Sandbox::start(SandboxSettings { faults, latency, ..SandboxSettings::default() }).await.expect("a sandbox")
}

/// A queue in a file, and its URL.
async fn embedded() -> (TempDir, EmbeddedBroker, String) {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("queue.db");
    let broker = EmbeddedBroker::open(&file).expect("a queue file");
    broker.declare().await.expect("declared");
    let url = format!("sqlite:{}", file.display());
    (directory, broker, url)
}

/// So many messages of a queue, by the job's name.
async fn read(broker: &dyn Broker, queue: Queue, count: usize) -> BTreeMap<String, Message> {
    let mut subscription = broker.subscribe(queue, 100);
    let mut messages = BTreeMap::new();
    for _ in 0..count {
        let delivery = delivery(&mut subscription).await;
        subscription.settle(take(&delivery));
        messages.insert(delivery.message.properties.message_id.clone().expect("a name"), delivery.message);
    }
    subscription.close(PATIENCE).await;
    messages
}

async fn stopped(mut worker: Worker) -> String {
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    assert_eq!(ended.code, Some(0), "{}", ended.errors);
    ended.errors
}

/// The one span of this name.
fn only<'a>(taken: &'a Taken, name: &str) -> &'a Seen {
    let named = taken.named(name);
    assert_eq!(named.len(), 1, "{name}: {:#?}", taken.spans);
    named[0]
}

fn span_of<'a>(taken: &'a Taken, job: &str) -> &'a Seen {
    let found = taken.spans.iter().find(|span| span.says("messaging.message.id") == job);
    found.unwrap_or_else(|| panic!("{job} has no span: {:#?}", taken.spans))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_from_its_producer_through_batch_and_call_to_its_result() {
    let node = Node::shared().await;
    let url = node.virtual_host("tracing");
    let broker = AmqpBroker::new(&BrokerSettings { url: Some(url.clone()), ..BrokerSettings::default() });
    let broker = broker.expect("valid settings");
    let (sandbox, collector) = (sandbox(&[], Duration::ZERO).await, Collector::start().await);
    let settings = WorkerSettings::new(&url, &sandbox, 100.0)
        .with("TRACE__OTLP_ENDPOINT", &collector.url())
        .with("WORKER__NAME", "worker-1")
        .with("LOG__LEVEL", "bulkrelease=debug")
        .with_variable("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
        .with_variable("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    let worker = Worker::start(&settings).await;
    enqueue(&broker, vec![job("traced", 3, Some(traceparent(true)))]).await;
    let results = read(&broker, Queue::Results, 1).await;
    let log = stopped(worker).await;

    let taken = collector.until(3).await;
    let (job, batch, call) = (only(&taken, JOB), only(&taken, "batch"), only(&taken, "ReleaseInstance"));
    assert_eq!((job.trace.as_str(), job.parent.as_str(), job.kind), (TRACE, PRODUCER, CONSUMER));
    assert_eq!((&batch.trace, &batch.parent), (&job.trace, &job.id));
    assert_eq!((&call.trace, &call.parent, call.kind), (&job.trace, &batch.id, CLIENT));
    assert_eq!((&batch.links, &job.links), (&vec![job.place()], &vec![batch.place()]));
    for (span, within) in [(call, batch), (batch, job)] {
        assert!(within.from <= span.from && span.until <= within.until.max(batch.until), "{span:?} {within:?}");
    }
    assert!(taken.spans.iter().all(|span| span.trace_state == STATE && !span.failed), "{:#?}", taken.spans);
    let facts = [
        (job, "messaging.system", "rabbitmq"),
        (job, "messaging.destination.name", "release.jobs"),
        (job, "messaging.operation.type", "process"),
        (job, "messaging.message.id", "traced"),
        (job, "bulkrelease.redelivered", "false"),
        (job, "bulkrelease.account", "default"),
        (job, "bulkrelease.group", "default/ecs/PayAsYouGo"),
        (job, "bulkrelease.instances", "3"),
        (job, "bulkrelease.status", "Released"),
        (job, "bulkrelease.outcomes.Released", "3"),
        (batch, "bulkrelease.instances", "3"),
        (call, "http.request.method", "POST"),
        (call, "http.response.status_code", "200"),
        (call, "server.address", "127.0.0.1"),
        (call, "bulkrelease.class", "released"),
        (call, "bulkrelease.attempt", "0"),
    ];
    for (span, attribute, value) in facts {
        assert_eq!(span.says(attribute), value, "{attribute} of {span:#?}");
    }
    assert!(!call.says("bulkrelease.request_id").is_empty(), "{call:#?}");
    let resource = [("service.name", "bulkrelease"), ("service.instance.id", "worker-1")];
    for (attribute, value) in [resource[0], resource[1], ("deployment.environment.name", "test")] {
        assert_eq!(taken.resource.get(attribute).map(String::as_str), Some(value), "{attribute}");
    }
    assert_eq!(taken.headers.get("authorization").expect("a header"), "Bearer token");
    assert!(!String::from_utf8_lossy(&taken.bytes).contains("i-secret"), "a span names an instance id");

    assert_eq!(results["traced"].properties.headers, headers_of(job));
    let marked = format!("trace{{trace_id={TRACE} span_id={}}}", call.id);
    for words in ["batch sealed", "batch released"] {
        assert!(log.lines().any(|line| line.contains(&marked) && line.contains(words)), "{words}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_and_the_jobs_whose_ids_it_carries_are_linked_each_way() {
    let (_directory, broker, url) = embedded().await;
    // The second call fails, while the jobs behind the first one pool.
    let sandbox = sandbox(&["service-unavailable every=2"], Duration::from_secs(1)).await;
    let collector = Collector::start().await;
    let settings = WorkerSettings::new(&url, &sandbox, 100.0)
        .with("TRACE__OTLP_ENDPOINT", &collector.url())
        .with("WORKER__MAX_IN_FLIGHT_CALLS", "1")
        .with("RETRY__INITIAL_INTERVAL", "1ms");
    let worker = Worker::start(&settings).await;
    enqueue(&broker, vec![job("first", 1, None)]).await;
    timeout(PATIENCE, sandbox.until_calls(1)).await.expect("a call in time");
    let unsampled = job("unsampled", 1, Some(traceparent(false)));
    let jobs = vec![job("sampled", 2, Some(traceparent(true))), job("untraced", 1, None), unsampled.clone()];
    enqueue(&broker, jobs).await;
    let results = read(&broker, Queue::Results, 4).await;
    stopped(worker).await;

    let taken = collector.until(8).await;
    assert_eq!(taken.spans.len(), 8, "{:#?}", taken.spans);
    let [first, sampled, untraced] = ["first", "sampled", "untraced"].map(|job| span_of(&taken, job));
    assert_eq!((first.parent.as_str(), untraced.parent.as_str()), ("", ""));
    assert!(first.trace != TRACE && untraced.trace != TRACE && untraced.trace != first.trace);

    let pooled = taken.named("batch").into_iter().find(|batch| batch.says("bulkrelease.instances") == "4");
    let pooled = pooled.expect("a batch of the three jobs");
    assert_eq!((&pooled.trace, &pooled.parent), (&sampled.trace, &sampled.id));
    assert_eq!(pooled.links, [sampled.place(), untraced.place()]);
    assert_eq!([&sampled.links, &untraced.links], [&[pooled.place()]; 2]);

    let mut calls = taken.named("ReleaseInstance");
    calls.retain(|call| call.parent == pooled.id);
    calls.sort_by_key(|call| call.from);
    let told: Vec<_> = calls.iter().map(|call| (call.says("bulkrelease.attempt"), call.failed)).collect();
    assert_eq!(told, [("0", true), ("1", false)]);
    assert_eq!((calls[0].says("error.type"), calls[0].says("bulkrelease.class")), ("ServiceUnavailable", "transient"));

    for (job, span) in [("first", first), ("sampled", sampled), ("untraced", untraced)] {
        assert_eq!(results[job].properties.headers, headers_of(span));
    }
    assert_eq!(results["unsampled"].properties.headers, unsampled.properties.headers);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remainder_a_dead_letter_and_a_result_carry_the_trace_on() {
    let (_directory, broker, url) = embedded().await;
    let sandbox = sandbox(&["service-unavailable"], Duration::ZERO).await;
    let collector = Collector::start().await;
    let settings = WorkerSettings::new(&url, &sandbox, 100.0)
        .with("TRACE__OTLP_ENDPOINT", &collector.url())
        .with("RETRY__ATTEMPTS_IN_PROCESS", "1")
        .with("RETRY__MAX_ATTEMPTS", "2")
        .with("RETRY__STEPS", "[\"100ms\"]");
    let worker = Worker::start(&settings).await;
    let malformed = Message { body: b"no job".to_vec(), ..job("malformed", 1, Some(traceparent(true))) };
    enqueue(&broker, vec![job("hopeless", 1, Some(traceparent(true))), malformed]).await;
    let results = read(&broker, Queue::Results, 1).await;
    let dead = read(&broker, Queue::Dead, 2).await;
    let log = stopped(worker).await;

    let taken = collector.until(7).await;
    let mut deliveries = taken.named(JOB);
    deliveries.retain(|job| job.says("messaging.message.id") == "hopeless");
    deliveries.sort_by_key(|job| job.from);
    let [begun, ended] = deliveries[..] else { panic!("not two deliveries: {deliveries:#?}") };
    assert_eq!((begun.parent.as_str(), ended.parent.as_str()), (PRODUCER, begun.id.as_str()));
    assert_eq!((begun.says("bulkrelease.postponed"), begun.failed), ("failed", false));
    assert_eq!((ended.says("bulkrelease.status"), ended.failed), ("Failed", true));
    assert_eq!(ended.says("messaging.system"), "sqlite");
    assert_eq!(context_of(&results["hopeless"]), headers_of(ended));
    assert_eq!(context_of(&dead["hopeless"]), headers_of(ended));

    let refused = span_of(&taken, "malformed");
    assert_eq!((refused.parent.as_str(), refused.says("error.type")), (PRODUCER, "Malformed"));
    assert_eq!(context_of(&dead["malformed"]), headers_of(refused));
    for span in [ended, refused] {
        let marked = format!("trace{{trace_id={TRACE} span_id={}}}", span.id);
        assert!(log.lines().any(|line| line.contains(&marked) && line.contains("dead letter")), "{log}");
    }
}

/// Has a worker release jobs while its collector does not work. Answers with what it logged.
async fn works_without(collector: &str) -> String {
    let (_directory, broker, url) = embedded().await;
    let sandbox = sandbox(&[], Duration::ZERO).await;
    let orders = orders(50, 7);
    enqueue(&broker, messages(&orders)).await;
    let settings = WorkerSettings::new(&url, &sandbox, 1000.0)
        .with("TRACE__OTLP_ENDPOINT", collector)
        .with_variable("OTEL_EXPORTER_OTLP_TIMEOUT", "100");
    let worker = Worker::start(&settings).await;
    let mut results = Results::of(&broker);
    results.until_jobs(orders.len()).await;
    each_order_is_released_once(&orders, &results.close().await);
    stopped(worker).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_hangs_holds_up_neither_jobs_nor_the_stop() {
    let hanging = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let log = works_without(&format!("http://{}", hanging.local_addr().expect("an address"))).await;
    assert!(log.contains("the collector has not taken the last spans in time"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_no_collector_takes_are_dropped_and_that_is_said() {
    let [nobody_listens] = free_ports();
    let log = works_without(&format!("http://127.0.0.1:{nobody_listens}")).await;
    assert!(log.contains("spans were dropped"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_counted() {
    let (_directory, broker, url) = embedded().await;
    let (sandbox, collector) = (sandbox(&[], Duration::ZERO).await, Collector::start().await);
    let settings = WorkerSettings::new(&url, &sandbox, 100.0).with("TRACE__OTLP_ENDPOINT", &collector.url());
    let worker = Worker::start(&settings).await;
    enqueue(&broker, vec![job("counted", 1, None)]).await;
    worker.until("/metrics", 200, "bulkrelease_spans_total{result=\"exported\"} 3").await;
    assert!(worker.get("/metrics").await.1.contains("bulkrelease_spans_total{result=\"dropped\"} 0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_every_trace_context_is_handed_on_as_it_came() {
    let (_directory, broker, url) = embedded().await;
    let sandbox = sandbox(&[], Duration::ZERO).await;
    let worker = Worker::start(&WorkerSettings::new(&url, &sandbox, 100.0)).await;
    let given = [
        job("sampled", 1, Some(traceparent(true))),
        job("nonsense", 1, Some("nonsense".to_owned())),
        job("untraced", 1, None),
    ];
    enqueue(&broker, given.to_vec()).await;
    let results = read(&broker, Queue::Results, given.len()).await;
    for message in given {
        let name = message.properties.message_id.expect("a name");
        assert_eq!(results[&name].properties.headers, message.properties.headers, "{name}");
    }
    assert!(!stopped(worker).await.contains("trace_id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_the_command_line_is_part_of_its_callers_trace() {
    let (_directory, broker, url) = embedded().await;
    let arguments = ["enqueue", "--product", "ecs", "--subscription-type", "PayAsYouGo", "i-1"];
    let of_caller = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for given in [vec![of_caller("TRACEPARENT", &traceparent(true)), of_caller("TRACESTATE", STATE)], vec![]] {
        let traced = !given.is_empty();
        let variables = [given, vec![variable("BROKER__URL", &url)]].concat();
        let ended = run(&arguments, &variables, "").await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        let jobs = read(&broker, Queue::Jobs, 1).await;
        let expected = if traced { job("any", 1, Some(traceparent(true))) } else { job("any", 1, None) };
        assert_eq!(jobs.values().next().expect("a job").properties.headers, expected.properties.headers);
    }
}
