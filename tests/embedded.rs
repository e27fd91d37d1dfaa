//! What only the embedded broker promises: several processes on one file, any of which may die, and errors that say
//! which file and what to do. The other processes are this test binary again, in a role of its own.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, BrokerError, Destination, Event, Publication, Queue};
use bulkrelease::contract::header;

use crate::conformance::subscriber::{
    PATIENCE, Subscriber, bodies, drain, enqueue, expect_depth, message, numbered, once_each, result_of, tally,
};

const ROLE: &str = "BULKRELEASE_TEST_ROLE";
const FILE: &str = "BULKRELEASE_TEST_FILE";
const JOBS: usize = 5000;
const SHORT_LEASE: Duration = Duration::from_secs(2);

struct Directory(tempfile::TempDir);

impl Directory {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("queue.db")
    }

    async fn broker(&self) -> EmbeddedBroker {
        let broker = EmbeddedBroker::open_with_lease(&self.file(), SHORT_LEASE).expect("a queue file");
        broker.declare().await.expect("declared");
        broker
    }
}

/// Another process on the same file. It ends when this one does.
struct Process {
    child: Child,
    lines: BufReader<Box<dyn Read>>,
}

impl Process {
    fn start(role: &str, file: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "embedded::another_process", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env(FILE, file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("another process");
        let output = Box::new(child.stdout.take().expect("its output"));
        Self { child, lines: BufReader::new(output) }
    }

    /// Waits until the process has said something.
    fn expect_line(&mut self, expected: &str) {
        let said = self.lines.by_ref().lines().map_while(Result::ok).any(|line| line == expected);
        assert!(said, "the process ended without saying {expected:?}");
    }

    /// SIGKILL; answers what it had said and nobody had read.
    fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("killed");
        self.lines.by_ref().lines().map_while(Result::ok).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("a process can't be ended: {error}");
        }
    }
}

#[tokio::test]
#[ignore = "is the other process of the tests below"]
async fn another_process() {
    let (Ok(role), Some(file)) = (std::env::var(ROLE), std::env::var_os(FILE)) else { return };
    // The parent's end closes when the parent ends, however it ends.
    std::thread::spawn(|| {
        let end = std::io::stdin().read_to_end(&mut Vec::new());
        eprintln!("the parent ended: {end:?}");
        std::process::exit(1);
    });
    let broker = EmbeddedBroker::open_with_lease(Path::new(&file), SHORT_LEASE).unwrap();
    match role.as_str() {
        "drain" => settle_for_ever(&broker).await,
        "hold" => {
            let mut subscriber = Subscriber::new(&broker, Queue::Jobs, 100);
            subscriber.deliveries(100).await;
            println!("\nholding");
            std::future::pending::<()>().await;
        }
        "enqueue" => {
            for body in numbered(usize::MAX) {
                enqueue(&broker, [body.clone()]).await;
                println!("\n{body}");
            }
        }
        other => panic!("no such role: {other}"),
    }
}

async fn settle_for_ever(broker: &EmbeddedBroker) {
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 200);
    println!("\nready");
    loop {
        if let Event::Delivery(delivery) = subscriber.event().await {
            let mut result = message(bodies([&delivery]).concat());
            result.properties.headers.insert(header::WORKER.to_owned(), std::process::id().to_string());
            let to = Destination::Results { key: String::new() };
            subscriber.finish(delivery.tag, vec![Publication { to, message: result }]);
        }
    }
}

#[tokio::test]
async fn three_processes_settle_every_job_exactly_once_between_them() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    let mut processes: Vec<Process> = (0..3).map(|_| Process::start("drain", &directory.file())).collect();
    processes.iter_mut().for_each(|process| process.expect_line("ready"));
    enqueue(&broker, numbered(JOBS)).await;
    expect_depth(&broker, Queue::Results, JOBS as u64).await;
    let results = drain(&broker, Queue::Results, JOBS).await;
    assert_eq!(tally(&results), once_each(JOBS));
    let mut shares = BTreeMap::<_, usize>::new();
    for result in &results {
        *shares.entry(&result.message.properties.headers[header::WORKER]).or_default() += 1;
    }
    println!("shares: {shares:?}");
    assert_eq!(shares.len(), 3, "nobody takes everything: {shares:?}");
}

