//! Every exchange and queue, as data, and the two things done with it: declare it, or check that it is there. Nothing is
//! ever changed or deleted: what exists otherwise is reported in the broker's own words.

use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;
use crate::broker::{BrokerError, Queue, UNWATCHED, WatchName, step_name};
use crate::config::QueueType;
use crate::contract::{ARCHIVE, DEAD, FLEET, JOBS, RESULTS, RETRY, UNROUTED};

/// The broker's own net under the worker's `max_deliveries`.
const JOBS_DELIVERY_LIMIT: i64 = 100;
/// Looking at a message without taking it must never wear it out. `-1` would mean no limit, but RabbitMQ 3.10 takes it
/// and then destroys messages; without the argument, 4.x allows 20.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// What differs from server to server.
pub(super) struct Topology<'a> {
    pub(super) queue_type: QueueType,
    /// The delays of the retry queues.
    pub(super) steps: &'a [Duration],
}

pub(super) enum Entity {
    Exchange { name: &'static str, kind: ExchangeKind, alternate: Option<&'static str> },
    Queue { name: String, arguments: Vec<(&'static str, Argument)> },
    Binding { exchange: &'static str, queue: String, key: String },
}

#[derive(Clone, Copy)]
pub(super) enum Argument {
    Text(&'static str),
    Number(i64),
}

impl Topology<'_> {
    /// Declares everything. What exists with other arguments stays as it is and is reported.
    pub(super) async fn declare(&self, connection: &Connection) -> Result<(), BrokerError> {
        visit(connection, &self.entities(), false).await
    }

    /// Checks that everything exists, without the right to create it.
    pub(super) async fn check(&self, connection: &Connection) -> Result<(), BrokerError> {
        visit(connection, &self.entities(), true).await
    }

    /// The queue of this name. Whatever else the topology has is a retry queue.
    pub(super) fn queue(&self, name: &str) -> Queue {
        let retry = self.steps.iter().map(|after| Queue::Retry { after: *after });
        let mut queues = Queue::ALL.into_iter().chain(retry);
        queues.find(|queue| queue.name() == name).expect("every queue of the topology is one of the house")
    }

    pub(super) fn entities(&self) -> Vec<Entity> {
        let (jobs, results) = match self.queue_type {
            QueueType::Quorum => (never_dropping(quorum(JOBS_DELIVERY_LIMIT), DEAD), quorum(NO_DELIVERY_LIMIT)),
            QueueType::Classic => {
                let classic = ("x-queue-type", Argument::Text("classic"));
                (vec![classic, ("x-dead-letter-exchange", Argument::Text(DEAD))], vec![classic])
            }
        };
        let mut entities = Vec::new();
        for (name, kind, key, arguments) in [
            (UNROUTED, ExchangeKind::Fanout, "", quorum(NO_DELIVERY_LIMIT)),
            (RESULTS, ExchangeKind::Topic, "#", results),
            (DEAD, ExchangeKind::Fanout, "", quorum(NO_DELIVERY_LIMIT)),
            (JOBS, ExchangeKind::Fanout, "", jobs),
            (ARCHIVE, ExchangeKind::Fanout, "", quorum(NO_DELIVERY_LIMIT)),
        ] {
            let alternate = (name != UNROUTED).then_some(UNROUTED);
            let (queue, key) = (name.to_owned(), key.to_owned());
            entities.push(Entity::Exchange { name, kind, alternate });
            entities.push(Entity::Queue { name: queue.clone(), arguments });
            entities.push(Entity::Binding { exchange: name, queue, key });
        }
        // Of a beacon that no worker hears nobody is to be told.
        entities.push(Entity::Exchange { name: FLEET, kind: ExchangeKind::Fanout, alternate: None });
        entities.push(Entity::Exchange { name: RETRY, kind: ExchangeKind::Direct, alternate: Some(UNROUTED) });
        // For letters that were dead before: past the watchers, which are bound to the queue's own exchange.
        entities.push(Entity::Binding { exchange: RETRY, queue: DEAD.to_owned(), key: DEAD.to_owned() });
        for &after in self.steps {
            let queue = Queue::Retry { after }.name();
            let mut arguments = never_dropping(quorum(NO_DELIVERY_LIMIT), JOBS);
            arguments.push(("x-message-ttl", Argument::Number(millis(after))));
            entities.push(Entity::Queue { name: queue.clone(), arguments });
            entities.push(Entity::Binding { exchange: RETRY, queue, key: step_name(after) });
        }
        entities
    }
}

/// A queue that gets a copy of every result and dead letter, and goes when nobody has consumed it for a while.
pub(super) async fn watch(connection: &Connection, name: &WatchName) -> Result<(), BrokerError> {
    let queue = Queue::Watch(name.clone()).name();
    let mut arguments = quorum(NO_DELIVERY_LIMIT);
    arguments.push(("x-expires", Argument::Number(millis(UNWATCHED))));
    let bound_to = |exchange, key: &str| Entity::Binding { exchange, queue: queue.clone(), key: key.to_owned() };
    let bindings = [bound_to(RESULTS, "#"), bound_to(DEAD, "")];
    let mut entities = vec![Entity::Queue { name: queue.clone(), arguments }];
    entities.extend(bindings);
    visit(connection, &entities, false).await
}

/// Removes a watcher's queue, which need not exist.
pub(super) async fn unwatch(connection: &Connection, name: &WatchName) -> Result<(), BrokerError> {
    let queue = Queue::Watch(name.clone()).name();
    let deleting = async {
        let channel = connection.create_channel().await?;
        channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await
    };
    match timeout(ANSWER_TIMEOUT, deleting).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if is_missing(&error) => Ok(()),
        Ok(Err(error)) => Err(BrokerError::Other(format!("queue {queue}: {error}"))),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

fn quorum(delivery_limit: i64) -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", Argument::Text("quorum")), ("x-delivery-limit", Argument::Number(delivery_limit))]
}

/// A quorum queue whose dead letters wait in it until the exchange has taken them.
fn never_dropping(
    mut arguments: Vec<(&'static str, Argument)>,
    exchange: &'static str,
) -> Vec<(&'static str, Argument)> {
    arguments.extend([
        ("x-dead-letter-exchange", Argument::Text(exchange)),
        ("x-dead-letter-strategy", Argument::Text("at-least-once")),
        // Without it the strategy falls back to at-most-once.
        ("x-overflow", Argument::Text("reject-publish")),
    ]);
    arguments
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

async fn visit(connection: &Connection, entities: &[Entity], passive: bool) -> Result<(), BrokerError> {
    match timeout(ANSWER_TIMEOUT, visit_all(connection, entities, passive)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

async fn visit_all(connection: &Connection, entities: &[Entity], passive: bool) -> Result<(), BrokerError> {
    let mut findings = Findings::default();
    let mut channel = open(connection).await?;
    for entity in entities {
        if let Err(error) = visit_one(&channel, entity, passive).await {
            findings.add(entity, error)?;
            // A refusal costs the channel, and only the channel.
            channel = open(connection).await?;
        }
    }
    findings.conclude()
}

async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(|error| BrokerError::Other(error.to_string()))
}

pub(super) async fn visit_one(channel: &Channel, entity: &Entity, passive: bool) -> lapin::Result<()> {
    match entity {
        Entity::Exchange { name, kind, alternate } => {
            let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
            let arguments = alternate.map(|alternate| ("alternate-exchange", Argument::Text(alternate)));
            channel.exchange_declare((*name).into(), kind.clone(), options, table(arguments.as_slice())).await
        }
        Entity::Queue { name, arguments } => {
            let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare(name.as_str().into(), options, table(arguments)).await.map(drop)
        }
        // A binding can't be asked for; `check` trusts whoever declared the rest.
        Entity::Binding { .. } if passive => Ok(()),
        Entity::Binding { exchange, queue, key } => {
            let (queue, exchange, key) = (queue.as_str().into(), (*exchange).into(), key.as_str().into());
            channel.queue_bind(queue, exchange, key, QueueBindOptions::default(), FieldTable::default()).await
        }
    }
}

fn table(arguments: &[(&'static str, Argument)]) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, argument) in arguments {
        let value = match *argument {
            Argument::Text(text) => AMQPValue::LongString(text.into()),
            Argument::Number(number) => AMQPValue::LongLongInt(number),
        };
        table.insert((*name).into(), value);
    }
    table
}

/// All that differs and all that is missing, so that one run tells the whole.
#[derive(Default)]
struct Findings {
    different: Vec<(String, String)>,
    missing: Vec<String>,
}

impl Findings {
    fn add(&mut self, entity: &Entity, error: lapin::Error) -> Result<(), BrokerError> {
        let name = match entity {
            Entity::Exchange { name, .. } => format!("exchange {name}"),
            Entity::Queue { name, .. } => format!("queue {name}"),
            Entity::Binding { exchange, queue, .. } => format!("binding of {queue} to {exchange}"),
        };
        let missing = is_missing(&error);
        match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == 406 => {
                self.different.push((name, refusal.get_message().to_string()));
            }
            // A binding of something missing says nothing new.
            _ if missing => self.missing.push(name),
            _ => return Err(BrokerError::Other(format!("{name}: {error}"))),
        }
        Ok(())
    }

    fn conclude(self) -> Result<(), BrokerError> {
        if !self.different.is_empty() {
            let (entities, differences): (Vec<_>, Vec<_>) = self.different.into_iter().unzip();
            return Err(BrokerError::Differs { entity: entities.join(", "), difference: differences.join("; ") });
        }
        if !self.missing.is_empty() {
            return Err(BrokerError::Missing { entity: self.missing.join(", ") });
        }
        Ok(())
    }
}

/// Whether the broker says that something does not exist. A queue whose node is down is "not found" as well, and must
/// not be taken for missing.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => {
            let words = refusal.get_message().as_str();
            refusal.get_id() == 404 && (words.contains("no queue") || words.contains("no exchange"))
        }
        _ => false,
    }
}
