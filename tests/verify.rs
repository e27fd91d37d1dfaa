//! `bulkrelease verify` as its users run it: it finds nothing where all went well, names what is missing, and takes nothing.

use crate::support::orders::{messages, orders};
use crate::support::program::run;
use crate::support::subscriber::{PATIENCE, deliveries, depth_becomes, drain, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue, WatchName};
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use tempfile::TempDir;

const JOBS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_finds_what_is_missing_as_often_as_it_is_asked_and_takes_nothing() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("broker.sqlite");
    let broker = EmbeddedBroker::open(&path).expect("a file");
    broker.declare().await.expect("a broker");
    let locked = "i-7-* state=locked".parse().expect("a rule");
    let instances = vec![locked, "i-*".parse().expect("a rule")];
    let settings = SandboxSettings { admin: true, instances, ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    let settings = WorkerSettings::new(&format!("sqlite:{}", path.display()), &sandbox, 100.0);
    let url = format!("http://{}", sandbox.address());
    let verify = async |arguments: &[&str], jobs: &str| {
        let ended = run(&[&["verify"], arguments].concat(), settings.variables(), jobs).await;
        (ended.code, ended.output, ended.errors)
    };

    let (code, _, errors) = verify(&["report", "tonight", "--jobs", "-"], "{}").await;
    assert!(code == Some(1) && errors.contains("verify begin tonight"), "{errors}");
    assert_eq!(verify(&["begin", "tonight"], "").await.0, Some(0));
    let sent = messages(&orders(JOBS, 1));
    let mut lines: String = sent.iter().map(|message| String::from_utf8_lossy(&message.body) + "\n").collect();
    enqueue(&broker, sent).await;
    let mut worker = Worker::start(&settings).await;
    depth_becomes(&broker, Queue::Results, JOBS as u64).await;
    worker.terminate();
    assert_eq!(worker.ended(PATIENCE).await.code, Some(0));

    let report = ["report", "tonight", "--jobs", "-", "--sandbox", &url];
    for _ in 0..2 {
        let (code, output, errors) = verify(&report, &lines).await;
        assert!(code == Some(0) && output.contains("nothing is missing, nothing is wrong"), "{output}{errors}");
        assert!(output.contains("20 jobs") && output.contains("in dead letters"), "{output}");
    }
    depth_becomes(&broker, Queue::Results, JOBS as u64).await;

    // What somebody else reads can't be seen, and is not lost.
    let watch = Queue::Watch(WatchName::new("tonight").expect("a name"));
    let mut somebody = broker.subscribe(watch.clone(), 1000);
    deliveries(&mut somebody, JOBS).await;
    let (code, output, errors) = verify(&report, &lines).await;
    assert!(
        code == Some(1) && output.is_empty() && errors.contains("not all copies could be read"),
        "{output}{errors}"
    );
    somebody.close(PATIENCE).await;

    lines += r#"{"JobId":"lost","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-lost"]}"#;
    let (code, output, errors) = verify(&report, &lines).await;
    assert!(code == Some(1) && output.contains("job lost has no result"), "{output}{errors}");
    assert!(errors.contains("1 missing, 0 wrong"), "{errors}");
    let (code, output, _) = verify(&[&report[..], &["--json"]].concat(), &lines).await;
    let json: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, &json["Findings"][0]["Kind"]), (Some(1), &"Unanswered".into()));
    assert_eq!(json["Jobs"].as_array().map(Vec::len), Some(JOBS + 1));

    // A letter that was put aside, brought back, and then taken, as a replay does: nothing came of it.
    for verb in ["discard", "restore"] {
        let ended = run(&["dead", verb, "--all", "--yes"], settings.variables(), "").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    drain(&broker, Queue::Dead, 1).await;
    let (_, output, errors) = verify(&report, &lines).await;
    assert!(output.contains("is gone from its queue and the archive, and its replay 1 has no result"), "{output}");
    assert!(errors.contains("2 missing, 0 wrong"), "{errors}");

    // The first job's ids alone: all others were released unasked.
    let first = lines.lines().next().expect("a job");
    let (code, output, errors) = verify(&report, first).await;
    assert!(code == Some(1) && output.contains("and no job asked for it"), "{output}{errors}");
    assert_eq!(verify(&["end", "tonight"], "").await.0, Some(0));
    assert_eq!(verify(&report, &lines).await.0, Some(1));
}
