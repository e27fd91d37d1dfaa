//! RabbitMQ, through lapin. This file joins the parts to the trait; each part says what it is for:
//!
//! - `connection`: the server's address and how a connection is opened; `topology`: exchanges and queues, as data.
//! - `consumer`: the consuming side, over one `session` at a time, which acks as `acknowledge` decides and takes as much
//!   as `isolation` allows.
//! - `publisher`: the publishing side, over a connection of its own, with its memory `unconfirmed`; `replies`.
//! - `enqueue`: messages that are each known to have reached their queue. `look`: what is in a queue, taking none of it.
//! - `beacons`: what workers tell each other, over a connection of its own.
//! - `inspect`: how the server stands, with its `greeting`, what is found by `attempt`, and what its `management` plugin
//!   tells; nothing is changed.
//! - `properties`: messages; `health`, `reconnect`: small change.
//!
//! No lapin type leaves this room.

mod acknowledge;
mod attempt;
mod beacons;
mod connection;
mod consumer;
mod enqueue;
mod greeting;
mod health;
pub(super) mod inspect;
mod isolation;
mod look;
mod management;
mod properties;
mod publisher;
mod reconnect;
mod replies;
mod session;
mod topology;
mod unconfirmed;

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use lapin::Connection;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use self::connection::{KeptConnection, Server};
use self::consumer::{ConsumingSide, Ends};
use self::health::HealthBoard;
use self::publisher::Publisher;
use self::session::Source;
use super::{Broker, BrokerError, Fleet, Look, Queue, Subscription, WatchName};
use crate::config::BrokerSettings;
use crate::contract::{DEAD, JOBS, Message};

/// Longest wait for the answer to a question that the broker answers at once when it is well.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the publishing side and the replies may take to end after the consuming side.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A RabbitMQ server, or a cluster behind one address.
pub struct AmqpBroker {
    server: Arc<Server>,
    asking: KeptConnection,
    enqueueing: KeptConnection,
}

impl std::fmt::Debug for AmqpBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AmqpBroker").field(&self.server).finish()
    }
}

impl AmqpBroker {
    /// Checks the settings. Nothing is connected before it is needed.
    pub fn new(settings: &BrokerSettings) -> Result<Self, BrokerError> {
        Ok(Self {
            server: Arc::new(Server::new(settings)?),
            asking: KeptConnection::new("asking"),
            enqueueing: KeptConnection::new("enqueueing"),
        })
    }

    /// With a retry queue for each of these delays, in place of the usual ones.
    pub fn with_steps(self, steps: &[Duration]) -> Self {
        let Self { server, asking, enqueueing } = self;
        // Nothing else holds it before the broker is used.
        let server = Arc::new(Arc::unwrap_or_clone(server).with_steps(steps));
        Self { server, asking, enqueueing }
    }

    async fn publish_to(&self, queue: &'static str, messages: Vec<Message>) -> Vec<Result<(), BrokerError>> {
        let connection = match self.enqueueing.get(&self.server, true).await {
            Ok(connection) => connection,
            Err(error) => return vec![Err(error); messages.len()],
        };
        let answers = enqueue::publish_each(&self.server, &connection, queue, &messages).await;
        if answers.iter().any(|answer| matches!(answer, Err(BrokerError::TimedOut(_)))) {
            self.enqueueing.discard().await;
        }
        answers
    }

    async fn messages_ready(&self, queue: Queue) -> Result<u64, BrokerError> {
        let connection = self.asking.get(&self.server, false).await?;
        let asking = passive_declare(&connection, &queue);
        match timeout(ANSWER_TIMEOUT, asking).await {
            Ok(Ok(queue)) => Ok(queue.message_count().into()),
            Ok(Err(error)) if topology::is_missing(&error) => {
                Err(BrokerError::Missing { entity: format!("queue {}", queue.name()) })
            }
            Ok(Err(error)) => Err(self.server.unreachable(&error)),
            Err(_) => {
                self.asking.discard().await;
                Err(BrokerError::TimedOut(ANSWER_TIMEOUT))
            }
        }
    }
}

async fn passive_declare(connection: &Connection, queue: &Queue) -> lapin::Result<lapin::Queue> {
    // A channel to throw away: asking for a queue that isn't there costs it.
    let channel = connection.create_channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(queue.name().into(), options, FieldTable::default()).await
}

impl Broker for AmqpBroker {
    fn place(&self) -> String {
        self.server.address().to_owned()
    }

    /// Declares even where `broker.declare` is off: whoever calls this asks for it.
    fn declare(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        async {
            let connection = self.asking.get(&self.server, false).await?;
            self.server.topology().declare(&connection).await
        }
        .boxed()
    }

    fn subscribe(&self, queue: Queue, prefetch: u16) -> Subscription {
        let (event_sender, events) = mpsc::channel(consumer::EVENTS);
        let (commands, command_receiver) = mpsc::unbounded_channel();
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let (confirmed_sender, confirmed) = mpsc::unbounded_channel();
        let (replies, reply_receiver) = mpsc::channel(replies::LIMIT);
        let (board, health) = HealthBoard::new();
        let board = Arc::new(board);

        let server = Arc::clone(&self.server);
        let publisher = Publisher::new(Arc::clone(&server), order_receiver, confirmed_sender, Arc::clone(&board));
        let ends = Ends { events: event_sender, commands: command_receiver, orders, confirmed, replies };
        let consuming = ConsumingSide::new(Arc::clone(&server), Source { queue, prefetch }, ends, board);
        // Its panic shows as the end of the events; theirs are seen here.
        tokio::spawn(async move {
            let publishing = AbortOnDropHandle::new(tokio::spawn(publisher.run()));
            let replying = AbortOnDropHandle::new(tokio::spawn(replies::write_replies(server, reply_receiver)));
            consuming.run().await;
            for task in [publishing, replying] {
                // One that is cancelled ends with the process, as it may.
                if let Ok(Err(error)) = timeout(LAST_WORDS, task).await
                    && error.is_panic()
                {
                    tracing::error!(%error, "a task of the broker connection broke");
                }
            }
        });
        Subscription { events, commands, health }
    }

    fn enqueue(&self, jobs: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.publish_to(JOBS, jobs).boxed()
    }

    fn deposit(&self, letters: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.publish_to(DEAD, letters).boxed()
    }

    fn look(&self, queue: Queue) -> BoxFuture<'_, Result<Look, BrokerError>> {
        look::look(Arc::clone(&self.server), queue).boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.messages_ready(queue).boxed()
    }

    fn watch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            // Ready: the exchanges that it is bound to exist.
            let connection = self.enqueueing.get(&self.server, true).await?;
            topology::watch(&connection, &name).await
        }
        .boxed()
    }

    fn unwatch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>> {
        async move {
            let connection = self.asking.get(&self.server, false).await?;
            topology::unwatch(&connection, &name).await
        }
        .boxed()
    }

    fn join_fleet(&self) -> Fleet {
        Fleet::begin(|ends| beacons::take_part(Arc::clone(&self.server), ends))
    }
}
