//! How fast the worker is beside a bare relay, which only moves messages. Run it with `cargo bench --bench relay`; what it
//! printed, and what that means, stands in `docs/benchmarks.md`.
//!
//! One private RabbitMQ node, and both contestants in turn, each as a process of its own: machines and their neighbours
//! vary from minute to minute, a ratio taken within one run much less. Nothing here fails for being slow.
//!
//! - `JOBS` (50000), `ROUNDS` (3) and `LONE_JOBS` (200) in the environment change how much is measured.
//! - `-- --classic` takes classic queues instead of quorum queues.

#[path = "relay/bare.rs"]
mod bare;
#[path = "relay/contestant.rs"]
mod contestant;
#[path = "relay/latency.rs"]
mod latency;
#[path = "relay/process.rs"]
mod process;
#[path = "relay/queues.rs"]
mod queues;
#[path = "../tests/support/rabbitmq/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest of it")]
mod rabbitmq;
#[path = "../tests/support/signals.rs"]
mod signals;
#[path = "relay/throughput.rs"]
mod throughput;

use std::time::Duration;

use anyhow::Context;
use bulkrelease::config::QueueType;

use contestant::Contestant;
use rabbitmq::{Configuration, Node};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [bare::COMMAND, url] => runtime.block_on(bare::relay(url)),
        _ if arguments.iter().any(|argument| argument == "--classic") => runtime.block_on(measure(QueueType::Classic)),
        _ => runtime.block_on(measure(QueueType::Quorum)),
    }
}

async fn measure(queue_type: QueueType) -> anyhow::Result<()> {
    let (jobs, rounds, lone_jobs) = (number("JOBS", 50_000)?, number("ROUNDS", 3)?, number("LONE_JOBS", 200)?);
    let node = Node::start(&Configuration::default()).await;
    let cores = std::thread::available_parallelism()?;
    println!("RabbitMQ {}, {cores} cores shared by all, {queue_type:?} queues", version(&node));
    println!("a job has 1 id, its result {} bytes; prefetch 1000\n", bare::result_body().len());

    if rounds > 0 {
        println!("{jobs} jobs in the queue, {rounds} rounds; CPU in seconds per 100,000 jobs");
        throughput::measure(&node, queue_type, jobs, rounds).await?;
    }
    if lone_jobs > 0 {
        println!("\n{lone_jobs} lone jobs, one at a time: from enqueueing to the delivered result, in milliseconds");
        latency::print_header();
        latency::measure(&node, queue_type, Contestant::Bare, lone_jobs).await?;
        for api in [Duration::ZERO, Duration::from_millis(20)] {
            latency::measure(&node, queue_type, Contestant::Worker { api }, lone_jobs).await?;
        }
    }
    Ok(())
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}

fn version(node: &Node) -> String {
    node.control(&["version"]).trim().to_owned()
}
