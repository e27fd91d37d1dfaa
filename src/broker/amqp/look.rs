//! A look into a queue: everything that is ready is consumed and nothing acknowledged, so that the end of the channel puts
//! it back. One consumer without a prefetch takes it all, because the broker then returns all of it in its old order; of
//! what several consumers hold it promises no order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep, timeout};

use super::connection::{CLOSE_TIMEOUT, Server, close};
use super::properties::incoming;
use super::{ANSWER_TIMEOUT, passive_declare, topology};
use crate::broker::look::Sink;
use crate::broker::{BrokerError, Look, Queue};

/// After such a silence the broker is asked whether anything is left.
const SILENCE: Duration = Duration::from_secs(1);
/// A broker that has messages and sends none for so long is not well.
const LONGEST_SILENCE: Duration = Duration::from_secs(60);
/// How long the messages may take to be back in their queue.
const RETURN_TIMEOUT: Duration = Duration::from_secs(50);

pub(super) async fn look(server: Arc<Server>, queue: Queue) -> Result<Look, BrokerError> {
    let connection = server.open("looking").await?;
    let beginning = async {
        let standing = passive_declare(&connection, &queue).await?;
        let channel = connection.create_channel().await?;
        let (name, tag) = (queue.name().into(), "".into());
        let consumer = match standing.message_count() {
            0 => None,
            _ => Some(channel.basic_consume(name, tag, BasicConsumeOptions::default(), FieldTable::default()).await?),
        };
        Ok((standing, channel, consumer))
    };
    let begun = match timeout(ANSWER_TIMEOUT, beginning).await {
        Ok(Ok(begun)) => Ok(begun),
        Ok(Err(error)) if topology::is_missing(&error) => {
            Err(BrokerError::Missing { entity: format!("queue {}", queue.name()) })
        }
        Ok(Err::<_, lapin::Error>(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    };
    let (standing, channel, consumer) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            close(&connection).await;
            return Err(error);
        }
    };
    let (expected, others) = (standing.message_count().into(), standing.consumer_count().into());
    let view = View { server, queue, connection, channel, expected, others };
    Ok(Look::begin(expected, others, move |sink| view.show(consumer, sink)))
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
    async fn show(self, consumer: Option<Consumer>, sink: Sink) {
        let mut seen = 0;
        if let Some(mut consumer) = consumer
            && let Err(error) = self.show_all(&mut consumer, &sink, &mut seen).await
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

    async fn show_all(&self, consumer: &mut Consumer, sink: &Sink, seen: &mut u64) -> Result<(), BrokerError> {
        let mut heard = Instant::now();
        while *seen < self.expected {
            match timeout(SILENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => {
                    (*seen, heard) = (*seen + 1, Instant::now());
                    if sink.send(Ok(incoming(delivery.data, &delivery.properties))).await.is_err() {
                        break;
                    }
                }
                Ok(Some(Err(error))) => return Err(self.stopped_at(*seen, &error.to_string())),
                Ok(None) => return Err(self.stopped_at(*seen, "the broker cancelled the consumer")),
                // Others were quicker.
                Err(_) if self.ready().await? == 0 => break,
                Err(_) if heard.elapsed() > LONGEST_SILENCE => return Err(BrokerError::TimedOut(LONGEST_SILENCE)),
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn stopped_at(&self, seen: u64, reason: &str) -> BrokerError {
        let queue = self.queue.name();
        self.server.unreachable(&format!(
            "{reason}, after {seen} messages of {queue}. If it stops there every time, the next message has a property that \
             is not UTF-8: take it out with RabbitMQ's management (get messages, ack mode \"reject requeue false\")"
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
