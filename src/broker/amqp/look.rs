//! A look into a queue: everything that is ready is consumed and nothing acknowledged, so that the end of the channel puts
//! it back.
//!
//! A consumer gets no more than its prefetch while nothing is acknowledged, so each is followed by another one on the same
//! channel. At the end of a channel the broker returns what each consumer held in its old order, and goes from consumer to
//! consumer in the order of their tags as long as there are no more than 32 of them (Erlang's small maps). So a look takes
//! few large pages, and names them in their order. lapin may have read a page ahead, so each is no larger than it has to be:
//! a 32nd of the queue.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{CLOSE_TIMEOUT, Server, close};
use super::properties::incoming;
use super::{ANSWER_TIMEOUT, passive_declare, topology};
use crate::broker::look::Sink;
use crate::broker::{BrokerError, Look, Queue};

/// After five of them, where others consume as well, the broker is asked whether anything is left.
const SILENCE: Duration = Duration::from_secs(1);
/// A broker that has messages and sends none for so long is not well.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How many consumers a look takes, at most.
const PAGES: u64 = 32;
/// Small, because a letter may have megabytes.
const SMALLEST_PAGE: u64 = 10;
/// How long the messages may take to be back in their queue.
const RETURN_TIMEOUT: Duration = Duration::from_secs(50);

pub(super) async fn look(server: Arc<Server>, queue: Queue) -> Result<Look, BrokerError> {
    let connection = server.open("looking").await?;
    let beginning = async {
        let standing = passive_declare(&connection, &queue).await?;
        let channel = connection.create_channel().await?;
        Ok((standing, channel))
    };
    let begun = match timeout(ANSWER_TIMEOUT, beginning).await {
        Ok(Ok(begun)) => Ok(begun),
        Ok(Err(error)) if topology::is_missing(&error) => {
            Err(BrokerError::Missing { entity: format!("queue {}", queue.name()) })
        }
        Ok(Err::<_, lapin::Error>(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    };
    let (standing, channel) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            close(&connection).await;
            return Err(error);
        }
    };
    let (expected, others) = (u64::from(standing.message_count()), standing.consumer_count().into());
    let view = View { server, queue, connection, channel, expected, others };
    Ok(Look::begin(expected, others, move |sink| view.show(sink)))
}

struct View {
    server: Arc<Server>,
    queue: Queue,
    connection: Connection,
    channel: Channel,
    expected: u64,
    others: u64,
}

impl View {
    async fn show(self, sink: Sink) {
        let mut seen = 0;
        if let Err(error) = self.show_all(&sink, &mut seen).await
            && sink.send(Err(error)).await.is_err()
        {
            tracing::debug!("a look failed that nobody reads any more");
        }
        if !matches!(timeout(CLOSE_TIMEOUT, self.channel.close(200, "OK".into())).await, Ok(Ok(()))) {
            tracing::debug!("the channel of a look broke: the broker puts back what it held");
        }
        // Others may take what comes back.
        if self.others == 0 {
            self.wait_for_the_return(seen).await;
        }
        close(&self.connection).await;
    }

    async fn show_all(&self, sink: &Sink, seen: &mut u64) -> Result<(), BrokerError> {
        let page = self.expected.div_ceil(PAGES).clamp(SMALLEST_PAGE, u16::MAX.into());
        // Each holds what it got until the channel ends.
        let mut held = Vec::new();
        while *seen < self.expected {
            let mut consumer = self.consume(held.len(), page).await?;
            let until = self.expected.min(*seen + page);
            let more = self.show_page(&mut consumer, until, sink, seen).await?;
            held.push(consumer);
            if !more {
                break;
            }
        }
        Ok(())
    }

    async fn consume(&self, number: usize, page: u64) -> Result<Consumer, BrokerError> {
        let prefetch = u16::try_from(page).unwrap_or(u16::MAX);
        let (queue, tag) = (self.queue.name(), format!("look-{number:06}"));
        let consuming = async {
            self.channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            self.channel.basic_consume(queue.into(), tag.into(), options, FieldTable::default()).await
        };
        match timeout(ANSWER_TIMEOUT, consuming).await {
            Ok(Ok(consumer)) => Ok(consumer),
            Ok(Err(error)) => Err(self.server.unreachable(&error)),
            Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
        }
    }

    /// Whether there may be more.
    async fn show_page(
        &self,
        consumer: &mut Consumer,
        until: u64,
        sink: &Sink,
        seen: &mut u64,
    ) -> Result<bool, BrokerError> {
        // A queue that has a million messages to send is silent for seconds, and counts none meanwhile.
        let patience = if self.others == 0 { LONGEST_SILENCE } else { SILENCE * 5 };
        let mut heard = Instant::now();
        while *seen < until {
            match timeout(SILENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    (*seen, heard) = (*seen + 1, Instant::now());
                    if sink.send(Ok(incoming(delivery.data, &delivery.properties))).await.is_err() {
                        return Ok(false);
                    }
                }
                Ok(Some(Err(error))) => return Err(self.stopped_at(*seen, &error.to_string())),
                Ok(None) => return Err(self.server.unreachable(&format!(
                    "the broker ended the look into {} after {seen} messages: was the queue deleted, or did its node stop?",
                    self.queue.name()
                ))),
                Err(_) if heard.elapsed() < patience => {}
                // Others were quicker.
                Err(_) if self.ready().await? == 0 => return Ok(false),
                Err(_) if heard.elapsed() > LONGEST_SILENCE => return Err(BrokerError::TimedOut(LONGEST_SILENCE)),
                Err(_) => {}
            }
        }
        Ok(true)
    }

    /// What can't be read is in the way of all that stands behind it. Whoever takes it out takes out what stands before it too.
    fn stopped_at(&self, seen: u64, reason: &str) -> BrokerError {
        let (queue, count) = (self.queue.name(), seen + 1);
        let keep = |export: &str| match seen {
            0 => String::new(),
            _ => format!(
                "It takes them from the front, so first keep the {seen} before it: `bulkrelease dead {export} > first.jsonl`, and see \
                 that the file has {seen} lines; afterwards `bulkrelease dead import first.jsonl` brings them back, to \
                 release.dead. "
            ),
        };
        let take_out = format!(
            "Then take {count} messages out with RabbitMQ's management (get messages, ack mode \"reject requeue false\")"
        );
        let remedy = match self.queue {
            Queue::Dead => keep("export") + &take_out,
            Queue::Archive => keep("export --archive") + &take_out,
            Queue::Watch(_) => "Begin the watch anew: it can't be read to its end".to_owned(),
            _ => take_out,
        };
        self.server.unreachable(&format!(
            "{reason}, after {seen} messages of {queue}. If it stops there every time, the next message has a property that \
             is not UTF-8, and nothing here gets past it. {remedy}"
        ))
    }

    async fn ready(&self) -> Result<u64, BrokerError> {
        match timeout(ANSWER_TIMEOUT, passive_declare(&self.connection, &self.queue)).await {
            Ok(Ok(standing)) => Ok(standing.message_count().into()),
            Ok(Err(error)) => Err(self.server.unreachable(&error)),
            Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
        }
    }

    /// The broker puts things back behind the answer to the closing: whoever looks next must find them.
    async fn wait_for_the_return(&self, seen: u64) {
        let begun = Instant::now();
        while begun.elapsed() < RETURN_TIMEOUT {
            match self.ready().await {
                Ok(ready) if ready < seen => sleep(Duration::from_millis(20)).await,
                Ok(_) | Err(_) => break,
            }
        }
    }
}
