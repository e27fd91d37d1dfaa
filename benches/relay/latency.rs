//! How long a lone job takes, from the moment of its publishing to the delivery of its result, while nothing else is
//! there. What the API itself took is told apart: no worker can be faster than that.

use std::time::Duration;

use anyhow::Context;
use bulkrelease::config::QueueType;
use bulkrelease::contract::{JOBS, RESULTS};
use futures_util::StreamExt;
use lapin::BasicProperties;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep, timeout};

use super::contestant::Contestant;
use super::queues::{Queues, job};
use super::rabbitmq::Node;

const PATIENCE: Duration = Duration::from_secs(30);
/// Jobs before the counted ones: connections are made and code is paged in.
const WARM_UP: usize = 20;

pub fn print_header() {
    println!("{:<28} {:>8} {:>8} {:>10} {:>14}", "", "median", "p99", "API, mean", "median - API");
}

pub async fn measure(node: &Node, queue_type: QueueType, contestant: Contestant, jobs: usize) -> anyhow::Result<()> {
    let queues = Queues::fresh(node, queue_type).await?;
    let channel = queues.connection.create_channel().await?;
    let (options, tag) = (BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() }, "".into());
    let mut results = channel.basic_consume(RESULTS.into(), tag, options, FieldTable::default()).await?;
    let running = contestant.start(&queues)?;

    let mut taken = Vec::with_capacity(jobs);
    let mut api_before = (0.0, 0.0);
    for number in 0..WARM_UP + jobs {
        if number == WARM_UP && contestant != Contestant::Bare {
            api_before = running.histogram("bulkrelease_call_seconds")?;
        }
        sleep(Duration::from_millis(fastrand::u64(5..=50))).await;
        let message = job(number);
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(message.properties.message_id.unwrap_or_default().into());
        let (key, options) = (JOBS.into(), BasicPublishOptions::default());
        let enqueued = Instant::now();
        channel.basic_publish("".into(), key, options, &message.body, properties).await?.await?;
        timeout(PATIENCE, results.next()).await?.context("the results' consumer ended")??;
        if number >= WARM_UP {
            taken.push(enqueued.elapsed().as_secs_f64() * 1000.0);
        }
    }
    let api = match contestant {
        Contestant::Bare => 0.0,
        Contestant::Worker { .. } => {
            let (sum, count) = running.histogram("bulkrelease_call_seconds")?;
            (sum - api_before.0) / (count - api_before.1) * 1000.0
        }
    };
    running.stop().await?;
    queues.delete().await?;
    taken.sort_by(f64::total_cmp);
    let (median, p99) = (taken[jobs / 2], taken[jobs * 99 / 100]);
    let name = match contestant {
        Contestant::Bare => "bare relay".to_owned(),
        Contestant::Worker { api } => format!("worker, sandbox with {api:?}"),
    };
    println!("{name:<28} {median:>8.2} {p99:>8.2} {api:>10.2} {:>14.2}", median - api);
    Ok(())
}
