//! The worker against every fault that the sandbox knows, alone and all at once, whether or not a refused batch may have
//! released its good ids: whatever goes wrong on the way, each result says of each id what the sandbox's ledger says.
//!
//! `BULKRELEASE_SEEDS` and `BULKRELEASE_FIRST_SEED` make a campaign of it: five seeds see every fault in every way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::orders::{Order, messages, orders};
use crate::support::results::{Results, disagreements, outcomes};
use crate::support::subscriber::{PATIENCE, enqueue};
use bulkrelease::api::credentials::{Chain, Credential};
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue};
use bulkrelease::config::{AccountSettings, CallsPerSecond, RetrySettings, Settings};
use bulkrelease::contract::{AccountName, Outcome};
use bulkrelease::ops::{Metrics, Vitals};
use bulkrelease::sandbox::{AccessKey, Sandbox, SandboxSettings};
use bulkrelease::worker::Worker;
use fastrand::Rng;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Every answer that is not honest and prompt, and whether the call takes effect all the same.
const FAULTS: [&str; 31] = [
    "honest latency=30ms latency_p99=200ms",
    "internal-error",
    "internal-error lands=true",
    "service-unavailable",
    "concurrent-operate",
    "throttled",
    "token-expired",
    "key-inactive",
    "hang",
    "hang lands=true",
    "reset",
    "reset lands=true",
    "truncated",
    "truncated lands=true",
    "empty",
    "empty lands=true",
    "html",
    "html lands=true",
    "html-error",
    "html-error lands=true",
    "contradictory",
    "contradictory lands=true",
    "failure-as-success",
    "failure-as-success lands=true",
    "odd-code lands=true",
    "error status=429 code=Throttling retry_after=soon",
    "error status=500 code=Odd lands=true",
    "redirect",
    "slow-body",
    "slow-body lands=true",
    "wrong-content-type lands=true",
];

const JOBS: usize = 15;

/// Rehearsals at a time: they wait more than they work.
const AT_A_TIME: usize = 8;

/// A hanging call is given up on after this; an answer that takes longer is of unknown fate.
const CALL_TIMEOUT: Duration = Duration::from_millis(250);

const GONE: &str = "i-gone-";
const FOREIGN: &str = "i-foreign-";
const LOCKED: &str = "i-locked-";

/// What a worker is rehearsed against.
#[derive(Debug, Clone)]
struct Rehearsal {
    faults: Vec<String>,
    /// Whether a batch with a bad id releases nothing.
    sandbox_atomic: bool,
    /// Whether the worker was told so. It assumes nothing by default.
    worker_atomic: bool,
    /// Whether the worker asks what is there when it isn't sure.
    read_back: bool,
    seed: u64,
}

