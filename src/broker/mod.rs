//! One trait, two brokers: RabbitMQ (`amqp`) and one SQLite file (`embedded`). `tests/conformance.rs` holds both to it.
//!
//! A broker hands out deliveries and takes settlements. A settlement is one step for whoever orders it: *publish these,
//! and only when every one is confirmed, forget the delivery.* So "ack after confirm" can't be got wrong elsewhere. A
//! broker must not know what a job or a result says.

pub mod amqp;
pub mod embedded;
mod fleet;
pub mod inspection;
mod look;
mod queue;

use std::fmt;
use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

pub use self::fleet::{Fleet, Heard};
use self::inspection::{Extent, Inspection, NoInspection};
pub use self::look::Look;
pub use self::queue::{Queue, WatchName, step_name};
use crate::config::BrokerSettings;
use crate::contract::Message;

/// What a worker, a producer and an operator need of a broker.
pub trait Broker: Send + Sync {
    /// Where it is, for people: its address and virtual host without user and password, or the file's whole path. However
    /// the settings write it, one place has one name.
    fn place(&self) -> String;

    /// Declares every exchange and queue. Idempotent; what exists otherwise is reported, never changed.
    fn declare(&self) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Starts consuming a queue. Returns at once; connecting, and connecting again after a loss, goes on behind the
    /// subscription until it is closed.
    fn subscribe(&self, queue: Queue, prefetch: u16) -> Subscription;

    /// Publishes jobs, each confirmed and known to have reached the queue. The answers stand in the order of the jobs.
    fn enqueue(&self, jobs: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>>;

    /// Messages ready in a queue, not counting those that a consumer holds.
    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>>;

    /// Looks at what is ready in a queue, in its order, and takes nothing: afterwards every message is where it was.
    fn look(&self, queue: Queue) -> BoxFuture<'_, Result<Look, BrokerError>>;

    /// Puts dead letters back into their queue, each confirmed and known to have reached it. No watcher gets a copy: they
    /// are no news. The answers stand in the order of the letters.
    fn deposit(&self, letters: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>>;

    /// From now on `Queue::Watch(name)` gets a copy of every result and of every dead letter. Idempotent. It takes nothing
    /// from the queues of others, and goes by itself when nobody has read it for a day.
    fn watch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Ends a watch and drops the copies that were not read. Idempotent.
    fn unwatch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Takes a place in the fleet: tells all workers of this broker something now and then, and hears them, itself
    /// included. Returns at once; connecting, and connecting again, goes on behind it.
    fn join_fleet(&self) -> Fleet;
}

/// Opens the broker that the settings name, with a retry queue for each of the `steps`. Nothing is connected before it is
/// needed.
pub fn open(settings: &BrokerSettings, steps: &[Duration]) -> Result<Box<dyn Broker>, BrokerError> {
    let url = settings.url.as_deref().ok_or(BrokerError::NotNamed)?;
    match url.strip_prefix("sqlite:") {
        Some(path) => Ok(Box::new(embedded::EmbeddedBroker::open(Path::new(path))?)),
        None => Ok(Box::new(amqp::AmqpBroker::new(settings)?.with_steps(steps))),
    }
}

/// Jobs that wait in the retry queues of these steps, as far as they can be counted: one that can't hides nothing of the others.
pub async fn postponed(broker: &dyn Broker, steps: &[Duration]) -> u64 {
    let mut jobs = 0;
    for after in steps {
        jobs += broker.depth(Queue::Retry { after: *after }).await.unwrap_or(0);
    }
    jobs
}

/// Asks the broker that the settings name how it stands. Nothing is created, consumed or stored.
pub async fn inspect(
    settings: &BrokerSettings,
    steps: &[Duration],
    extent: Extent,
) -> Result<Inspection, NoInspection> {
    let url = settings.url.as_deref().ok_or(NoInspection::NotNamed)?;
    match url.strip_prefix("sqlite:") {
        Some(path) => Ok(Inspection::File(embedded::inspect(Path::new(path)).await)),
        None => amqp::inspect::inspect(settings, steps, extent).await.map(Box::new).map(Inspection::RabbitMq),
    }
}

/// How long a watch lives that nobody reads.
const UNWATCHED: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a publication goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// The results exchange, with the routing key `<status>.<ProductCode>`.
    Results { key: String },
    /// The dead-letter queue.
    Dead,
    /// The dead-letter queue, for a letter that was there before: no watcher gets a copy, since it is no news.
    DeadAgain,
    /// Back to the jobs, after a delay that is one of the broker's steps.
    Retry { after: Duration },
    /// The jobs, behind those that wait there.
    Jobs,
    /// Where discarded dead letters stay until they are purged.
    Archive,
    /// The queue that a producer named in `reply_to`: best effort, never waited for.
    Reply { queue: String },
}

/// A message on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub to: Destination,
    pub message: Message,
}

