//! One life of the consuming side: a connection, a channel with its prefetch, a consumer, and what is still to be
//! acknowledged. Its end, however it comes, makes every tag of it void.
//!
//! Acks and nacks are only put in line for the socket, never waited for: a loss shows itself in the stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::ANSWER_TIMEOUT;
use super::acknowledge::{Ack, Acknowledge};
use super::connection::{CLOSE_TIMEOUT, Server, close};
use super::properties::{earlier_deliveries, incoming};
use crate::broker::{BrokerError, Delivery, DeliveryTag, Queue};

/// For a quorum queue the broker's channel has 32 acks and returns under way and stashes the next. The end of the channel
/// drops the stash (on 3.10, of 50 acks before a close 17 were lost), so it gets this long to empty.
const STASH: Duration = Duration::from_millis(250);

/// What is consumed, and how much of it at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source {
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
}

pub(super) struct Session {
    pub(super) number: u64,
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    acknowledge: Acknowledge,
    opened: Instant,
    /// When the last ack or return was sent.
    settled: Instant,
}

/// Closes what was lost, lets a pause pass, and opens a session.
pub(super) async fn reopen(
    server: Arc<Server>,
    source: Source,
    number: u64,
    lost: Option<Session>,
    pause: Duration,
) -> Result<Session, BrokerError> {
    if let Some(lost) = lost {
        close(&lost.connection).await;
    }
    sleep(pause).await;
    let connection = server.open_ready(&format!("consuming {}", source.queue.name())).await?;
    let consuming = async {
        let channel = connection.create_channel().await?;
        // lapin buffers without a bound: the prefetch is the bound, and 0 would be none.
        channel.basic_qos(source.prefetch.max(1), BasicQosOptions::default()).await?;
        let (queue, tag) = (source.queue.name().into(), "".into());
        let consumer = channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await?;
        Ok((channel, consumer))
    };
    match timeout(ANSWER_TIMEOUT, consuming).await {
        Ok(Ok((channel, consumer))) => {
            let (acknowledge, opened) = (Acknowledge::new(), Instant::now());
            Ok(Session { number, connection, channel, consumer, acknowledge, opened, settled: opened })
        }
        Ok(Err::<_, lapin::Error>(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

impl Session {
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    /// The next delivery. `None` after a cancellation, ours or the broker's; then nothing comes any more.
    pub(super) async fn next(&mut self) -> Option<lapin::Result<Delivery>> {
        let delivery = self.consumer.next().await?;
        Some(delivery.map(|delivery| {
            let number = delivery.delivery_tag;
            self.acknowledge.delivered(number);
            Delivery {
                tag: DeliveryTag { session: self.number, number },
                redelivered: delivery.redelivered,
                earlier_deliveries: earlier_deliveries(&delivery.properties, delivery.redelivered),
                message: incoming(delivery.data, &delivery.properties),
            }
        }))
    }

    /// The tag's publications are about to be ordered. Whether it is of this session and not yet settled.
    pub(super) fn order(&mut self, tag: DeliveryTag) -> bool {
        tag.session == self.number && self.acknowledge.ordered(tag.number)
    }

    /// The delivery may be acked, now or in a moment. Whether it was held.
    pub(super) fn finished(&mut self, tag: DeliveryTag) -> bool {
        tag.session == self.number && self.acknowledge.finished(tag.number, self.opened.elapsed())
    }

    pub(super) fn give_back(&mut self, tag: DeliveryTag) -> lapin::Result<()> {
        if tag.session != self.number || !self.acknowledge.given_back(tag.number) {
            return Ok(());
        }
        self.settled = Instant::now();
        let options = BasicNackOptions { multiple: false, requeue: true };
        self.channel.basic_nack(tag.number, options).now_or_never().unwrap_or(Ok(()))
    }

    pub(super) fn send_acks_due(&mut self) -> lapin::Result<()> {
        let acks = self.acknowledge.due(self.opened.elapsed());
        self.send(acks)
    }

    /// When acks are due that are not due now.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.acknowledge.deadline().map(|since_opened| self.opened + since_opened)
    }

    /// Asks for no further deliveries.
    pub(super) fn cancel(&self) -> impl Future<Output = lapin::Result<()>> + Send + use<> {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        async move { channel.basic_cancel(tag, BasicCancelOptions::default()).await }
    }

    /// Sends every ack and closes: what is not finished goes back to its queue.
    pub(super) async fn close(mut self) {
        let acks = self.acknowledge.all();
        let sent = self.send(acks);
        sleep_until(self.settled + STASH).await;
        // The answer to the closing of the channel says that the acks before it have arrived.
        let closed = timeout(CLOSE_TIMEOUT, self.channel.close(200, "OK".into())).await;
        if sent.is_err() || !matches!(closed, Ok(Ok(()))) {
            tracing::debug!("the last acks may be lost: the broker will deliver those again");
        }
        close(&self.connection).await;
    }

    fn send(&mut self, acks: Vec<Ack>) -> lapin::Result<()> {
        if !acks.is_empty() {
            self.settled = Instant::now();
        }
        for ack in acks {
            let (tag, multiple) = match ack {
                Ack::UpTo(tag) => (tag, true),
                Ack::One(tag) => (tag, false),
            };
            self.channel.basic_ack(tag, BasicAckOptions { multiple }).now_or_never().unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}
