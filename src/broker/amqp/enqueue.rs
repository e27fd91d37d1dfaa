//! Publishes jobs, and dead letters that come back, so that each is known to have reached its queue: `mandatory`, and one under way in each channel, because
//! with more lapin blames returns on the wrong message. Many channels make up for it.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;
use super::connection::Server;
use super::properties::{outgoing, short};
use crate::broker::BrokerError;
use crate::contract::Message;

const CHANNELS: usize = 64;
/// A broker with an alarm keeps publishers waiting for as long as it likes.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

/// Publishes all messages. The answers stand in the order of the messages.
pub(super) async fn publish_each(
    server: &Server,
    connection: &Connection,
    queue: &'static str,
    messages: &[Message],
) -> Vec<Result<(), BrokerError>> {
    let work = Work { server, connection, queue, messages, next: AtomicUsize::new(0), gave_up: AtomicBool::new(false) };
    let lanes = join_all((0..messages.len().min(CHANNELS)).map(|_| work.lane())).await;
    let mut answers = vec![None; messages.len()];
    let mut reason = BrokerError::TimedOut(CONFIRM_TIMEOUT);
    for Lane { answers: of_lane, end } in lanes {
        for (index, answer) in of_lane {
            answers[index] = Some(answer);
        }
        if let Err(error) = end {
            reason = error;
        }
    }
    // Messages are left over if no lane had a channel for them, or after a time-out.
    answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(reason.clone()))).collect()
}

/// What the lanes share.
struct Work<'a> {
    server: &'a Server,
    connection: &'a Connection,
    queue: &'static str,
    messages: &'a [Message],
    next: AtomicUsize,
    /// After one time-out nobody waits for another.
    gave_up: AtomicBool,
}

/// What one lane did, and why it ended early if it did.
struct Lane {
    answers: Vec<(usize, Result<(), BrokerError>)>,
    end: Result<(), BrokerError>,
}

impl Work<'_> {
    async fn lane(&self) -> Lane {
        let mut answers = Vec::new();
        let end = self.publish_all(&mut answers).await;
        Lane { answers, end }
    }

    /// Takes one message after another, each on a channel that works.
    async fn publish_all(&self, answers: &mut Vec<(usize, Result<(), BrokerError>)>) -> Result<(), BrokerError> {
        let mut channel = self.open().await?;
        while !self.gave_up.load(Relaxed) {
            let index = self.next.fetch_add(1, Relaxed);
            let Some(message) = self.messages.get(index) else { break };
            if !channel.status().connected() {
                channel = self.open().await?;
            }
            answers.push((index, self.publish(&channel, message).await));
        }
        Ok(())
    }

    async fn open(&self) -> Result<Channel, BrokerError> {
        let opening = async {
            let channel = self.connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok(channel)
        };
        match timeout(ANSWER_TIMEOUT, opening).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err::<_, lapin::Error>(error)) => Err(self.server.unreachable(&error)),
            Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
        }
    }

    async fn publish(&self, channel: &Channel, message: &Message) -> Result<(), BrokerError> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publishing = async {
            let properties = outgoing(&message.properties);
            channel.basic_publish(short(""), short(self.queue), options, &message.body, properties).await?.await
        };
        match timeout(CONFIRM_TIMEOUT, publishing).await {
            Ok(Ok(Confirmation::Ack(None))) => Ok(()),
            Ok(Ok(Confirmation::Ack(Some(returned)))) => Err(BrokerError::Unroutable(returned.reply_text.to_string())),
            Ok(Ok(_)) => Err(BrokerError::NotStored("it is full, or has too few nodes".to_owned())),
            Ok(Err(error)) if error.is_amqp_soft_error() => Err(BrokerError::NotStored(error.to_string())),
            Ok(Err(error)) => Err(self.server.unreachable(&error)),
            Err(_) => {
                self.gave_up.store(true, Relaxed);
                Err(BrokerError::TimedOut(CONFIRM_TIMEOUT))
            }
        }
    }
}
