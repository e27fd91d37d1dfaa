//! The command line as people and scripts meet it: what each command prints, how it ends, and that an error names what to
//! change.

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::orders::{messages, orders};
use crate::support::program::{Ended, run};
use crate::support::rabbitmq::{Configuration, Node};
use crate::support::results::Results;
use crate::support::subscriber::{PATIENCE, deliveries, depth_becomes, enqueue, take};
use crate::support::worker::{Worker, WorkerSettings, variable};
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::{BrokerSettings, RetrySettings};
use bulkrelease::contract::{Job, Priority};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::time::sleep;

/// A crash of the broker within a second of declaring a quorum queue may leave the queue without a leader.
const QUEUE_IS_SAFE: Duration = Duration::from_secs(3);

fn broker(url: &str) -> AmqpBroker {
    let settings = BrokerSettings { url: Some(url.to_owned()), ..BrokerSettings::default() };
    AmqpBroker::new(&settings).expect("valid settings")
}

/// A command that must succeed: what it printed.
async fn output(arguments: &[&str], variables: &[(String, String)], input: &str) -> String {
    let ended = run(arguments, variables, input).await;
    assert_eq!(ended.code, Some(0), "{arguments:?}: {ended:?}");
    ended.output
}

/// A command that must fail and say all of these words.
async fn refused(arguments: &[&str], variables: &[(String, String)], input: &str, words: &[&str]) {
    let Ended { code, output, errors } = run(arguments, variables, input).await;
    assert!(matches!(code, Some(1 | 2)), "{arguments:?} ends with {code:?}: {output}{errors}");
    assert_eq!(output, "", "{arguments:?}");
    for words in words {
        assert!(errors.contains(words), "{arguments:?} does not say {words:?}: {errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_agrees_with_its_own_ledger_whatever_the_seed() {
    let (first, second) = tokio::join!(output(&["demo"], &[], ""), output(&["demo", "--seed", "2"], &[], ""));
    for printed in [&first, &second] {
        for words in ["300 jobs answered", "the fewest possible", "every result agrees with the sandbox's own ledger"] {
            assert!(printed.contains(words), "{words:?} is missing in:\n{printed}");
        }
    }
    assert_ne!(first, second);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_explains_itself() {
    let help = output(&["--help"], &[], "").await;
    let listed = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let commands: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.len() >= 7 && commands.contains(&"worker") && commands.contains(&"demo"), "{commands:?}");
    for command in commands.into_iter().filter(|command| *command != "help") {
        let short = output(&[command, "--help"], &[], "").await;
        assert!(short.contains(&format!("Usage: bulkrelease {command}")), "{short}");
        let about = short.lines().next().unwrap();
        // The list may shorten it, or break it.
        assert!(listed.contains(&about.chars().take(30).collect::<String>()), "{about}");
    }
    assert!(output(&["config", "check", "--help"], &[], "").await.contains("FILE"));
    assert!(output(&["--version"], &[], "").await.starts_with("bulkrelease "));
    refused(&["release"], &[], "", &["unrecognized subcommand 'release'", "Usage:"]).await;
    refused(&[], &[], "", &["Usage:"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_is_told_of_the_wrong_file_and_of_a_wrong_key_without_its_secret() {
    refused(&["sandbox", "--config", "x.toml"], &[], "", &["--config", "--file FILE"]).await;
    // The variable is for the other commands, and no reason not to start.
    let variables = [("BULKRELEASE_CONFIG".to_owned(), "/no/such/file".to_owned())];
    let ended = run(&["sandbox", "--access-key", "id-and-hidden"], &variables, "").await;
    assert!(ended.code == Some(1) && ended.errors.contains("--access-key, number 1"), "{ended:?}");
    assert!(!ended.errors.contains("hidden"), "{ended:?}");
    refused(&["config"], &variables, "", &["/no/such/file"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_enqueued_from_arguments_files_and_standard_input() {
    let node = Node::shared().await;
    let url = node.virtual_host("enqueue");
    let variables = [variable("BROKER__URL", &url)];
    let broker = broker(&url);
    broker.declare().await.unwrap();
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ecs = ["enqueue", "--product", "ecs", "--subscription-type", "PayAsYouGo"];
    let all = |more: &[&'static str]| [&ecs, more].concat();

    let printed =
        output(&all(&["i-1", "i-2", "--region", "x", "--label", "a=b", "--priority", "high"]), &variables, "").await;
    let mut names: Vec<String> = printed.lines().map(str::to_owned).collect();
    let ids = write("ids.txt", "i-3\n\n  i-4  \ni-5\r\n");
    let printed = output(&[&ecs[..], &["--file", &ids, "--ids-per-job", "2"]].concat(), &variables, "").await;
    names.extend(printed.lines().map(str::to_owned));
    let printed = output(&all(&["--file", "-", "--dry-run"]), &variables, "i-6\ni-7").await;
    names.extend(printed.lines().map(str::to_owned));
    let job = r#"{"JobId":"mine","ProductCode":"rds","SubscriptionType":"Subscription","InstanceIds":"rm-1,rm-2"}"#;
    let jobs = write("jobs.jsonl", &format!("{job}\n\n{}\n", job.replace(r#""JobId":"mine","#, "")));
    let printed = output(&["enqueue", "--jobs", &jobs], &variables, "").await;
    names.extend(printed.lines().map(str::to_owned));

    let mut subscription = broker.subscribe(Queue::Jobs, 100);
    let delivered = deliveries(&mut subscription, 6).await;
    let mut jobs = Vec::new();
    for delivery in &delivered {
        jobs.push(Job::parse(&delivery.message.body, delivery.message.properties.message_id.as_deref()).unwrap());
        subscription.settle(take(delivery));
    }
    subscription.close(PATIENCE).await;
    let ids = |job: &Job| job.ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let mut wanted = ["i-1 i-2", "i-3 i-4", "i-5", "i-6 i-7", "rm-1 rm-2", "rm-1 rm-2"].map(str::to_owned);
    let mut found: Vec<_> = jobs.iter().map(ids).collect();
    wanted.sort();
    found.sort();
    assert_eq!(found, wanted);
    let mut found: Vec<_> = jobs.iter().map(|job| job.id.as_str().to_owned()).collect();
    names.sort();
    found.sort();
    assert_eq!(found, names, "what is printed are the jobs' names");
    assert!(names.contains(&"mine".to_owned()), "{names:?}");
    let dry: Vec<_> = jobs.iter().filter(|job| job.dry_run).map(ids).collect();
    assert_eq!(dry, ["i-6 i-7"]);
    let urgent: Vec<_> = jobs.iter().filter(|job| job.priority == Priority::High).map(ids).collect();
    assert_eq!(urgent, ["i-1 i-2"]);
    assert_eq!(jobs.iter().filter(|job| job.labels.get("a").is_some_and(|value| value == "b")).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_enqueued_of_an_input_with_a_mistake() {
    let node = Node::shared().await;
    let url = node.virtual_host("mistakes");
    let variables = [variable("BROKER__URL", &url)];
    let broker = broker(&url);
    broker.declare().await.unwrap();
    let ecs = ["enqueue", "--product", "ecs", "--subscription-type", "PayAsYouGo"];
    let all = |more: &[&'static str]| [&ecs, more].concat();
    let job = r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#;
    let bad = job.replace("i-1", "i-1,i-2");

    let cases: [(Vec<&str>, String, &[&str]); 16] = [
        (all(&["--file", "-"]), "i-1\ni-2\ni-3,i-4\ni-5".to_owned(), &["line 3", "holds a comma"]),
        (all(&["--file", "-"]), "i-1\ni-2\ni-1".to_owned(), &["line 3", "i-1 stands in line 1 already"]),
        (all(&["--file", "-"]), "\n\n".to_owned(), &["no instance ids"]),
        (all(&["--file", "no/such/file"]), String::new(), &["no/such/file"]),
        (all(&["i-1", "i 2"]), String::new(), &["argument 2", "white space"]),
        (all(&["i-1", "--not-after", "tomorrow"]), String::new(), &["NotAfter: "]),
        (all(&["i-1", "--label", "team"]), String::new(), &["--label: write NAME=VALUE"]),
        (all(&["i-1", "--renew-status", "Never"]), String::new(), &["RenewStatus: "]),
        (all(&["i-1", "--priority", "urgent"]), String::new(), &["--priority", "high, normal, low"]),
        (vec!["enqueue", "--jobs", "-", "--priority", "high"], job.to_owned(), &["cannot be used with"]),
        (vec!["enqueue", "i-1"], String::new(), &["--product", "--subscription-type"]),
        (vec!["enqueue", "--jobs", "-"], format!("{job}\n\n{bad}\n{job}"), &["line 3 (nothing was enqueued)"]),
        (vec!["enqueue", "--jobs", "-"], format!("{job}\n{job}"), &["line 2 is line 1 again", "nothing was enqueued"]),
        (vec!["enqueue", "--jobs", "-"], format!("[{job}]"), &["line 1", "not a JSON object"]),
        (vec!["enqueue", "--jobs", "-"], String::new(), &["no jobs: write one JSON object a line"]),
        (vec!["enqueue", "--jobs", "-", "i-1"], job.to_owned(), &["cannot be used with"]),
    ];
    for (arguments, input, words) in &cases {
        refused(arguments, &variables, input, words).await;
    }
    depth_becomes(&broker, Queue::Jobs, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_queue_or_a_broker_enqueueing_says_what_to_do() {
    let node = Node::shared().await;
    let url = node.virtual_host("nowhere");
    let arguments = ["enqueue", "--product", "ecs", "--subscription-type", "PayAsYouGo", "i-1"];
    let undeclared = [variable("BROKER__URL", &url), variable("BROKER__DECLARE", "false")];
    let words = ["1 of 1 jobs are not confirmed", "queue release.jobs", "does not exist: run `bulkrelease setup`"];
    refused(&arguments, &undeclared, "", &words).await;
    refused(&arguments, &[], "", &["broker.url is not set: name amqp://HOST"]).await;
    let [nobody] = crate::support::rabbitmq::free_ports();
    let nobody = variable("BROKER__URL", &format!("amqp://user:geheim@127.0.0.1:{nobody}"));
    refused(&arguments, std::slice::from_ref(&nobody), "", &["can't reach the broker at amqp://127.0.0.1"]).await;
    assert!(!run(&arguments, &[nobody], "").await.errors.contains("geheim"));
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_up_twice_changes_nothing_and_names_what_differs() {
    let node = Node::shared().await;
    let url = node.virtual_host("setup");
    let variables = [variable("BROKER__URL", &url)];
    for _ in 0..2 {
        let printed = output(&["setup"], &variables, "").await;
        let retry = RetrySettings::default().steps.into_iter().map(|after| Queue::Retry { after });
        let queues: Vec<Queue> = Queue::ALL.into_iter().chain(retry).collect();
        assert_eq!(printed.lines().count(), queues.len(), "{printed}");
        for queue in queues {
            assert!(printed.contains(&format!("{} is ready\n", queue.name())), "{printed}");
        }
    }

    let url = node.virtual_host("other");
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    let channel = connection.create_channel().await.unwrap();
    channel.queue_declare("release.jobs".into(), options, FieldTable::default()).await.unwrap();
    let variables = [variable("BROKER__URL", &url)];
    let words = ["queue release.jobs exists with other arguments", "Delete it when it is empty, or change the setting"];
    refused(&["setup"], &variables, "", &words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_can_not_start_names_the_setting() {
    let endpoint = variable("ACCOUNTS__DEFAULT__ENDPOINT", "business.aliyuncs.com");
    let (url, ops) = (variable("BROKER__URL", "amqp://127.0.0.1"), variable("OPS__LISTEN", "127.0.0.1:0"));
    let misspelt = variable("BROKER__ULR", "amqp://user:geheim@127.0.0.1");
    let cases: [(&[(String, String)], &str); 6] = [
        (&[endpoint.clone(), ops.clone()], "broker.url is not set"),
        (&[url.clone(), ops.clone()], "no account names an endpoint: set accounts.default.endpoint"),
        (&[misspelt, endpoint.clone()], "the nearest is BULKRELEASE__BROKER__URL"),
        (&[url.clone(), endpoint.clone(), variable("OPS__LISTEN", "192.0.2.1:80")], "ops.listen 192.0.2.1:80"),
        (&[url.clone(), endpoint.clone(), variable("WORKER__LINGER", "20")], "\"20\" is no duration"),
        (&[url, endpoint, ops, variable("SAFETY__PROTECTED_FILE", "/no/such/file")], "safety.protected_file"),
    ];
    for (variables, words) in cases {
        let ended = run(&["worker"], variables, "").await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.errors.contains(words), "{words:?} is missing: {}", ended.errors);
        assert!(!ended.errors.contains("geheim"), "{}", ended.errors);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settings_file_is_checked_and_shown() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("worker.toml");
    let file = path.to_str().unwrap();
    std::fs::write(&path, "[broker]\nurl = 'amqp://user:geheim@host'\n[accounts.vno]\nburst = 2\n").unwrap();
    assert_eq!(output(&["config", "check", file], &[], "").await, format!("{file} is valid\n"));
    let shown = output(&["config", "--config", file, "--set", "worker.linger=5ms"], &[], "").await;
    for line in [
        format!("broker.url = \"amqp://user:***@host\"  # file {file}\n"),
        format!("accounts.vno.burst = 2  # file {file}\n"),
        "worker.linger = \"5ms\"  # flag --set\n".to_owned(),
        "broker.prefetch = 1000  # default\n".to_owned(),
    ] {
        assert!(shown.contains(&line), "{line} is missing in:\n{shown}");
    }
    std::fs::write(&path, "[broker]\nprefetch = 0\n[worker]\nlinger = '11s'\n").unwrap();
    refused(&["config", "check", file], &[], "", &["broker.prefetch", "worker.linger", file]).await;
    std::fs::write(&path, "[broker]\nprefetsch = 1\n").unwrap();
    refused(&["config", "check", file], &[], "", &[":2:1: ", "prefetsch"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_tells_prometheus_and_its_supervisor_how_it_is() {
    const JOBS: usize = 50;
    let mut node = Node::start(&Configuration::default()).await;
    let broker = broker(&node.url());
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    enqueue(&broker, messages(&orders(JOBS, 5))).await;
    let worker = Worker::start(&WorkerSettings::new(&node.url(), &sandbox, 100.0)).await;
    let mut results = Results::of(&broker);
    results.until_jobs(JOBS).await;
    results.close().await;
    worker.until("/readyz", 200, "ok").await;
    assert_eq!(output(&["healthcheck", "--url", &worker.url("/readyz")], &[], "").await, "ok\n");

    let (status, metrics) = worker.get("/metrics").await;
    assert_eq!(status, 200);
    assert!(metrics.contains("bulkrelease_jobs_finished_total{status=\"Released\"} 50\n"), "{metrics}");
    is_in_order(&metrics);

    sleep(QUEUE_IS_SAFE).await;
    node.kill();
    worker.until("/readyz", 503, "broker: ").await;
    assert_eq!(worker.get("/healthz").await.0, 200, "a broker's trouble is no reason to restart a worker");
    refused(&["healthcheck", "--url", &worker.url("/readyz")], &[], "", &["503", "broker: "]).await;
    node.restart().await;
    worker.until("/readyz", 200, "ok").await;
}

/// Prometheus' own tool finds nothing to complain about.
fn is_in_order(metrics: &str) {
    let folder = TempDir::new().expect("a directory");
    let file = folder.path().join("metrics");
    std::fs::write(&file, metrics).expect("a file");
    let input = Stdio::from(File::open(&file).expect("the file"));
    let checked = Command::new("promtool").args(["check", "metrics"]).stdin(input).output();
    let checked = checked.unwrap_or_else(|error| panic!("this test needs promtool (Debian: prometheus): {error}"));
    let said = [checked.stdout, checked.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(checked.status.success() && said.is_empty(), "promtool: {said}");
}
