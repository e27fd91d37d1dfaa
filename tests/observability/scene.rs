//! A run that has everything in it: two workers, a broker, an API, a producer and a Prometheus that watches them, and each
//! state that dashboards and alerts speak of, one after the other. A state lasts until Prometheus has seen it.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::BrokerSettings;
use bulkrelease::contract::{ARCHIVE, DEAD, Message, Properties, UNROUTED};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::timeout;

use super::prometheus::Prometheus;
use super::{file, http};
use crate::support::program::{self, Program};
use crate::support::proxy::Proxy;
use crate::support::rabbitmq::{Configuration, Node, free_ports};
use crate::support::subscriber::{PATIENCE, delivery, enqueue};
use crate::support::worker::{Worker, WorkerSettings, variable};

/// What both workers together keep to, or each alone: more than the run needs is made to wait by the states themselves.
const CALLS_PER_SECOND: f64 = 40.0;

/// Jobs of the producer, one of which is none.
const PRODUCED: usize = 70;

pub struct Scene {
    pub prometheus: Prometheus,
    node: Node,
    /// Between the workers and the node.
    network: Proxy,
    broker: AmqpBroker,
    sandbox: Sandbox,
    management: SocketAddr,
    settings: [WorkerSettings; 2],
    first: Option<Worker>,
    second: Option<Worker>,
    protected: NamedTempFile,
    /// So that no two jobs bear a name.
    jobs: usize,
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

impl Scene {
    pub async fn set() -> Self {
        let [management, rabbitmq, first, second] = free_ports();
        let node = node(management, rabbitmq).await;
        import_definitions(&node);
        let network = Proxy::start(vec![node.address()]).await.expect("a proxy");
        let url = |address| format!("amqp://bulkrelease:bulkrelease@{address}/%2f");
        let broker = BrokerSettings { url: Some(url(node.address())), ..BrokerSettings::default() };
        let broker = AmqpBroker::new(&broker).expect("settings");
        let url = url(network.address());
        let sandbox = SandboxSettings {
            listen: SandboxSettings::default().listen,
            calls_per_second: None,
            faults: Vec::new(),
            latency: Duration::from_millis(20),
            latency_p99: None,
            ..file("config/compose/sandbox.toml").parse().expect("settings")
        };
        let sandbox = Sandbox::start(sandbox).await.expect("a sandbox");
        let targets = [("bulkrelease", vec![local(first), local(second)]), ("rabbitmq", vec![local(rabbitmq)])];
        // Before the workers: a counter's first step must not be its first value.
        let own = ("prometheus", Vec::new());
        let mut prometheus = Prometheus::start(&[&targets[..], &[own]].concat()).await;
        let protected = NamedTempFile::new().expect("a file");
        let guard = protected.path().to_str().expect("a path in UTF-8");
        let settings = [first, second].map(|port| worker(&url, &sandbox, port).with("SAFETY__PROTECTED_FILE", guard));
        let (first, second) = tokio::join!(Worker::start(&settings[0]), Worker::start(&settings[1]));
        let management = local(management);
        let (first, second) = (Some(first), Some(second));
        prometheus.until("count(up{job=\"bulkrelease\"} == 1) == 2").await;
        prometheus.begin();
        Self { prometheus, node, network, broker, sandbox, management, settings, first, second, protected, jobs: 0 }
    }

    /// From now on calls fail so.
    async fn faults(&self, faults: serde_json::Value) {
        let url = format!("http://{}/_sandbox/faults", self.sandbox.address());
        http::put(&http::client(), &url, faults.to_string()).await;
    }

    /// Enqueues jobs with an id each, but for what is said of them.
    async fn enqueue(&mut self, count: usize, more: impl Fn(usize) -> serde_json::Value) {
        let jobs = (0..count).map(|number| {
            self.jobs += 1;
            let id = format!("i-scene-{}", self.jobs);
            let mut body = json!({"ProductCode": "ecs", "SubscriptionType": "PayAsYouGo", "InstanceIds": [id]});
            let more = more(number);
            body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            let properties = Properties { message_id: Some(format!("scene-{}", self.jobs)), ..Properties::default() };
            Message { body: body.to_string().into_bytes(), properties }
        });
        let jobs = jobs.collect();
        enqueue(&self.broker, jobs).await;
    }

