//! The queues of one measurement: a virtual host of its own, with the same topology for every contestant.

use std::time::Duration;

use anyhow::bail;
use bulkrelease::broker::{self, Broker};
use bulkrelease::config::{BrokerSettings, QueueType, RetrySettings};
use bulkrelease::contract::{JOB_KIND, JOBS, Message, Properties, RESULTS};
use jiff::Timestamp;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::time::{Instant, sleep};

use super::rabbitmq::Node;

/// Longer than any contestant takes.
const PATIENCE: Duration = Duration::from_secs(300);
const LOOK: Duration = Duration::from_millis(10);

pub struct Queues<'a> {
    pub url: String,
    pub connection: Connection,
    channel: Channel,
    broker: Box<dyn Broker>,
    host: String,
    node: &'a Node,
    queue_type: QueueType,
}

impl<'a> Queues<'a> {
    pub async fn fresh(node: &'a Node, queue_type: QueueType) -> anyhow::Result<Self> {
        let host = format!("benchmark-{}", fastrand::u64(..));
        let url = node.virtual_host(&host);
        let settings = BrokerSettings { url: Some(url.clone()), queue_type, ..BrokerSettings::default() };
        let broker = broker::open(&settings, &RetrySettings::default().steps)?;
        broker.declare().await?;
        let connection = Connection::connect(&url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok(Self { url, connection, channel, broker, host, node, queue_type })
    }

    pub async fn fill(&self, jobs: usize) -> anyhow::Result<()> {
        let answers = self.broker.enqueue((0..jobs).map(job).collect()).await;
        answers.into_iter().collect::<Result<Vec<()>, _>>()?;
        self.until(JOBS, |depth| depth == jobs).await?;
        Ok(())
    }

    /// As the setting writes it.
    pub fn queue_type(&self) -> String {
        format!("{:?}", self.queue_type).to_lowercase()
    }

    /// The number of messages that are ready in a queue.
    pub async fn depth(&self, queue: &str) -> anyhow::Result<usize> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declared = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
        Ok(declared.message_count().try_into()?)
    }

    /// Waits for results, and says how many there are and when that was seen.
    pub async fn until_results(&self, enough: impl Fn(usize) -> bool) -> anyhow::Result<(usize, Instant)> {
        self.until(RESULTS, enough).await
    }

    async fn until(&self, queue: &str, enough: impl Fn(usize) -> bool) -> anyhow::Result<(usize, Instant)> {
        let begun = Instant::now();
        loop {
            let depth = self.depth(queue).await?;
            if enough(depth) {
                return Ok((depth, Instant::now()));
            }
            if begun.elapsed() > PATIENCE {
                bail!("{queue} has {depth} messages after {PATIENCE:?}");
            }
            sleep(LOOK).await;
        }
    }

    pub async fn delete(self) -> anyhow::Result<()> {
        self.connection.close(200, "OK".into()).await?;
        drop(self.broker);
        self.node.control(&["delete_vhost", &self.host]);
        Ok(())
    }
}

/// A job with one id, as a producer writes it.
pub fn job(number: usize) -> Message {
    let id = job_of(number);
    let body = format!(r#"{{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["{id}"]}}"#);
    let properties = Properties {
        message_id: Some(job_name(number)),
        kind: Some(JOB_KIND.to_owned()),
        timestamp: Some(Timestamp::now().as_second().unsigned_abs()),
        ..Properties::default()
    };
    Message { body: body.into_bytes(), properties }
}

/// The instance id of a job.
pub fn job_of(number: usize) -> String {
    format!("i-bp1{number:017}")
}

pub fn job_name(number: usize) -> String {
    format!("order-{number:012}")
}
