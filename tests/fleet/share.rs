//! Several workers on one quota: what of it they use, and what they ask for beyond it, as the sandbox counts.

use std::time::Duration;

use super::{full_batches, house, metric};
use crate::support::orders::messages;
use crate::support::rabbitmq::Node;
use crate::support::results::{Results, disagreements};
use crate::support::subscriber::{PATIENCE, enqueue};
use crate::support::worker::{Worker, WorkerSettings};
use bulkrelease::sandbox::{Ledger, Sandbox, SandboxSettings};

/// What a run came to.
struct Figures {
    /// Calls that were not throttled, of those that the quota allowed from the first to the last: a killed worker leaves suspects,
    /// whose calls are refused and take permits all the same. Of a busy machine it says little.
    used: f64,
    /// Permits that were used, of all that workers had while work waited.
    spent: f64,
    calls: u64,
    throttled: u64,
    /// The most calls beyond the quota within any two seconds.
    excess: f64,
}

fn figures(ledger: &Ledger, quota: f64, spent: f64) -> Figures {
    let at: Vec<f64> = ledger.calls.iter().map(|call| call.at.as_secs_f64()).collect();
    let (first, last) = (at.first().copied().unwrap_or_default(), at.last().copied().unwrap_or_default());
    let within = |from: usize| at[from..].iter().take_while(|moment| **moment < at[from] + 2.0).count();
    let most = (0..at.len()).map(within).max().unwrap_or_default();
    Figures {
        used: (ledger.counts.calls - ledger.counts.throttled) as f64 / (quota * (last - first)).max(1.0),
        spent,
        calls: ledger.counts.calls,
        throttled: ledger.counts.throttled,
        excess: (most as f64 - 2.0 * quota).max(0.0),
    }
}

/// Runs so many workers for about so long; a third of the way one is killed, and later another is started.
async fn run(name: &str, workers: usize, quota: f64, lasts: Duration) -> Figures {
    let node = Node::shared().await;
    let (broker, url) = house(&node, name).await;
    let settings = SandboxSettings { calls_per_second: Some(quota), ..SandboxSettings::default() };
    let sandbox = Sandbox::start(settings).await.expect("a sandbox");
    let count = (quota * lasts.as_secs_f64()) as usize;
    let orders = full_batches(count);
    enqueue(&broker, messages(&orders)).await;
    // A prefetch that leaves work for everyone until the end.
    let settings = WorkerSettings::new(&url, &sandbox, quota).with("BROKER__PREFETCH", "40");
    let mut fleet = Vec::new();
    for _ in 0..workers {
        fleet.push(Worker::start(&settings).await);
    }
    let mut results = Results::of(&broker);
    results.until_jobs(count / 3).await;
    let share = "bulkrelease_share{account=\"default\"}";
    let mut shares = Vec::new();
    for worker in &fleet {
        shares.push(metric(worker, share).await);
    }
    let mut permits = Permits::default();
    if workers > 1 {
        let mut killed = fleet.remove(0);
        permits.count(&killed).await;
        killed.kill();
        results.until_jobs(count / 2).await;
        fleet.push(Worker::start(&settings).await);
    }
    // Work still waits for everyone.
    results.until_jobs(count * 4 / 5).await;
    for worker in &fleet {
        permits.count(worker).await;
    }
    results.until_jobs(count).await;
    let results = results.close().await;
    let ledger = sandbox.ledger();
    for mut worker in fleet {
        worker.terminate();
        let ended = worker.ended(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}", ended.errors);
    }
    assert_eq!(disagreements(&orders, &results, &ledger, |_| false), Vec::<String>::new());
    let figures = figures(&ledger, quota, permits.spent());
    println!(
        "{workers} workers, {quota} calls/s, {count} jobs: {:.1} % of the quota used, {} calls, {} throttled, at most {} calls \
         beyond the quota within 2 s; shares {shares:?}; {permits:?} while work waited",
        100.0 * figures.used,
        figures.calls,
        figures.throttled,
        figures.excess
    );
    figures
}

/// Permits that workers had.
#[derive(Debug, Default)]
struct Permits {
    used: f64,
    idle: f64,
}

impl Permits {
    async fn count(&mut self, worker: &Worker) {
        self.used += metric(worker, "bulkrelease_permits_used_total{account=\"default\"}").await;
        self.idle += metric(worker, "bulkrelease_permits_idle_total{account=\"default\"}").await;
    }

    fn spent(&self) -> f64 {
        self.used / (self.used + self.idle).max(1.0)
    }
}

/// What must never be, however busy the machine: a fleet that multiplies the quota, or whose permits go to those who have no
/// use for them. Counted, not timed: a permit that falls due while the machine is busy elsewhere is good for a while.
fn judge(figures: &Figures, quota: f64) {
    assert!(figures.spent >= 0.75, "{} of the permits were used while work waited", figures.spent);
    assert!(figures.throttled as f64 <= 0.1 * figures.calls as f64, "{} of {}", figures.throttled, figures.calls);
    assert!(figures.excess <= quota, "{}", figures.excess);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_a_quota_though_one_is_killed_and_another_comes() {
    judge(&run("share", 2, 20.0, Duration::from_secs(15)).await, 20.0);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes several minutes: tests/fleet/run"]
async fn one_two_and_four_workers_share_a_quota() {
    for quota in [10.0, 50.0] {
        for workers in [1, 2, 4] {
            // A worker's death costs its part of the quota for as long as it is not missed, 6 s: seldom enough to be a life.
            let figures = run(&format!("share-{workers}-{quota}"), workers, quota, Duration::from_secs(180)).await;
            judge(&figures, quota);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_may_not_hear_the_others_says_so_once_and_goes_on_with_a_part_of_the_quota() {
    let node = Node::shared().await;
    let (broker, url) = house(&node, "deaf").await;
    node.control(&["add_user", "deaf", "deaf"]);
    node.control(&["set_permissions", "-p", "deaf", "deaf", "^(?!release\\.fleet\\.)", ".*", ".*"]);
    let sandbox = Sandbox::start(SandboxSettings::default()).await.expect("a sandbox");
    let orders = full_batches(40);
    enqueue(&broker, messages(&orders)).await;
    let url = url.replace("amqp://", "amqp://deaf:deaf@");
    let mut worker = Worker::start(&WorkerSettings::new(&url, &sandbox, 20.0)).await;
    let mut results = Results::of(&broker);
    results.until_jobs(orders.len()).await;
    results.close().await;
    let rate = metric(&worker, "bulkrelease_rate_calls_per_second{account=\"default\"}").await;
    worker.until("/readyz", 200, "").await;
    worker.terminate();
    let ended = worker.ended(PATIENCE).await;
    let said: Vec<_> = ended.errors.lines().filter(|line| line.contains("beacons don't flow")).collect();
    println!("{rate} calls/s; {said:?}");
    assert!(said.len() == 1 && said[0].contains("release.fleet."), "{said:?}");
    assert_eq!(rate, 10.0);
}
