//! Workers that share an account, and one whose account or settings change under it: real brokers, workers of their own
//! processes, the sandbox as the judge.

mod held;
mod hint;
mod reload;
mod share;

use crate::support::orders::Order;
use crate::support::rabbitmq::Node;
use crate::support::worker::Worker;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::config::BrokerSettings;

/// A retry step that a test can wait for, for worker and broker alike.
const STEP: std::time::Duration = std::time::Duration::from_secs(1);

/// A virtual host with everything declared, and its URL.
async fn house(node: &Node, name: &str) -> (AmqpBroker, String) {
    use bulkrelease::broker::Broker as _;
    let url = node.virtual_host(name);
    let settings = BrokerSettings { url: Some(url.clone()), ..BrokerSettings::default() };
    let broker = AmqpBroker::new(&settings).expect("valid settings").with_steps(&[STEP]);
    broker.declare().await.expect("declared");
    (broker, url)
}

/// Jobs of one full batch each, so that a job is a call.
fn full_batches(count: usize) -> Vec<Order> {
    let ids = |job: usize| (0..100).map(|n| format!("i-{job}-{n}")).collect();
    (0..count).map(|job| Order { job: format!("job-{job}"), group: 0, ids: ids(job) }).collect()
}

/// The value of a series on a worker's metrics page.
async fn metric(worker: &Worker, series: &str) -> f64 {
    let (_, page) = worker.get("/metrics").await;
    let line = page.lines().find_map(|line| line.strip_prefix(series));
    line.and_then(|rest| rest.trim().parse().ok()).unwrap_or_default()
}