/// Names one delivery. A tag of a lost session is void: its message is delivered again under another tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeliveryTag {
    /// Which connection (or lease holder) the delivery came through.
    pub session: u64,
    pub number: u64,
}

impl fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.session, self.number)
    }
}

/// A message handed out, to be settled once.
#[derive(Debug, Clone)]
pub struct Delivery {
    pub tag: DeliveryTag,
    pub message: Message,
    /// Whether the message may have been handed out before: an earlier holder may have begun its work.
    pub redelivered: bool,
    /// How often the message was handed out before, as far as the broker counts.
    pub earlier_deliveries: u64,
}

/// What to do with a delivery. Settling a tag of a lost session does nothing.
#[derive(Debug)]
pub enum Settlement {
    /// Publish all of these; when every one is confirmed, remove the delivery from its queue.
    Finish { tag: DeliveryTag, publications: Vec<Publication> },
    /// Put the message back for somebody else.
    GiveBack { tag: DeliveryTag },
}

/// What a subscription tells.
#[derive(Debug)]
pub enum Event {
    Delivery(Delivery),
    /// Everything that a `Finish` asked for is confirmed.
    Settled(DeliveryTag),
    /// The session is gone, with every delivery of it that is not settled: each will be delivered again, to anyone.
    SessionLost {
        session: u64,
        reason: String,
    },
}

/// Whether the work can flow, for `/readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Deliveries can arrive.
    pub consuming: bool,
    /// Publications are confirmed in time.
    pub publishing: bool,
    /// What is wrong, in words; empty while all is well.
    pub problem: String,
}

/// A consumer's two ends. Dropping it gives everything unsettled back.
#[derive(Debug)]
pub struct Subscription {
    pub events: mpsc::Receiver<Event>,
    pub commands: mpsc::UnboundedSender<Command>,
    pub health: watch::Receiver<Health>,
}

/// What a subscriber orders. The queue of commands is as long as the deliveries held: one settlement each.
#[derive(Debug)]
pub enum Command {
    Settle(Settlement),
    /// As many deliveries more as the prefetch says, whatever is held.
    TakeMore,
    /// No further deliveries; what is held stays held and can be settled.
    StopDeliveries,
}

impl Subscription {
    /// Orders a settlement. After the broker side has ended this does nothing: the broker delivers again.
    pub fn settle(&self, settlement: Settlement) {
        self.command(Command::Settle(settlement));
    }

    /// Asks for no further deliveries. Those already on their way may still arrive.
    pub fn stop_deliveries(&self) {
        self.command(Command::StopDeliveries);
    }

    /// Holds what it holds, and asks for as many deliveries again as the prefetch says.
    pub fn take_more(&self) {
        self.command(Command::TakeMore);
    }

    fn command(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::debug!("a settlement came after the end of its subscription");
        }
    }

    /// Carries out every order given so far and ends. Waits at most `deadline`. Whether the broker is known to have carried
    /// out the last of them: otherwise it may deliver again what was settled.
    pub async fn close(mut self, deadline: std::time::Duration) -> bool {
        drop(self.commands);
        let mut is_whole = true;
        // The broker side ends the stream of events when its last order is carried out.
        let ending = async {
            while let Some(event) = self.events.recv().await {
                is_whole &= !matches!(event, Event::SessionLost { .. });
            }
        };
        let ended = tokio::time::timeout(deadline, ending).await;
        if ended.is_err() {
            tracing::warn!(
                ?deadline,
                "the broker did not confirm the last settlements in time: it will deliver those again"
            );
        }
        ended.is_ok() && is_whole
    }
}

/// Why a broker could not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    #[error("broker.url is not set: name amqp://HOST, amqps://HOST or sqlite:PATH")]
    NotNamed,
    #[error("can't reach the broker at {address}: {reason}")]
    Unreachable { address: String, reason: String },
    #[error("{entity} does not exist: run `bulkrelease setup` (a worker with broker.declare = true does it too)")]
    Missing { entity: String },
    #[error("{entity} exists with other arguments: {difference}. Delete it when it is empty, or change the setting")]
    Differs { entity: String, difference: String },
    #[error("no queue took the message: {0}")]
    Unroutable(String),
    #[error("the broker refused to store the message: {0}")]
    NotStored(String),
    #[error("the broker did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    #[error("{0}")]
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_close_says_whether_what_was_settled_may_come_again() {
        let deadline = Duration::from_secs(60);
        for (lost, is_whole) in [(false, true), (true, false)] {
            let (events_in, events) = mpsc::channel(10);
            let (commands, _orders) = mpsc::unbounded_channel();
            let (_board, health) = watch::channel(Health::default());
            events_in.send(Event::Settled(DeliveryTag { session: 1, number: 1 })).await.unwrap();
            if lost {
                events_in.send(Event::SessionLost { session: 1, reason: String::new() }).await.unwrap();
            }
            drop(events_in);
            assert_eq!(Subscription { events, commands, health }.close(deadline).await, is_whole);
        }
    }
}
