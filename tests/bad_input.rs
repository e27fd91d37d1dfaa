//! What a producer may get wrong. Each bad job is answered in words that name the field and the fix, none reaches the API,
//! and the healthy jobs around it are worked on by a worker that notices nothing.

mod cases;

use std::collections::{BTreeMap, BTreeSet};

use self::cases::Expected::{Expired, Invalid, Malformed};
use self::cases::{cases, of};
use crate::support::rabbitmq::{Configuration, Node};
use crate::support::results::parsed;
use crate::support::subscriber::{PATIENCE, delivery, depth_becomes, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, Queue, Settlement};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{DEAD_KIND, Job, Message, Outcome, Properties, Status, header};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};

/// A healthy job of three ids.
fn healthy(name: &str) -> Message {
    let body = of(&format!(r#"["i-{name}-a","i-{name}-b","i-{name}-c"]"#));
    named(name, body)
}

fn named(name: &str, body: Vec<u8>) -> Message {
    Message { body, properties: Properties { message_id: Some(name.to_owned()), ..Properties::default() } }
}

async fn start(node: &Node) -> (AmqpBroker, Sandbox, Worker) {
    let settings = BrokerSettings { url: Some(node.url()), ..BrokerSettings::default() };
    let broker = AmqpBroker::new(&settings).expect("valid settings");
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let worker = Worker::start(&WorkerSettings::new(&node.url(), &sandbox, 100.0)).await;
    (broker, sandbox, worker)
}

/// Takes so many messages out of a queue.
async fn taken(broker: &dyn Broker, queue: Queue, count: usize) -> Vec<Message> {
    let mut subscription = broker.subscribe(queue, 1000);
    let mut messages = Vec::with_capacity(count);
    while messages.len() < count {
        let delivery = delivery(&mut subscription).await;
        subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
        messages.push(delivery.message);
    }
    subscription.close(PATIENCE).await;
    messages
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_job_is_answered_with_the_field_and_the_fix_and_its_neighbours_are_released() {
    // RabbitMQ 4 takes 16 MiB by default; an operator may allow more.
    let lines = "max_message_size = 134217728\n".to_owned();
    let node = Node::start(&Configuration { lines, ..Configuration::default() }).await;
    let (broker, sandbox, mut worker) = start(&node).await;
    let cases = cases();
    let names: BTreeSet<_> = cases.iter().map(|(name, ..)| *name).collect();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    println!("{} bad jobs", cases.len());

    let mut messages = vec![healthy("first")];
    for (index, (name, body, _)) in cases.iter().enumerate() {
        messages.push(named(name, body.clone()));
        messages.push(healthy(&index.to_string()));
    }
    enqueue(&broker, messages).await;

    let answered = cases.iter().filter(|(.., expected)| !matches!(expected, Malformed(_))).count();
    let mut results: BTreeMap<_, _> = taken(&broker, Queue::Results, cases.len() + 1 + answered)
        .await
        .iter()
        .map(parsed)
        .map(|result| (result.job_id.as_str().to_owned(), result))
        .collect();
    // The largest comes in two parts.
    let dead = cases.iter().filter(|(.., expected)| !matches!(expected, Expired)).count() + 1;
    let mut letters: BTreeMap<String, Vec<Message>> = BTreeMap::new();
    for letter in taken(&broker, Queue::Dead, dead).await {
        letters.entry(letter.properties.message_id.clone().expect("a name")).or_default().push(letter);
    }

    for (name, body, expected) in &cases {
        let letters = letters.remove(*name).unwrap_or_default();
        let result = results.remove(*name);
        match expected {
            Malformed(words) => {
                assert!(result.is_none(), "{name}: {result:?}");
                let explanation = explanation(&letters, "Malformed");
                assert!(explanation.contains(words), "{name}: {explanation}");
                assert!(together(&letters) == *body, "{name}: not the original bytes");
            }
            Invalid(words) => {
                let result = result.unwrap_or_else(|| panic!("{name} has no result"));
                assert_eq!(result.status, Status::Invalid, "{name}");
                assert!(result.instances.iter().all(|instance| instance.outcome == Outcome::Refused), "{name}");
                let explanation = explanation(&letters, "Invalid");
                assert!(explanation.contains(words), "{name}: {explanation}");
                let [again, job] = [&together(&letters), body].map(|body| Job::parse(body, Some("x")).unwrap());
                assert_eq!(again.ids, job.ids, "{name}");
            }
            Expired => {
                assert_eq!(result.map(|result| result.status), Some(Status::Expired), "{name}");
                assert!(letters.is_empty(), "{name}: {letters:?}");
            }
        }
    }
    assert!(letters.is_empty(), "{letters:?}");
    assert!(results.values().all(|result| result.status == Status::Released), "{results:?}");
    assert_eq!(results.len(), cases.len() + 1);
    for queue in Queue::ALL {
        depth_becomes(&broker, queue, 0).await;
    }
    let wanted: BTreeSet<_> = results
        .values()
        .flat_map(|result| result.instances.iter().map(|instance| instance.instance_id.as_str().to_owned()))
        .collect();
    let asked: BTreeSet<_> = sandbox.ledger().times_asked().into_keys().map(str::to_owned).collect();
    assert_eq!(asked, wanted, "ids of bad jobs never reach the API");
    assert!(worker.runs(), "{}", worker.errors());
    assert_eq!(worker.get("/healthz").await.0, 200);
    assert!(!worker.errors().contains("panicked"), "{}", worker.errors());
}

/// The explanation of a dead letter, in each of its parts.
fn explanation(letters: &[Message], reason: &str) -> String {
    let headers = |letter: &Message| letter.properties.headers.clone();
    let first = letters.first().map(headers).unwrap_or_default();
    for letter in letters {
        assert_eq!(letter.properties.kind.as_deref(), Some(DEAD_KIND));
        assert_eq!(headers(letter)[header::REASON], reason);
        assert_eq!(headers(letter)[header::EXPLANATION], first[header::EXPLANATION]);
    }
    first.get(header::EXPLANATION).cloned().unwrap_or_else(|| "there is no dead letter".to_owned())
}

/// The body, put together of its parts.
fn together(letters: &[Message]) -> Vec<u8> {
    let part = |letter: &Message| letter.properties.headers.get(header::PART).cloned();
    let mut letters: Vec<_> = letters.iter().collect();
    letters.sort_by_key(|letter| part(letter));
    for (index, letter) in letters.iter().enumerate() {
        let expected = (letters.len() > 1).then(|| format!("{}/{}", index + 1, letters.len()));
        assert_eq!(part(letter), expected);
    }
    letters.into_iter().flat_map(|letter| letter.body.clone()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_properties_a_message_has_it_is_answered() {
    let node = Node::start(&Configuration::default()).await;
    let (broker, sandbox, mut worker) = start(&node).await;
    worker.until("/readyz", 200, "ok").await;
    let url = node.url();
    let connection = Connection::connect(url.trim_end_matches('/'), ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let header = |name: &str, value: AMQPValue| {
        let mut headers = FieldTable::default();
        headers.insert(name.into(), value);
        BasicProperties::default().with_headers(headers)
    };
    let text = |bytes: usize| AMQPValue::LongString("x".repeat(bytes).into());
    let cases = [
        ("none at all", BasicProperties::default()),
        ("an empty name", BasicProperties::default().with_message_id("".into())),
        ("a name with control characters", BasicProperties::default().with_message_id("a\r\n\0b".into())),
        ("the longest name", BasicProperties::default().with_message_id("n".repeat(255).into())),
        ("the largest timestamp", BasicProperties::default().with_timestamp(u64::MAX)),
        ("a timestamp in milliseconds", BasicProperties::default().with_timestamp(4_000_000_000_000)),
        ("another type", BasicProperties::default().with_type("text/xml".into())),
        ("a reply to nobody", BasicProperties::default().with_reply_to("no.such.queue".into())),
        ("the longest priority", BasicProperties::default().with_priority(255)),
        ("a replay that is no number", header("bulkrelease-replay", text(20))),
        ("a replay below zero", header("bulkrelease-replay", AMQPValue::LongLongInt(-1))),
        ("a header that is a table", header("traceparent", AMQPValue::FieldTable(FieldTable::default()))),
        ("a header of bytes", header("traceparent", AMQPValue::LongString(vec![0xff, 0, 0xfe].into()))),
        ("a header as long as a frame", header("traceparent", text(131_000))),
        ("a name of the broker's own header", header("x-delivery-count", text(100_000))),
    ];
    for (index, (_, properties)) in cases.iter().enumerate() {
        let job = of(&format!(r#"["i-{index}"]"#));
        for body in [job.as_slice(), b"no job"] {
            let options = BasicPublishOptions::default();
            let sent = channel.basic_publish("".into(), "release.jobs".into(), options, body, properties.clone());
            sent.await.unwrap();
        }
    }
    let released: BTreeSet<_> = taken(&broker, Queue::Results, cases.len())
        .await
        .iter()
        .map(parsed)
        .flat_map(|result| result.instances.into_iter().map(|instance| instance.instance_id.as_str().to_owned()))
        .collect();
    for (index, (name, _)) in cases.iter().enumerate() {
        assert!(released.contains(&format!("i-{index}")), "{name}: no result");
    }
    for letter in taken(&broker, Queue::Dead, cases.len()).await {
        assert_eq!(letter.body, b"no job");
    }
    for queue in Queue::ALL {
        depth_becomes(&broker, queue, 0).await;
    }
    assert_eq!(sandbox.counts().ids_released, cases.len() as u64);
    assert!(worker.runs() && !worker.errors().contains("session lost"), "{}", worker.errors());
}