#[tokio::test]
async fn a_process_killed_in_the_middle_loses_nothing_and_doubles_nothing() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    let victim = Process::start("drain", &directory.file());
    let _others = [Process::start("drain", &directory.file()), Process::start("drain", &directory.file())];
    enqueue(&broker, numbered(JOBS)).await;
    let some_are_done = async {
        while broker.depth(Queue::Results).await.expect("a depth") < 500 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, some_are_done).await.expect("results in time");
    victim.kill();
    expect_depth(&broker, Queue::Results, JOBS as u64).await;
    assert_eq!(tally(&drain(&broker, Queue::Results, JOBS).await), once_each(JOBS));
}

#[tokio::test]
async fn what_a_killed_process_held_comes_again_marked() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    enqueue(&broker, numbered(150)).await;
    let mut holder = Process::start("hold", &directory.file());
    holder.expect_line("holding");
    expect_depth(&broker, Queue::Jobs, 50).await;
    holder.kill();
    let taken = drain(&broker, Queue::Jobs, 150).await;
    assert_eq!(tally(&taken), once_each(150));
    let again = taken.iter().filter(|delivery| delivery.redelivered && delivery.earlier_deliveries == 1);
    assert_eq!(tally(again), once_each(100));
}

#[tokio::test]
async fn a_job_whose_enqueueing_was_answered_survives_a_kill() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    let mut producer = Process::start("enqueue", &directory.file());
    producer.expect_line("job 100");
    let said_later = producer.kill();
    let answered = 101 + said_later.iter().filter(|line| line.starts_with("job ")).count();
    // One may have been stored whose answer nobody heard.
    let stored = usize::try_from(broker.depth(Queue::Jobs).await.expect("a depth")).expect("a count");
    assert!(stored == answered || stored == answered + 1, "{answered} answered, {stored} stored");
    assert_eq!(tally(&drain(&broker, Queue::Jobs, stored).await), once_each(stored));
}

#[tokio::test]
async fn a_subscription_whose_lease_was_taken_says_so_and_goes_on_in_a_new_session() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    enqueue(&broker, ["job".to_owned()]).await;
    let mut subscriber = Subscriber::new(&broker, Queue::Jobs, 1);
    let first = subscriber.delivery().await;
    // What another process does when it finds a lease that ran out.
    let file = rusqlite::Connection::open(directory.file()).expect("the file");
    file.execute_batch("BEGIN IMMEDIATE; UPDATE message SET session = NULL; DELETE FROM session; COMMIT")
        .expect("the lease is taken");
    match subscriber.event().await {
        Event::SessionLost { session, .. } => assert_eq!(session, first.tag.session),
        other => panic!("expected a lost session, not {other:?}"),
    }
    let second = subscriber.delivery().await;
    assert!(second.redelivered && second.tag.session != first.tag.session);
    subscriber.finish(first.tag, vec![result_of(&first)]);
    subscriber.finish(second.tag, vec![result_of(&second)]);
    assert_eq!(subscriber.settled().await, second.tag);
    subscriber.close().await;
    expect_depth(&broker, Queue::Results, 1).await;
}