    /// The producer of docker-compose.yml.
    pub async fn an_ordinary_day(&self) {
        let mut command = Command::new("sh");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/compose/producer.sh"));
        command.env("RABBITMQ_API", format!("http://{}/api", self.management));
        command.envs([("RABBITMQ_USER", "bulkrelease"), ("RABBITMQ_PASSWORD", "bulkrelease"), ("PAUSE", "0")]);
        command.env("JOBS", PRODUCED.to_string());
        let ended = Program::spawn(command, "").ended(program::PATIENCE).await;
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""));
        let results = format!("sum(bulkrelease_results_confirmed_total) >= {}", PRODUCED - 1);
        for seen in [
            results.as_str(),
            "sum(bulkrelease_jobs_finished_total{status=\"Released\"}) > 0",
            "sum(bulkrelease_jobs_finished_total{status=\"Partial\"}) > 0",
            "sum(bulkrelease_instances_total{outcome=\"AlreadyGone\"}) > 0",
            "sum(bulkrelease_instances_total{outcome=\"Rejected\"}) > 0",
            "sum(bulkrelease_dead_letters_total{reason=\"Malformed\"}) == 1",
            "sum(bulkrelease_batches_sealed_total{reason=\"split\"}) > 0",
        ] {
            self.prometheus.until(seen).await;
        }
        self.prometheus.until_alert("BulkreleaseNewKindOfDeadLetter").await;
        self.prometheus.until_alert("BulkreleaseDeadLettersGrow").await;
    }

    pub async fn jobs_that_are_not_called(&mut self) {
        self.enqueue(1, |_| json!({"DryRun": true})).await;
        self.enqueue(1, |_| json!({"NotAfter": "2020-01-01T00:00:00Z"})).await;
        self.enqueue(1, |_| json!({"Account": "nobody"})).await;
        for status in ["DryRun", "Expired", "Invalid"] {
            self.prometheus.until(&format!("sum(bulkrelease_jobs_finished_total{{status=\"{status}\"}}) > 0")).await;
        }
    }

    /// Meanwhile connections break.
    pub async fn many_groups_of_one(&mut self) {
        self.enqueue(600, |number| json!({"Region": format!("region-{number}")})).await;
        self.prometheus.until_alert("BulkreleaseBatchesPartFilled").await;
        self.prometheus.until_alert("BulkreleaseJobTooOld").await;
        self.prometheus.until_ever("sum(rate(bulkrelease_permit_wait_seconds_sum[8s])) > 0").await;
        // The first ones may be done by now, and the cut must find something in the workers' hands.
        self.enqueue(600, |number| json!({"Region": format!("late-region-{number}")})).await;
        self.prometheus.until("sum(bulkrelease_held_deliveries) > 100").await;
        self.network.cut();
        self.prometheus.until_alert("BulkreleaseReconnects").await;
        self.prometheus.until("sum(bulkrelease_jobs_received_total{redelivered=\"true\"}) > 0").await;
    }

    /// Throttled, then without a clear word, and one id that is never settled.
    pub async fn a_bad_hour_of_the_api(&mut self) {
        self.faults(json!([{"answer": "throttled", "share": 0.3}])).await;
        self.enqueue(60, |number| json!({"Region": format!("throttled-{number}")})).await;
        self.prometheus.until_alert("BulkreleaseThrottled").await;
        self.faults(json!([
            {"answer": "internal-error", "ids": "i-stuck"},
            {"answer": "reset", "share": 0.4, "lands": true},
        ]))
        .await;
        self.enqueue(1, |_| json!({"Region": "stuck", "InstanceIds": ["i-stuck"]})).await;
        self.enqueue(80, |number| json!({"Region": format!("unclear-{number}")})).await;
        self.prometheus.until_alert("BulkreleaseUnknownCalls").await;
        self.prometheus.until("sum(bulkrelease_jobs_postponed_total{why=\"failed\"}) > 0").await;
        self.prometheus.until("sum(bulkrelease_jobs_received_total{kind=\"remainder\"}) > 0").await;
        self.prometheus.until("sum(bulkrelease_calls_total{class=\"listed\"}) > 0").await;
        self.faults(json!([{"answer": "internal-error", "ids": "i-stuck"}])).await;
        self.prometheus.until_alert("BulkreleaseInstancesUnresolved").await;
    }

    /// Meanwhile a worker is killed and comes back.
    pub async fn a_key_is_switched_off(&mut self) {
        self.faults(json!([{"answer": "key-inactive"}])).await;
        self.enqueue(50, |number| json!({"Region": format!("held-{number}")})).await;
        self.prometheus.until_alert("BulkreleaseAccountHeld").await;
        self.prometheus.until("sum(bulkrelease_jobs_postponed_total{why=\"held\"}) > 0").await;
        self.first.take().expect("a worker").kill();
        self.prometheus.until_alert("BulkreleaseWorkerDown").await;
        self.first = Some(Worker::start(&self.settings[0]).await);
        self.prometheus.until_alert("BulkreleaseWorkerRestarts").await;
        self.faults(json!([])).await;
        self.prometheus.until("sum(bulkrelease_account_held) == 0").await;
    }

    /// Once as they were, and once without the file of protected ids.
    pub async fn settings_are_read_again(&self) {
        let worker = self.second.as_ref().expect("a worker");
        worker.reload();
        self.prometheus.until("sum(bulkrelease_settings_reloads_total{result=\"applied\"}) > 0").await;
        std::fs::remove_file(self.protected.path()).expect("removed");
        worker.reload();
        self.prometheus.until_alert("BulkreleaseSettingsRefused").await;
        std::fs::write(self.protected.path(), "").expect("written");
    }

    /// One kind of letters is discarded, and somebody looks at the others.
    pub async fn people_mend_it(&mut self) {
        let discard = ["dead", "discard", "--reason", "Malformed", "--yes"];
        let ended = program::run(&discard, self.settings[0].variables(), "").await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        self.prometheus.until(&format!("bulkrelease:queue_messages:max{{queue=\"{ARCHIVE}\"}} == 1")).await;
        let mut looking = self.broker.subscribe(Queue::Dead, 10);
        delivery(&mut looking).await;
        self.prometheus.until(&format!("rabbitmq_queue_messages_unacked{{queue=\"{DEAD}\"}} > 0")).await;
        looking.close(PATIENCE).await;
    }

    /// Workers came and went, alone and together, and somebody has asked the doctor.
    pub async fn nothing_has_gone_astray_so_far(&self) {
        let management = variable("BROKER__MANAGEMENT_URL", &format!("http://{}", self.management));
        let variables = [self.settings[0].variables(), &[management]].concat();
        let examined = program::run(&["doctor"], &variables, "").await;
        assert!(examined.output.contains("what is published is read"), "{}", examined.output);
        for series in ["returned", "dropped"] {
            self.prometheus.until(&format!("sum(rabbitmq_global_messages_unroutable_{series}_total) == 0")).await;
        }
        let fired = self.prometheus.history("ALERTS{alertname=\"RabbitMQUnroutable\"}").await;
        assert!(fired.is_empty(), "{fired:?}");
    }

    /// Rejected, too many, delivered too often; published to nowhere, with and without a word.
    pub async fn messages_go_astray_in_the_broker(&self) {
        let connection = Connection::connect(self.node.url().trim_end_matches('/'), ConnectionProperties::default())
            .await
            .expect("RabbitMQ");
        let channel = connection.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        for (queue, bound) in [
            ("astray-rejected", None),
            ("astray-limit", Some("x-delivery-limit")),
            ("astray-many", Some("x-max-length")),
        ] {
            declare(&channel, queue, bound).await;
        }
        for (exchange, key, mandatory) in [
            ("", "astray-rejected", false),
            ("", "astray-limit", false),
            ("", "astray-many", false),
            ("", "astray-many", false),
            ("", "nowhere", false),
            ("", "nowhere", true),
            (UNROUTED, "", false),
        ] {
            let options = BasicPublishOptions { mandatory, ..BasicPublishOptions::default() };
            let publishing =
                channel.basic_publish(exchange.into(), key.into(), options, b"astray", BasicProperties::default());
            publishing.await.expect("sent").await.expect("confirmed");
        }
        for (queue, requeue) in [("astray-rejected", false), ("astray-limit", true)] {
            let consumer =
                channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
            let mut consumer = consumer.await.expect("a consumer");
            for _ in 0..if requeue { 2 } else { 1 } {
                use futures_util::StreamExt;
                let next = timeout(PATIENCE, consumer.next()).await.expect("a delivery in time");
                let delivered = next.expect("a delivery").expect("a delivery");
                delivered.reject(BasicRejectOptions { requeue }).await.expect("rejected");
            }
        }
        for reason in ["rejected", "maxlen", "delivery_limit"] {
            self.prometheus
                .until(&format!("sum(rate(rabbitmq_global_messages_dead_lettered_{reason}_total[8s])) > 0"))
                .await;
        }
        for alert in ["RabbitMQDeadLettered", "RabbitMQUnroutable", "BulkreleaseResultsUnrouted"] {
            self.prometheus.until_alert(alert).await;
        }
        connection.close(200, "OK".into()).await.expect("closed");
    }

    /// It gives back what it has not begun, and sends on what it can't finish in time.
    pub async fn a_worker_stops_in_the_middle(&mut self) {
        self.faults(json!([{"answer": "hang", "hang_for": "3s"}])).await;
        self.enqueue(200, |number| json!({"Region": format!("late-{number}")})).await;
        self.prometheus.until("min(bulkrelease_calls_under_way) > 0").await;
        self.first.as_ref().expect("a worker").terminate();
        self.prometheus.until_ever("sum(rate(bulkrelease_deliveries_given_back_total[8s])) > 0").await;
        self.prometheus.until_ever("sum(bulkrelease:queue_messages:max{queue=~\"release.retry.+\"}) > 0").await;
        self.prometheus.until_ever("sum(rate(rabbitmq_global_messages_dead_lettered_expired_total[8s])) > 0").await;
    }

    pub async fn promtool_finds_no_fault_with_the_metrics(&self) {
        let (_, metrics) = self.second.as_ref().expect("a worker").get("/metrics").await;
        let mut command = Command::new("promtool");
        command.args(["check", "metrics"]);
        let ended = Program::spawn(command, &metrics).ended(program::PATIENCE).await;
        assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{}", ended.output);
    }

    pub async fn no_worker_is_left(&mut self) {
        self.second.take().expect("a worker").kill();
        self.enqueue(5, |_| json!({})).await;
        self.prometheus.until_alert("BulkreleaseWorkersAbsent").await;
        self.prometheus.until_alert("BulkreleaseBacklogStuck").await;
    }

    /// Then it is gone.
    pub async fn the_broker_is_full(&mut self) {
        self.node.control(&["set_vm_memory_high_watermark", "absolute", "1MB"]);
        self.node.control(&["set_disk_free_limit", "1000000GB"]);
        for alarm in ["memory_used", "free_disk_space"] {
            self.prometheus.until_ever(&format!("rabbitmq_alarms_{alarm}_watermark == 1")).await;
        }
        self.prometheus.until_alert("RabbitMQAlarm").await;
        self.node.kill();
        self.prometheus.until_alert("RabbitMQAbsent").await;
    }
}

