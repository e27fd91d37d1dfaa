//! Every exchange and queue, as data, and the two things done with it: declare it, or check that it is there. Nothing is
//! ever changed or deleted: what exists otherwise is reported in the broker's own words.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};
use tokio::time::timeout;

use super::ANSWER_TIMEOUT;
use crate::broker::BrokerError;
use crate::config::QueueType;
use crate::contract::{DEAD, JOBS, RESULTS, UNROUTED};

/// The broker's own net under the worker's `max_deliveries`.
const JOBS_DELIVERY_LIMIT: i64 = 100;
/// Looking at a message without taking it must never wear it out. `-1` would mean no limit, but RabbitMQ 3.10 takes it
/// and then destroys messages; without the argument, 4.x allows 20.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

enum Entity {
    Exchange { name: &'static str, kind: ExchangeKind, alternate: Option<&'static str> },
    Queue { name: &'static str, arguments: Vec<(&'static str, Argument)> },
    Binding { exchange: &'static str, queue: &'static str, key: &'static str },
}

#[derive(Clone, Copy)]
enum Argument {
    Text(&'static str),
    Number(i64),
}

fn entities(queue_type: QueueType) -> Vec<Entity> {
    use Argument::Text;
    let lasting = || quorum(NO_DELIVERY_LIMIT);
    let (jobs, results) = match queue_type {
        QueueType::Quorum => {
            let mut jobs = quorum(JOBS_DELIVERY_LIMIT);
            jobs.extend([
                ("x-dead-letter-exchange", Text(DEAD)),
                ("x-dead-letter-strategy", Text("at-least-once")),
                // Without it the strategy falls back to at-most-once.
                ("x-overflow", Text("reject-publish")),
            ]);
            (jobs, lasting())
        }
        QueueType::Classic => {
            let classic = ("x-queue-type", Text("classic"));
            (vec![classic, ("x-dead-letter-exchange", Text(DEAD))], vec![classic])
        }
    };
    vec![
        Entity::Exchange { name: UNROUTED, kind: ExchangeKind::Fanout, alternate: None },
        Entity::Queue { name: UNROUTED, arguments: lasting() },
        Entity::Binding { exchange: UNROUTED, queue: UNROUTED, key: "" },
        Entity::Exchange { name: RESULTS, kind: ExchangeKind::Topic, alternate: Some(UNROUTED) },
        Entity::Queue { name: RESULTS, arguments: results },
        Entity::Binding { exchange: RESULTS, queue: RESULTS, key: "#" },
        Entity::Exchange { name: DEAD, kind: ExchangeKind::Fanout, alternate: Some(UNROUTED) },
        Entity::Queue { name: DEAD, arguments: lasting() },
        Entity::Binding { exchange: DEAD, queue: DEAD, key: "" },
        Entity::Queue { name: JOBS, arguments: jobs },
    ]
}

fn quorum(delivery_limit: i64) -> Vec<(&'static str, Argument)> {
    vec![("x-queue-type", Argument::Text("quorum")), ("x-delivery-limit", Argument::Number(delivery_limit))]
}

/// Declares everything. What exists with other arguments stays as it is and is reported.
pub(super) async fn declare(connection: &Connection, queue_type: QueueType) -> Result<(), BrokerError> {
    visit(connection, queue_type, false).await
}

/// Checks that everything exists, without the right to create it.
pub(super) async fn check(connection: &Connection, queue_type: QueueType) -> Result<(), BrokerError> {
    visit(connection, queue_type, true).await
}

async fn visit(connection: &Connection, queue_type: QueueType, passive: bool) -> Result<(), BrokerError> {
    match timeout(ANSWER_TIMEOUT, visit_all(connection, queue_type, passive)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

async fn visit_all(connection: &Connection, queue_type: QueueType, passive: bool) -> Result<(), BrokerError> {
    let mut findings = Findings::default();
    let mut channel = open(connection).await?;
    for entity in entities(queue_type) {
        if let Err(error) = visit_one(&channel, &entity, passive).await {
            findings.add(&entity, error)?;
            // A refusal costs the channel, and only the channel.
            channel = open(connection).await?;
        }
    }
    findings.conclude()
}

async fn open(connection: &Connection) -> Result<Channel, BrokerError> {
    connection.create_channel().await.map_err(|error| BrokerError::Other(error.to_string()))
}

async fn visit_one(channel: &Channel, entity: &Entity, passive: bool) -> lapin::Result<()> {
    match entity {
        Entity::Exchange { name, kind, alternate } => {
            let options = ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
            let arguments = alternate.map(|alternate| ("alternate-exchange", Argument::Text(alternate)));
            channel.exchange_declare((*name).into(), kind.clone(), options, table(arguments.as_slice())).await
        }
        Entity::Queue { name, arguments } => {
            let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
            channel.queue_declare((*name).into(), options, table(arguments)).await.map(drop)
        }
        // A binding can't be asked for; `check` trusts whoever declared the rest.
        Entity::Binding { .. } if passive => Ok(()),
        Entity::Binding { exchange, queue, key } => {
            let (queue, exchange, key) = ((*queue).into(), (*exchange).into(), (*key).into());
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
