//! Best-effort copies to the queues that producers named in `reply_to`, on a connection of their own, so that nothing a
//! producer asks for can hold up a result. A reply that can't be written is dropped, and never tried again.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::BasicPublishOptions;
use lapin::{Channel, Connection};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::ANSWER_TIMEOUT;
use super::connection::{Server, close};
use super::properties::{outgoing, short};
use crate::broker::BrokerError;
use crate::contract::Message;

/// Replies waiting to be written; the next ones are dropped.
pub(super) const LIMIT: usize = 1000;
const BATCH: usize = 100;
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// After a failure replies are dropped for so long, instead of trying to connect for each.
const PAUSE: Duration = Duration::from_secs(5);

/// A message, and the queue it goes to.
pub(super) type Reply = (String, Message);

/// Writes replies until the sending half is dropped.
pub(super) async fn write_replies(server: Arc<Server>, mut replies: mpsc::Receiver<Reply>) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut open: Option<(Connection, Channel)> = None;
    let mut paused_until = Instant::now();
    while replies.recv_many(&mut batch, BATCH).await > 0 {
        if Instant::now() >= paused_until
            && let Err(error) = write_batch(&server, &mut open, &batch).await
        {
            tracing::warn!(%error, dropped = batch.len(), "replies are dropped");
            if let Some((connection, _)) = open.take() {
                close(&connection).await;
            }
            paused_until = Instant::now() + PAUSE;
        }
        batch.clear();
    }
    if let Some((connection, _)) = open {
        close(&connection).await;
    }
}

async fn write_batch(
    server: &Server,
    open: &mut Option<(Connection, Channel)>,
    batch: &[Reply],
) -> Result<(), BrokerError> {
    let (_, channel) = match open {
        Some(open) => open,
        None => open.insert(connect(server).await?),
    };
    let written = join_all(batch.iter().map(|(queue, message)| write(channel, queue, message)));
    let outcomes = timeout(WRITE_TIMEOUT, written).await.map_err(|_| BrokerError::TimedOut(WRITE_TIMEOUT))?;
    outcomes.into_iter().collect::<lapin::Result<()>>().map_err(|error| BrokerError::Other(error.to_string()))
}

async fn connect(server: &Server) -> Result<(Connection, Channel), BrokerError> {
    let connection = server.open("replying").await?;
    match timeout(ANSWER_TIMEOUT, connection.create_channel()).await {
        Ok(Ok(channel)) => Ok((connection, channel)),
        Ok(Err(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

async fn write(channel: &Channel, queue: &str, message: &Message) -> lapin::Result<()> {
    let options = BasicPublishOptions::default();
    let properties = outgoing(&message.properties);
    let unconfirmed = channel.basic_publish(short(""), short(queue), options, &message.body, properties).await?;
    // The channel is not in confirm mode: this is ready at once, but lapin keeps it if it is dropped unread.
    unconfirmed.await.map(drop)
}