#[tokio::test]
async fn a_look_shows_what_a_dead_process_held_in_its_old_place() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    for body in numbered(120) {
        enqueue(&broker, [body]).await;
    }
    let mut process = Process::start("hold", &directory.file());
    process.expect_line("holding");
    process.kill();
    let seen = async {
        loop {
            let mut look = broker.look(Queue::Jobs).await.expect("a look");
            let mut seen = Vec::new();
            while let Some(message) = look.next().await {
                seen.push(String::from_utf8(message.expect("a message").body).expect("text"));
            }
            if look.others == 0 {
                break seen;
            }
            assert_eq!(seen.len(), 20, "what is held is not shown");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let seen = tokio::time::timeout(PATIENCE, seen).await.expect("the end of the lease");
    assert!(numbered(120).eq(seen.iter().cloned()), "{seen:?}");
}

#[tokio::test]
async fn a_file_that_was_moved_away_is_reported_and_the_work_goes_on_when_it_is_back() {
    let directory = Directory::new();
    let broker = directory.broker().await;
    let mut subscriber = Subscriber::new(&broker, Queue::Jobs, 10);
    let mut health = subscriber.0.health.clone();
    enqueue(&broker, numbered(1)).await;
    let held = subscriber.delivery().await;
    expect_health(&mut health, |health| health.consuming && health.publishing).await;

    let away = directory.0.path().join("away.db");
    std::fs::rename(directory.file(), &away).unwrap();
    subscriber.finish(held.tag, vec![result_of(&held)]);
    expect_health(&mut health, |health| !health.publishing && health.problem.contains("queue.db")).await;
    let refused = broker.enqueue(vec![message("lost?"); 2]).await;
    assert!(refused.len() == 2 && refused.iter().all(Result::is_err), "{refused:?}");

    std::fs::rename(&away, directory.file()).unwrap();
    assert_eq!(subscriber.settled().await, held.tag, "the order was kept");
    expect_health(&mut health, |health| health.publishing && health.problem.is_empty()).await;
    enqueue(&broker, ["next".to_owned()]).await;
    assert_eq!(bodies([&subscriber.delivery().await]), ["next"]);
}

async fn expect_health(
    health: &mut tokio::sync::watch::Receiver<bulkrelease::broker::Health>,
    as_expected: impl Fn(&bulkrelease::broker::Health) -> bool,
) {
    let reached = tokio::time::timeout(PATIENCE, health.wait_for(as_expected)).await;
    reached.expect("the health in time").expect("a subscription that goes on");
}

#[tokio::test]
async fn processes_that_start_together_may_all_declare() {
    let directory = Directory::new();
    let brokers: Vec<EmbeddedBroker> =
        (0..8).map(|_| EmbeddedBroker::open(&directory.file()).expect("a queue file")).collect();
    for declared in futures_util::future::join_all(brokers.iter().map(|broker| broker.declare())).await {
        declared.expect("declared");
    }
}

#[tokio::test]
async fn an_undeclared_file_is_reported_with_the_command_that_declares_it() {
    let directory = Directory::new();
    let broker = EmbeddedBroker::open(&directory.file()).expect("a path");
    let answer = broker.enqueue(vec![message("job")]).await.remove(0);
    assert!(matches!(answer, Err(BrokerError::Missing { .. })), "{answer:?}");
    assert!(broker.depth(Queue::Jobs).await.is_err() && !directory.file().exists(), "nothing is made by looking");
    // A subscription waits for it.
    let mut subscriber = Subscriber::new(&broker, Queue::Jobs, 1);
    expect_health(&mut subscriber.0.health.clone(), |health| health.problem.contains("bulkrelease setup")).await;
    broker.declare().await.expect("declared");
    enqueue(&broker, ["job".to_owned()]).await;
    subscriber.delivery().await;
}

#[tokio::test]
async fn a_path_that_can_not_hold_the_queue_is_refused_with_the_fix() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "a letter, and no database at all".repeat(100)).unwrap();
    let no_directory = directory.0.path().join("nowhere/queue.db");
    for (path, fix) in [
        (directory.file(), "name another file in broker.url"),
        (directory.0.path().to_owned(), "broker.url must name a file"),
        (no_directory, "a directory that exists"),
    ] {
        let refused = match EmbeddedBroker::open(&path) {
            Ok(broker) => broker.declare().await.err(),
            refused => refused.err(),
        };
        let said = refused.expect("a refusal").to_string();
        assert!(said.contains(&path.display().to_string()) && said.contains(fix), "{said}");
    }
    let letter = std::fs::read_to_string(directory.file()).unwrap();
    assert!(letter.starts_with("a letter"), "what is no database is left as it was");
}
