//! Set-ups of a broker, each in a virtual host of its own, and what is to be found there.

use bulkrelease::broker::Broker;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::config::BrokerSettings;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use reqwest::Method;
use serde_json::{Value, json};

use super::house::House;
use crate::support::worker::variable;

pub struct Case {
    pub virtual_host: &'static str,
    pub codes: Vec<&'static str>,
    pub soundness: &'static str,
    pub arguments: Vec<&'static str>,
    /// Beside those of the house.
    own: Vec<(String, String)>,
    /// AMQP alone tells it as well.
    pub seen_by_amqp: bool,
}

impl Case {
    fn new(virtual_host: &'static str, codes: &[&'static str]) -> Self {
        let soundness = if codes.is_empty() { "sound" } else { "findings" };
        let arguments = vec!["--consumer-timeout", "30m"];
        Self { virtual_host, codes: codes.to_vec(), soundness, arguments, own: Vec::new(), seen_by_amqp: false }
    }

    /// Found by what a declaration is told as well.
    fn seen_by_amqp(self) -> Self {
        Self { seen_by_amqp: true, ..self }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.own.push(variable(name, value));
        self
    }

    /// Only a note is found, or nothing that matters.
    fn is(self, soundness: &'static str) -> Self {
        Self { soundness, ..self }
    }

    fn told(self, arguments: &[&'static str]) -> Self {
        Self { arguments: arguments.to_vec(), ..self }
    }

    pub fn variables(&self, house: &House) -> Vec<(String, String)> {
        // The later one of a name holds.
        [house.variables(self.virtual_host), self.own.clone()].concat()
    }
}

/// Makes every set-up.
pub async fn set_up(house: &House) -> Vec<Case> {
    let mut cases = vec![
        Case::new("healthy", &[]),
        Case::new("healthy", &[]).told(&[]).is("unchecked"),
        Case::new("healthy", &["consumer-timeout-too-short"]).told(&["--consumer-timeout", "1m"]),
        Case::new("healthy", &["prefetch-below-batch"]).with("BROKER__PREFETCH", "10").seen_by_amqp(),
        Case::new("healthy", &["heartbeat-unsuitable"]).with("BROKER__HEARTBEAT", "2s"),
        Case::new("nowhere", &["broker-login-refused"]),
        Case::new("empty", &["not-set-up"]).is("sound"),
        Case::new("empty", &["entity-missing"]).with("BROKER__DECLARE", "false"),
    ];
    declared(house, "healthy").await;
    house.virtual_host("empty").await;
    let stranger = house.node.url().replace("amqp://", "amqp://guest:geheim@") + "healthy";
    cases.push(Case::new("healthy", &["broker-login-refused"]).with("BROKER__URL", &stranger));
    cases.push(Case::new("healthy", &["broker-unreachable"]).with("BROKER__URL", "amqp://127.0.0.1:1/"));

    cases.extend(queues_of_another_kind(house).await);
    cases.extend(policies(house).await);
    cases.extend(others(house).await);
    cases
}

async fn declared(house: &House, name: &str) {
    let settings = BrokerSettings { url: Some(house.virtual_host(name).await), ..BrokerSettings::default() };
    let broker = AmqpBroker::new(&settings).expect("valid settings");
    // Where something differs the rest is declared all the same.
    drop(broker.declare().await);
}

