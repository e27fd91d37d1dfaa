//! How many jobs a second, and at what price, while the queue is full. Counted from the first result that is seen to the
//! last, so that neither a start nor a connection is part of it.

use std::time::Duration;

use anyhow::ensure;
use bulkrelease::config::QueueType;
use bulkrelease::contract::{JOBS, RESULTS};
use tokio::time::sleep;

use super::contestant::{Contestant, Running};
use super::process::{cpu_seconds, peak_mebibytes};
use super::queues::Queues;
use super::rabbitmq::Node;

/// For the last acks to arrive, and for a broker to finish what filling the queue left behind.
const REST: Duration = Duration::from_secs(1);
const WORKER: Contestant = Contestant::Worker { api: Duration::ZERO };

pub async fn measure(node: &Node, queue_type: QueueType, jobs: usize, rounds: usize) -> anyhow::Result<()> {
    println!(
        "round  {:<10} {:>8} {:>7}  {:>10} {:>10} {:>10} {:>10} {:>12}",
        "", "jobs/s", "ratio", "client CPU", "broker CPU", "sandbox", "peak MiB", "ids per call"
    );
    let mut ratios = Vec::with_capacity(rounds);
    for round in 1..=rounds {
        let bare = once(node, queue_type, jobs, Contestant::Bare).await?;
        let worker = once(node, queue_type, jobs, WORKER).await?;
        let ratio = worker.rate / bare.rate;
        ratios.push(ratio);
        print(round, Contestant::Bare, &bare, None);
        print(round, WORKER, &worker, Some(ratio));
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio {:.2}", ratios[ratios.len() / 2]);
    Ok(())
}

struct Figures {
    rate: f64,
    client_cpu: f64,
    broker_cpu: f64,
    sandbox_cpu: f64,
    peak_mebibytes: u32,
    ids_per_call: Option<f64>,
}

fn print(round: usize, contestant: Contestant, figures: &Figures, ratio: Option<f64>) {
    let Figures { rate, client_cpu, broker_cpu, sandbox_cpu, peak_mebibytes, ids_per_call } = figures;
    let optional = |number: Option<f64>, digits| number.map_or(String::new(), |number| format!("{number:.digits$}"));
    let (ratio, ids) = (optional(ratio, 2), optional(*ids_per_call, 1));
    println!(
        "{round:>5}  {contestant:<10} {rate:>8.0} {ratio:>7}  {client_cpu:>10.2} {broker_cpu:>10.2} {sandbox_cpu:>10.2} \
         {peak_mebibytes:>10} {ids:>12}"
    );
}

async fn once(node: &Node, queue_type: QueueType, jobs: usize, contestant: Contestant) -> anyhow::Result<Figures> {
    let queues = Queues::fresh(node, queue_type).await?;
    queues.fill(jobs).await?;
    sleep(REST).await;
    let broker = node.control(&["eval", "os:getpid()."]).trim().trim_matches('"').parse()?;
    let running = contestant.start(&queues)?;
    let (first, begun) = queues.until_results(|count| count > 0).await?;
    let before = Spent::until_now(&running, broker)?;
    let (last, ended) = queues.until_results(|count| count >= jobs).await?;
    let after = Spent::until_now(&running, broker)?;
    sleep(REST).await;
    let peak_mebibytes = peak_mebibytes(running.client.id())?;
    let ids_per_call = match contestant {
        Contestant::Bare => None,
        Contestant::Worker { .. } => {
            let (ids, calls) = running.histogram("bulkrelease_batch_instances")?;
            Some(ids / calls)
        }
    };
    running.stop().await?;
    // Nothing was left behind, and nothing done twice: else the race was not won.
    let (left, results) = (queues.depth(JOBS).await?, queues.depth(RESULTS).await?);
    ensure!((left, results) == (0, jobs), "{contestant}: {left} jobs are left and {results} of {jobs} results there");
    queues.delete().await?;

    let counted = (last - first) as f64;
    let per_100_000 = |seconds: f64| seconds / counted * 100_000.0;
    Ok(Figures {
        rate: counted / (ended - begun).as_secs_f64(),
        client_cpu: per_100_000(after.client - before.client),
        broker_cpu: per_100_000(after.broker - before.broker),
        sandbox_cpu: per_100_000(after.sandbox - before.sandbox),
        peak_mebibytes,
        ids_per_call,
    })
}

/// Processor time, in seconds.
struct Spent {
    client: f64,
    broker: f64,
    sandbox: f64,
}

impl Spent {
    fn until_now(running: &Running, broker: u32) -> anyhow::Result<Self> {
        let sandbox = running.sandbox.as_ref().map(|sandbox| cpu_seconds(sandbox.id()));
        Ok(Self {
            client: cpu_seconds(running.client.id())?,
            broker: cpu_seconds(broker)?,
            sandbox: sandbox.transpose()?.unwrap_or_default(),
        })
    }
}
