//! Everything that takes part in a campaign, and what is done to it.

use std::time::Duration;

use bulkrelease::broker::Broker;
use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use crate::campaign::Plan;
use crate::campaign::broker::Place;
use crate::campaign::orders::{GONE, LOCKED, PROTECTED, Sent};
use crate::campaign::trouble::Trouble;
use crate::support::proxy::{Proxy, Weather};
use crate::support::worker::{Worker, WorkerSettings};

const PATIENCE: Duration = Duration::from_secs(90);

/// About as many times the calls a campaign takes without queries.
const DEARER: f64 = 4.0;
/// How long a node or a worker that crashed stays away.
const AWAY: Duration = Duration::from_secs(2);

/// More than a worker takes for a job.
const LARGE_BYTES: usize = 8 * 1024 * 1024;

/// A worker's process that has ended, and what it wrote.
pub struct Life {
    pub log: String,
    pub ended: Timestamp,
    pub killed: bool,
}

pub struct Field {
    pub place: Place,
    pub sandbox: Sandbox,
    pub settings: Vec<WorkerSettings>,
    pub past: Vec<Life>,
    /// What a trouble sent beside the stream.
    pub besides: Vec<Sent>,
    api: Proxy,
    /// Each worker's own way to the broker; none to a file.
    lines: Vec<Proxy>,
    workers: Vec<Worker>,
}

impl Field {
    pub async fn new(place: Place, plan: &Plan, seed: u64) -> Self {
        let Plan { workers, calls_per_second, worker_calls_per_second, .. } = *plan;
        // Both ways to settle what a lost call released are tried; without queries that takes a call an id.
        let read_back = seed % 2 == 1;
        let dearer = if read_back { 1.0 } else { DEARER };
        let sandbox = Sandbox::start(sandbox(calls_per_second * dearer, seed)).await.expect("a sandbox");
        let api = Proxy::start(vec![sandbox.address()]).await.expect("a network to the API");
        let (mut lines, mut settings) = (Vec::new(), Vec::new());
        for worker in 0..workers {
            let url = match &place {
                Place::File(disk) => disk.url(),
                Place::Nodes(_) => {
                    lines.push(Proxy::start(place.addresses(worker)).await.expect("a network to the broker"));
                    format!("amqp://{}/", lines[worker].address())
                }
            };
            let own = WorkerSettings::new(&url, &sandbox, worker_calls_per_second * dearer);
            let own = impatient(own, worker, &api);
            settings.push(own.with("ACCOUNTS__DEFAULT__READ_BACK", if read_back { "true" } else { "false" }));
        }
        Self { place, sandbox, settings, past: Vec::new(), besides: Vec::new(), api, lines, workers: Vec::new() }
    }

    pub async fn start_workers(&mut self) {
        for settings in &self.settings {
            self.workers.push(Worker::start(settings).await);
        }
    }

    /// An orderly stop of all.
    pub async fn stop_workers(&mut self) {
        self.workers.iter().for_each(|worker| worker.terminate());
        for worker in &mut self.workers {
            let ended = worker.ended(PATIENCE).await;
            assert_eq!(ended.code, Some(0), "{}", ended.errors);
            self.past.push(Life::of(worker, false));
        }
    }

    /// Lets some calls come to the API, or as much time pass as they would need.
    pub async fn work_on(&self, calls: u64) {
        let wanted = self.sandbox.counts().calls + calls;
        // None may come: there may be no jobs at the moment.
        timeout(Duration::from_secs(3), self.sandbox.until_calls(wanted)).await.ok();
    }