async fn operator(house: &House, name: &str) -> (Connection, Channel) {
    let url = house.virtual_host(name).await;
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

fn table(arguments: &[(&str, AMQPValue)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    table
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

async fn queues_of_another_kind(house: &House) -> Vec<Case> {
    let (kind, limit) = ("x-queue-type", "x-delivery-limit");
    let (overflow, strategy, target) = ("x-overflow", "x-dead-letter-strategy", "x-dead-letter-exchange");
    let many = AMQPValue::LongLongInt(1_000_000_000);
    let retry = |ttl: i64| {
        vec![
            (kind, text("quorum")),
            (limit, many.clone()),
            (target, text("release.jobs")),
            (overflow, text("reject-publish")),
            (strategy, text("at-least-once")),
            ("x-message-ttl", AMQPValue::LongLongInt(ttl)),
        ]
    };
    let without = |argument: &str| retry(10_000).into_iter().filter(|(name, _)| *name != argument).collect::<Vec<_>>();
    let quorum = |deliveries: i64| vec![(kind, text("quorum")), (limit, AMQPValue::LongLongInt(deliveries))];
    let is_4 = house.is_4();
    let set_ups = [
        ("dead-limit", "release.dead", quorum(20), "delivery-limit-wears-out"),
        (
            "archive-limit",
            "release.archive",
            quorum(-1),
            if is_4 { "queue-differs" } else { "delivery-limit-destroys" },
        ),
        ("overflow", "release.retry.10s", without(overflow), "overflow-drops"),
        ("strategy", "release.retry.10s", without(strategy), "dead-letter-strategy-drops"),
        ("target", "release.retry.10s", without(target), "dead-letter-exchange-differs"),
        ("never", "release.retry.10s", without("x-message-ttl"), "retry-never-returns"),
        ("delay", "release.retry.10s", retry(9_000), "retry-delay-differs"),
        ("classic-results", "release.results", vec![(kind, text("classic"))], "queue-type-differs"),
        (
            "classic-retry",
            "release.retry.10s",
            vec![
                (kind, text("classic")),
                (target, text("release.jobs")),
                ("x-message-ttl", AMQPValue::LongLongInt(10_000)),
            ],
            "retry-queue-classic",
        ),
    ];
    let mut cases = Vec::new();
    for (name, queue, arguments, code) in set_ups {
        let (connection, channel) = operator(house, name).await;
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, table(&arguments)).await.expect(name);
        connection.close(200, "OK".into()).await.expect("the end");
        declared(house, name).await;
        let case = Case::new(name, &[code]);
        // Of a classic one a declaration is told of its overflow first, and of nothing else.
        cases.push(if code == "retry-queue-classic" { case } else { case.seen_by_amqp() });
    }
    cases
}

async fn policies(house: &House) -> Vec<Case> {
    let set_ups: [(&str, &str, &str, Value, &str); 6] = [
        ("jobs-limit", "policies", "release.jobs", json!({"delivery-limit": 10}), "jobs-delivery-limit-low"),
        ("jobs-ttl", "policies", "release.jobs", json!({"message-ttl": 86_400_000}), "messages-expire"),
        ("results-length", "policies", "release.results", json!({"max-length": 1000}), "length-limit-drops"),
        ("jobs-length", "policies", "release.jobs", json!({"max-length-bytes": 100_000}), "length-limit-blocks"),
        ("dead-expires", "operator-policies", "release.dead", json!({"expires": 86_400_000}), "queue-expires"),
        ("dead-wears", "operator-policies", "release.dead", json!({"delivery-limit": 20}), "delivery-limit-wears-out"),
    ];
    let mut cases = Vec::new();
    for (name, kind, queue, definition, code) in set_ups {
        house.virtual_host(name).await;
        let pattern = format!("^{}$", queue.replace('.', "\\."));
        let policy = json!({"pattern": pattern, "definition": definition, "apply-to": "queues"});
        house.ask(Method::PUT, &format!("{kind}/{name}/wrong"), policy).await;
        declared(house, name).await;
        cases.push(Case::new(name, &[code]));
    }
    cases
}

async fn others(house: &House) -> Vec<Case> {
    let (connection, channel) = operator(house, "alternate").await;
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declaring =
        channel.exchange_declare("release.results".into(), ExchangeKind::Topic, options, FieldTable::default());
    declaring.await.expect("an exchange");
    connection.close(200, "OK".into()).await.expect("the end");
    declared(house, "alternate").await;

    declared(house, "binding").await;
    let binding = "bindings/binding/e/release.results/q/release.results/%23";
    house.ask(Method::DELETE, binding, json!({})).await;

    for (name, queue) in [("unrouted", "release.unrouted"), ("letters", "release.dead"), ("jobs", "release.jobs")] {
        declared(house, name).await;
        publish(house, name, queue).await;
    }

    declared(house, "rights").await;
    house.ask(Method::PUT, "users/clerk", json!({"password": "clerk", "tags": "monitoring"})).await;
    house.permit("rights", "clerk", "^(?!release\\.retry$).*").await;
    let clerk = |virtual_host: &str| house.node.url().replace("amqp://", "amqp://clerk:clerk@") + virtual_host;
    // Each of the rights that beacons need, taken away alone.
    let everything = ".*";
    for (name, configure, write, read) in [
        ("mute", everything, "^(?!release\\.fleet$).*", everything),
        ("deaf", everything, everything, "^(?!release\\.fleet$).*"),
        ("without-queue", "^(?!release\\.fleet\\.).*", everything, everything),
    ] {
        declared(house, name).await;
        let rights = json!({"configure": configure, "write": write, "read": read});
        house.ask(Method::PUT, &format!("permissions/{name}/clerk"), rights).await;
    }
    let beacons = |name| Case::new(name, &["beacons-not-permitted"]).with("BROKER__URL", &clerk(name)).seen_by_amqp();
    vec![
        beacons("mute"),
        beacons("deaf"),
        beacons("without-queue"),
        beacons("without-queue").with("BROKER__DECLARE", "false"),
        Case::new("alternate", &["alternate-exchange-missing"]).seen_by_amqp(),
        Case::new("binding", &["binding-missing"]),
        Case::new("unrouted", &["unrouted-messages"]).seen_by_amqp(),
        Case::new("letters", &["dead-letters-wait"]).is("sound"),
        Case::new("jobs", &["no-worker-consumes"]).is("sound"),
        Case::new("rights", &["right-missing"]).with("BROKER__URL", &clerk("rights")).seen_by_amqp(),
    ]
}

async fn publish(house: &House, name: &str, queue: &str) {
    let (connection, channel) = operator(house, name).await;
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default().with_delivery_mode(2));
    let confirm = channel.basic_publish("".into(), queue.into(), options, b"{}", properties).await.expect("a socket");
    assert!(confirm.await.expect("an answer").is_ack());
    connection.close(200, "OK".into()).await.expect("the end");
}
