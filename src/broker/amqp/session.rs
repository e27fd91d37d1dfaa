//! One life of the consuming side: a connection, a channel with its prefetch, a consumer, and what is still to be
//! acknowledged. Its end, however it comes, makes every tag of it void.
//!
//! Acks and nacks are only put in line for the socket, never waited for: a loss shows itself in the stream.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
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
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) queue: Queue,
    pub(super) prefetch: u16,
}

pub(super) struct Session {
    pub(super) number: u64,
    connection: Connection,
    channel: Channel,
    queue: Queue,
    consumer: Consumer,
    /// The prefetch of the consumer to come when this one has ended, and that one on its way.
    wider: Option<u16>,
    widening: Option<BoxFuture<'static, lapin::Result<Consumer>>>,
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
        let consumer = consume(channel.clone(), source.clone()).await?;
        Ok((channel, consumer))
    };
    match timeout(ANSWER_TIMEOUT, consuming).await {
        Ok(Ok((channel, consumer))) => {
            let (acknowledge, opened, queue) = (Acknowledge::new(), Instant::now(), source.queue);
            let (wider, widening) = (None, None);
            Ok(Session {
                number,
                connection,
                channel,
                queue,
                consumer,
                wider,
                widening,
                acknowledge,
                opened,
                settled: opened,
            })
        }
        Ok(Err::<_, lapin::Error>(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

/// lapin buffers without a bound: the prefetch is the bound, and 0 would be none.
async fn consume(channel: Channel, source: Source) -> lapin::Result<Consumer> {
    channel.basic_qos(source.prefetch.max(1), BasicQosOptions::default()).await?;
    let (queue, tag) = (source.queue.name().into(), "".into());
    channel.basic_consume(queue, tag, BasicConsumeOptions::default(), FieldTable::default()).await
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
        let delivery = loop {
            if let Some(widening) = &mut self.widening {
                let consumer = widening.await;
                self.widening = None;
                match consumer {
                    Ok(consumer) => self.consumer = consumer,
                    Err(error) => return Some(Err(error)),
                }
            }
            if let Some(delivery) = self.consumer.next().await {
                break delivery;
            }
            let source = Source { queue: self.queue.clone(), prefetch: self.wider.take()? };
            self.widening = Some(consume(self.channel.clone(), source).boxed());
        };
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

    /// Goes on with another prefetch: a consumer keeps the one that it began with, so this one makes way for the next on
    /// the same channel. What is held stays held.
    pub(super) fn widen(&mut self, prefetch: u16) -> BoxFuture<'static, lapin::Result<()>> {
        self.wider = Some(prefetch);
        self.cancel()
    }

    pub(super) fn is_widening(&self) -> bool {
        self.wider.is_some() || self.widening.is_some()
    }

    /// Asks for no further deliveries. Those of a consumer on its way are not read; they go back with the channel.
    pub(super) fn stop(&mut self) -> BoxFuture<'static, lapin::Result<()>> {
        self.wider = None;
        match self.widening.take() {
            Some(widening) => {
                let channel = self.channel.clone();
                async move { channel.basic_cancel(widening.await?.tag(), BasicCancelOptions::default()).await }.boxed()
            }
            None => self.cancel(),
        }
    }

    fn cancel(&self) -> BoxFuture<'static, lapin::Result<()>> {
        let (channel, tag) = (self.channel.clone(), self.consumer.tag());
        async move { channel.basic_cancel(tag, BasicCancelOptions::default()).await }.boxed()
    }

    /// Sends every ack and closes: what is not finished goes back to its queue. Whether the acks are known to have arrived.
    pub(super) async fn close(mut self) -> bool {
        let acks = self.acknowledge.all();
        let sent = self.send(acks);
        sleep_until(self.settled + STASH).await;
        // The answer to the closing of the channel says that the acks before it have arrived.
        let closed = timeout(CLOSE_TIMEOUT, self.channel.close(200, "OK".into())).await;
        let arrived = sent.is_ok() && matches!(closed, Ok(Ok(())));
        close(&self.connection).await;
        arrived
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