/// A node with the plugins of `docker-compose.yml` that counts often.
async fn node(management: u16, prometheus: u16) -> Node {
    let lines = format!(
        "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management}\nprometheus.tcp.ip = 127.0.0.1\n\
         prometheus.tcp.port = {prometheus}\nprometheus.return_per_object_metrics = true\n"
    );
    let plugins = file("config/rabbitmq/enabled_plugins");
    let configuration = Configuration {
        lines,
        advanced: "[{rabbit, [{quorum_tick_interval, 300}, {collect_statistics_interval, 300}]}].\n".to_owned(),
        plugins: plugins.trim().trim_start_matches('[').trim_end_matches("].").to_owned(),
    };
    let node = Node::start(&configuration).await;
    node.until_it_listens_at(management).await;
    node.until_it_listens_at(prometheus).await;
    node
}

/// As `docker-compose.yml` has it: the workers, which declare everything again, would not start if anything differed.
fn import_definitions(node: &Node) {
    // A node of another root directory sees no other files than temporary ones.
    let copy = tempfile::Builder::new().suffix(".json").tempfile().expect("a file");
    std::fs::write(copy.path(), file("config/rabbitmq/definitions.json")).expect("written");
    std::fs::set_permissions(copy.path(), std::fs::Permissions::from_mode(0o644)).expect("readable");
    node.control(&["import_definitions", copy.path().to_str().expect("a path in UTF-8")]);
}