#[tokio::test(flavor = "multi_thread")]
async fn results_agree_with_the_ledger_whatever_fault_strikes_a_fifth_of_the_calls() {
    let faults = FAULTS.iter().map(|fault| vec![format!("{fault} share=0.2")]);
    rehearse(faults.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_agree_with_the_ledger_although_every_call_fails_at_first() {
    let faults = FAULTS.iter().map(|fault| vec![format!("{fault} until=400ms")]);
    rehearse(faults.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_agree_with_the_ledger_although_all_faults_strike_at_once() {
    let everywhere = ["ReleaseInstance", "QueryAvailableInstances"]
        .iter()
        .flat_map(|action| FAULTS.iter().map(move |fault| format!("{fault} share=0.01 action={action}")));
    let everywhere: Vec<String> = everywhere.collect();
    rehearse(vec![everywhere; 5]).await;
}

/// Rehearses each of these sets of faults with every seed, each in another way: against an API that is atomic or not, and a
/// worker that was told so or not, and that may read back or not. Most ids must end with a certain outcome: whoever answers
/// `Unresolved` to everything agrees with every ledger.
async fn rehearse(faults: Vec<Vec<String>>) {
    // Every test of the process tries; that one succeeded is all that counts.
    rustls::crypto::ring::default_provider().install_default().ok();
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    let first: u64 = number("BULKRELEASE_FIRST_SEED").unwrap_or(1);
    let seeds = first..first + number("BULKRELEASE_SEEDS").unwrap_or(2);
    let ways =
        [(false, false, false), (true, false, false), (true, true, false), (false, false, true), (true, true, true)];
    let rehearsals = seeds.flat_map(|seed| {
        faults.iter().zip(seed as usize..).map(move |(faults, turn)| {
            let (sandbox_atomic, worker_atomic, read_back) = ways[turn % ways.len()];
            Rehearsal { faults: faults.clone(), sandbox_atomic, worker_atomic, read_back, seed }
        })
    });
    let running = rehearsals.map(|rehearsal| async move { rehearsal.run().await });
    let mut running = futures_util::stream::iter(running).buffer_unordered(AT_A_TIME);
    let (mut rehearsals, mut calls, mut outcomes) = (0, 0, BTreeMap::<Outcome, usize>::new());
    while let Some(rehearsed) = running.next().await {
        rehearsals += 1;
        calls += rehearsed.calls;
        for (outcome, count) in rehearsed.outcomes {
            *outcomes.entry(outcome).or_default() += count;
        }
    }
    println!("{rehearsals} rehearsals, {calls} calls: {outcomes:?}");
    let count = |outcome| outcomes.get(&outcome).copied().unwrap_or_default();
    assert!(count(Outcome::Unresolved) * 10 < count(Outcome::Released), "agreement is worth little here: {outcomes:?}");
}

/// What a rehearsal came to.
struct Rehearsed {
    calls: u64,
    outcomes: BTreeMap<Outcome, usize>,
}

impl Rehearsal {
    /// Runs jobs through a worker, and judges their results by the ledger.
    async fn run(&self) -> Rehearsed {
        let folder = tempfile::tempdir().expect("a folder");
        let broker = Arc::new(EmbeddedBroker::open(&folder.path().join("broker.sqlite")).expect("a broker"));
        broker.declare().await.expect("queues");
        let sandbox = Sandbox::start(self.sandbox()).await.expect("a sandbox");
        let orders = trying_orders(self.seed);
        enqueue(&*broker, messages(&orders)).await;

        let vitals = Arc::new(Vitals::default());
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let worker = Worker::new(self.worker(&sandbox), |_| credentials(), metrics, vitals).expect("a worker");
        let (stop, stopped) = oneshot::channel::<()>();
        let working = tokio::spawn({
            let broker = Arc::clone(&broker);
            async move { worker.run(&*broker, async { drop(stopped.await) }).await }
        });
        let mut reading = Results::of(&*broker);
        timeout(PATIENCE, reading.until_jobs(JOBS)).await.unwrap_or_else(|_| panic!("no end: {self:?}"));
        let results = reading.close().await;
        drop(stop);
        let summary = working.await.expect("a worker that did not panic");

        let ledger = sandbox.ledger();
        let found = disagreements(&orders, &results, &ledger, |id| id.starts_with(GONE));
        let first = &found[..found.len().min(5)];
        assert!(found.is_empty(), "{self:?}: {} disagreements: {first:#?}", found.len());
        let repeats: Vec<_> = results.values().filter(|results| results.len() != 1).collect();
        assert!(repeats.is_empty(), "{self:?}: {repeats:?}");
        assert_eq!(broker.depth(Queue::Results).await, Ok(0), "{self:?}");
        Rehearsed { calls: summary.calls, outcomes: outcomes(&results) }
    }

    fn sandbox(&self) -> SandboxSettings {
        // What accounts.NAME.read_back says of itself: a stranger's id among ids that are gone is taken for gone as well.
        let foreign = if self.read_back { "state=locked" } else { "owner=stranger" };
        let instances = [
            format!("{GONE}* state=gone"),
            format!("{FOREIGN}* {foreign}"),
            format!("{LOCKED}* state=locked"),
            "i-*".to_owned(),
        ];
        SandboxSettings {
            atomic: self.sandbox_atomic,
            latency: Duration::from_millis(2),
            instances: instances.iter().map(|rule| rule.parse().expect("an instance rule")).collect(),
            faults: self.faults.iter().map(|rule| rule.parse().expect("a fault rule")).collect(),
            seed: self.seed,
            ..SandboxSettings::default()
        }
    }

    fn worker(&self, sandbox: &Sandbox) -> Settings {
        let account = AccountSettings {
            endpoint: Some(format!("http://{}", sandbox.address())),
            calls_per_second: CallsPerSecond::Unlimited,
            atomic: self.worker_atomic,
            read_back: self.read_back,
            read_back_calls_per_second: CallsPerSecond::Unlimited,
            call_timeout: CALL_TIMEOUT,
            ..AccountSettings::default()
        };
        let retry = RetrySettings {
            initial_interval: Duration::from_millis(10),
            max_interval: Duration::from_millis(80),
            steps: [50, 100, 200].map(Duration::from_millis).into(),
            ..RetrySettings::default()
        };
        Settings { retry, accounts: [(AccountName::default(), account)].into(), ..Settings::default() }
    }
}

fn credentials() -> Chain {
    let AccessKey { id, secret, .. } = AccessKey::default();
    Chain::fixed(Credential { access_key_id: id, access_key_secret: secret, security_token: None })
}

/// Jobs of many groups, in which some ids are gone, foreign or locked, and some are wanted by another job, too.
fn trying_orders(seed: u64) -> Vec<Order> {
    let mut draws = Rng::with_seed(seed);
    let mut orders = orders(JOBS, seed);
    for order in &mut orders {
        for id in &mut order.ids {
            let prefix = match draws.u32(..40) {
                0 => GONE,
                1 => FOREIGN,
                2 => LOCKED,
                _ => continue,
            };
            *id = id.replacen("i-", prefix, 1);
        }
    }
    for _ in 0..5 {
        let [from, to] = [(); 2].map(|()| draws.usize(..orders.len()));
        let place = draws.usize(..orders[from].ids.len());
        let id = orders[from].ids[place].clone();
        if !orders[to].ids.contains(&id) {
            orders[to].ids.push(id);
        }
    }
    orders
}
