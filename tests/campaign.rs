//! The campaign: everything goes wrong, again and again, and nothing is lost. Jobs of every kind stream in while workers,
//! nodes and networks fail in an order drawn from a seed; at the end `bulkrelease verify` and the sandbox's own ledger
//! judge, as they do for everybody.
//!
//! A short form runs with all tests. `tests/campaign/run` runs the long ones, minutes for each seed, on three nodes and on
//! the embedded broker.

mod broker;
mod field;
mod orders;
mod stream;
mod trouble;
mod verdict;
mod witness;

use std::ops::Range;
use std::time::Duration;

use crate::support::proxy::Proxy;
use crate::support::subscriber::depth_becomes;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::embedded::EmbeddedBroker;
use bulkrelease::broker::{Broker, Queue, WatchName};
use bulkrelease::config::BrokerSettings;
use fastrand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use self::broker::Place;
use self::field::Field;
use self::trouble::Trouble;
use self::verdict::{given_up, verify};

/// Confirmed messages survive a crash of the broker from so long after its queues were declared.
const QUEUE_IS_SAFE: Duration = Duration::from_secs(3);
const STEPS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(5)];
const WATCH: &str = "campaign";

struct Plan {
    name: &'static str,
    workers: usize,
    ids: usize,
    /// What the API grants, and what the workers take for their quota, which is more.
    calls_per_second: f64,
    worker_calls_per_second: f64,
    /// How many calls there are between two troubles.
    calls_between: Range<u64>,
    troubles: fn(&mut Rng) -> Vec<Trouble>,
}

const CLUSTER: Plan = Plan {
    name: "three nodes, four workers",
    workers: 4,
    ids: 200_000,
    calls_per_second: 15.0,
    worker_calls_per_second: 60.0,
    calls_between: 10..60,
    troubles: trouble::on_a_cluster,
};

const NODE: Plan = Plan {
    name: "one node, two workers",
    workers: 2,
    ids: 5_000,
    calls_per_second: 3.0,
    worker_calls_per_second: 8.0,
    calls_between: 5..15,
    troubles: trouble::on_a_node,
};

const FILE: Plan = Plan {
    name: "one file, two workers and a command line",
    workers: 2,
    ids: 5_000,
    calls_per_second: 3.0,
    worker_calls_per_second: 8.0,
    calls_between: 5..15,
    troubles: trouble::on_a_file,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_half_minute_of_a_node_loses_nothing() {
    campaign(&NODE, Place::node().await, first_seed()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_half_minute_of_a_file_loses_nothing() {
    campaign(&FILE, Place::file(), first_seed()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes for each seed: tests/campaign/run"]
async fn bad_minutes_of_a_cluster_lose_nothing() {
    for seed in seeds() {
        campaign(&CLUSTER, Place::cluster().await, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: tests/campaign/run"]
async fn bad_minutes_of_a_file_lose_nothing() {
    for seed in seeds() {
        campaign(&FILE, Place::file(), seed).await;
    }
}

/// `BULKRELEASE_CAMPAIGN_SEEDS` many, from `BULKRELEASE_CAMPAIGN_FIRST_SEED` on.
fn seeds() -> std::ops::Range<u64> {
    let number = |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let first = first_seed();
    first..first + number("BULKRELEASE_CAMPAIGN_SEEDS", 1)
}

fn first_seed() -> u64 {
    std::env::var("BULKRELEASE_CAMPAIGN_FIRST_SEED").map_or(1, |text| text.parse().expect("a number"))
}

async fn campaign(plan: &Plan, place: Place, seed: u64) {
    println!("== {}, seed {seed}", plan.name);
    let begun = Instant::now();
    let mut draws = Rng::with_seed(seed);
    let mut sent = orders::mixed(plan.ids, seed);
    let mut field = Field::new(place, plan, seed).await;
    // The producer and the consumer have a good network, but to the same nodes.
    let network = Proxy::start(field.place.addresses(0)).await.expect("a network");
    let open = || -> Box<dyn Broker> {
        match &field.place {
            Place::File(disk) => {
                let path = disk.url().trim_start_matches("sqlite:").to_owned();
                Box::new(EmbeddedBroker::open(path.as_ref()).expect("a file"))
            }
            Place::Nodes(_) => {
                let url = Some(format!("amqp://{}/", network.address()));
                let settings = BrokerSettings { url, heartbeat: Duration::from_secs(3), ..BrokerSettings::default() };
                Box::new(AmqpBroker::new(&settings).expect("valid settings").with_steps(&STEPS))
            }
        }
    };
    let broker = open();
    broker.declare().await.expect("a broker");
    broker.watch(WatchName::new(WATCH).expect("a name")).await.expect("a watch");
    let on_file = matches!(field.place, Place::File(_));
    if on_file {
        // The command line refuses what is no job.
        sent.retain(|sent| sent.is_job);
    } else {
        sleep(QUEUE_IS_SAFE).await;
    }
    let jobs = sent.iter().filter(|sent| sent.is_job).count();
    let (different, results) = watch::channel(0);
    let consumer = tokio::spawn(stream::consume(open(), different));
    // Jobs stream in until the last trouble has begun.
    let (allow, allowed) = watch::channel(0);
    let producer = if on_file {
        let variables = field.settings[0].variables().to_vec();
        tokio::spawn(stream::produce_by_command(variables, sent.clone(), allowed))
    } else {
        tokio::spawn(stream::produce(open(), sent.clone(), allowed))
    };
    field.start_workers().await;
    let troubles = (plan.troubles)(&mut draws);
    let share = sent.len().div_ceil(troubles.len());
    for trouble in troubles {
        allow.send_modify(|allowed| *allowed += share);
        field.work_on(draws.u64(plan.calls_between.clone())).await;
        let so_far = *results.borrow();
        println!("{:>4} s, {so_far} of {jobs} results: {trouble:?}", begun.elapsed().as_secs());
        field.suffer(trouble, &*broker).await;
    }
    let twice = producer.await.expect("a producer");
    stream::until_results(results, jobs).await;
    let waiting = STEPS.map(|after| Queue::Retry { after });
    let queues: Vec<Queue> = [Queue::Jobs].into_iter().chain(waiting).collect();
    stream::until_empty(&*broker, &queues).await;
    field.stop_workers().await;

    sent.append(&mut field.besides);
    let verdict = verify(&field, WATCH, &sent, &twice).await;
    consumer.abort();
    println!("{}", verdict.summary);
    let counts = field.sandbox.counts();
    println!("the sandbox counted {counts:?}");
    println!("given up on: {}", given_up(&field).await);
    println!("{} jobs were sent again by their producer; repeats: {:#?}", twice.len(), verdict.repeats);
    assert!(verdict.findings.is_empty(), "seed {seed}: {:#?}", verdict.findings);
    assert!(verdict.repeats.unexplained.is_empty(), "seed {seed}");
    assert_eq!(counts.violations, 0, "seed {seed}");
    assert!(counts.throttled > 0, "seed {seed}: the quota was never felt");
    depth_becomes(&*broker, Queue::Unrouted, 0).await;
    for queue in queues {
        depth_becomes(&*broker, queue, 0).await;
    }
    println!("seed {seed} passed in {} s\n", begun.elapsed().as_secs());
}