    /// Carries a trouble out, and puts right what it broke.
    pub async fn suffer(&mut self, trouble: Trouble, broker: &dyn Broker) {
        match trouble {
            Trouble::KillWorker(worker) => {
                self.workers[worker].kill();
                self.past.push(Life::of(&self.workers[worker], true));
                sleep(AWAY / 4).await;
                self.workers[worker] = Worker::start(&self.settings[worker]).await;
            }
            Trouble::RestartWorker(worker) => self.restart_worker(worker).await,
            Trouble::PauseWorker(worker, time) => {
                self.workers[worker].pause();
                sleep(time).await;
                self.workers[worker].resume();
            }
            Trouble::KillLeader => {
                let Place::Nodes(cluster) = &self.place else { panic!("a file has no leader") };
                let leader = cluster.leader(0, "release.jobs").await;
                self.kill_node(leader).await;
            }
            Trouble::KillNode(node) => self.kill_node(node).await,
            Trouble::PauseNode(node, time) => {
                self.place.nodes()[node].pause();
                sleep(time).await;
                self.place.nodes()[node].resume();
            }
            Trouble::DiskAlarm(time) => {
                let nodes = self.place.nodes();
                nodes[0].control(&["set_disk_free_limit", "100000GB"]);
                sleep(time).await;
                nodes[0].control(&["set_disk_free_limit", "50MB"]);
            }
            Trouble::CutBroker => self.lines.iter().for_each(Proxy::cut),
            Trouble::HalfCloseBroker => self.lines.iter().for_each(Proxy::half_close),
            Trouble::SilentBroker(worker, time) => pass(&self.lines[worker..=worker], Weather::BlackHole, time).await,
            Trouble::SlowBroker(time) => pass(&self.lines, Weather::Slow(Duration::from_millis(200)), time).await,
            Trouble::CutApi => self.api.cut(),
            Trouble::HalfCloseApi => self.api.half_close(),
            Trouble::SilentApi(time) => pass(std::slice::from_ref(&self.api), Weather::BlackHole, time).await,
            Trouble::SlowApi(time) => {
                pass(std::slice::from_ref(&self.api), Weather::Slow(Duration::from_millis(400)), time).await;
            }
            Trouble::RollingRestart => {
                for node in 0..self.place.nodes().len() {
                    self.place.nodes()[node].stop().await;
                    self.place.nodes()[node].restart().await;
                }
                for worker in 0..self.workers.len() {
                    self.restart_worker(worker).await;
                }
            }
            Trouble::DiskFull(time) => {
                let Place::File(disk) = &self.place else { panic!("only a file has a disk here") };
                // Room for a large message, and none for the dead letter that becomes of it, since it is no job.
                if disk.fill(2 * LARGE_BYTES) {
                    let large = Sent::large(LARGE_BYTES);
                    let stored = broker.enqueue(vec![large.message()]).await;
                    assert!(stored[0].is_ok(), "{stored:?}");
                    self.besides.push(large);
                    let begun = Instant::now();
                    let complaints = |worker: &Worker| worker.errors().matches("is full").count();
                    let mut felt = 0;
                    while felt == 0 && begun.elapsed() < time {
                        sleep(Duration::from_millis(100)).await;
                        felt = self.workers.iter().map(complaints).sum();
                    }
                    disk.free();
                    println!("       the workers said {felt} times that the disk is full");
                }
            }
        }
    }

    async fn restart_worker(&mut self, worker: usize) {
        self.workers[worker].terminate();
        let ended = self.workers[worker].ended(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
        self.past.push(Life::of(&self.workers[worker], false));
        self.workers[worker] = Worker::start(&self.settings[worker]).await;
    }

    async fn kill_node(&mut self, node: usize) {
        let nodes = self.place.nodes();
        nodes[node].kill();
        sleep(AWAY).await;
        nodes[node].restart().await;
    }
}

impl Life {
    fn of(worker: &Worker, killed: bool) -> Self {
        Self { log: worker.errors(), ended: Timestamp::now(), killed }
    }
}

async fn pass(lines: &[Proxy], weather: Weather, time: Duration) {
    lines.iter().for_each(|line| line.set(weather));
    sleep(time).await;
    lines.iter().for_each(|line| line.set(Weather::Fair));
}

/// An API with every failure that an API has.
fn sandbox(calls_per_second: f64, seed: u64) -> SandboxSettings {
    let rules = |lines: &[&str]| lines.iter().map(|line| line.parse().expect("a rule")).collect::<Vec<_>>();
    let instances = [format!("{GONE}* state=gone"), format!("{LOCKED}* state=locked"), "i-*".to_owned()];
    SandboxSettings {
        admin: true,
        calls_per_second: Some(calls_per_second),
        retry_after: true,
        latency: Duration::from_millis(20),
        latency_p99: Some(Duration::from_millis(200)),
        seed,
        instances: instances.iter().map(|line| line.parse().expect("a rule")).collect(),
        faults: rules(&[
            "internal-error share=0.01",
            "internal-error share=0.01 lands=true",
            "service-unavailable share=0.02",
            "concurrent-operate share=0.01",
            // Rare, for it says what is not true: that the quota is spent.
            "throttled share=0.002",
            "reset share=0.01",
            "reset share=0.01 lands=true",
            "truncated share=0.01 lands=true",
            "html-error share=0.005",
            "hang share=0.003 lands=true hang_for=3s",
        ]),
        ..SandboxSettings::default()
    }
}

/// A worker whose patience fits into a test.
fn impatient(settings: WorkerSettings, worker: usize, api: &Proxy) -> WorkerSettings {
    settings
        .with("WORKER__NAME", &format!("worker-{worker}"))
        // What the witness reads.
        .with("LOG__LEVEL", "info,bulkrelease=debug")
        .with("WORKER__MAX_HOLD", "20s")
        .with("WORKER__DRAIN_DEADLINE", "10s")
        .with("BROKER__PREFETCH", "200")
        .with("BROKER__HEARTBEAT", "3s")
        .with("BROKER__CONNECT_TIMEOUT", "3s")
        .with("RETRY__INITIAL_INTERVAL", "100ms")
        .with("RETRY__MAX_INTERVAL", "1s")
        .with("RETRY__STEPS", r#"["1s", "3s", "5s"]"#)
        .with("SAFETY__PROTECTED", &format!(r#"["{PROTECTED}*"]"#))
        .with("ACCOUNTS__DEFAULT__ENDPOINT", &format!("http://{}", api.address()))
        .with("ACCOUNTS__DEFAULT__CALL_TIMEOUT", "2s")
        .with("ACCOUNTS__DEFAULT__CONNECT_TIMEOUT", "1s")
}