/// A worker that gives up, and waits, for a short time.
fn worker(url: &str, sandbox: &Sandbox, port: u16) -> WorkerSettings {
    WorkerSettings::new(url, sandbox, CALLS_PER_SECOND)
        .with("OPS__LISTEN", &local(port).to_string())
        .with("RETRY__STEPS", "[\"500ms\", \"2s\"]")
        .with("RETRY__INITIAL_INTERVAL", "50ms")
        .with("RETRY__MAX_INTERVAL", "500ms")
        .with("RETRY__ATTEMPTS_IN_PROCESS", "2")
        .with("RETRY__MAX_ATTEMPTS", "4")
        .with("WORKER__MAX_HOLD", "4s")
        .with("WORKER__MAX_WAIT", "1s")
        .with("WORKER__DRAIN_DEADLINE", "3s")
        .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "2s")
        .with("ACCOUNTS__DEFAULT__READ_BACK", "true")
        .with("ACCOUNTS__DEFAULT__ATOMIC", "true")
}

/// A quorum queue whose dead letters go to the default exchange, where nobody is: only that they went counts.
async fn declare(channel: &Channel, queue: &str, bound: Option<&str>) {
    let mut arguments = FieldTable::default();
    for (name, text) in
        [("x-queue-type", "quorum"), ("x-dead-letter-exchange", ""), ("x-dead-letter-routing-key", NOBODY)]
    {
        arguments.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    if let Some(bound) = bound {
        arguments.insert(bound.into(), AMQPValue::LongLongInt(1));
    }
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.into(), options, arguments).await.expect("declared");
}

const NOBODY: &str = "nobody";
