//! Asks a server how it stands and changes nothing: what exists is declared as it should be, which is how AMQP compares.

use std::fmt;
use std::time::Duration;

use lapin::{Connection, Error, ErrorKind, ExchangeKind};
use serde_json::Value;
use tokio::time::timeout;

use super::attempt::attempt;
use super::connection::{Server, close};
use super::topology::{self, Argument, Entity};
use super::{ANSWER_TIMEOUT, management, passive_declare};
use crate::broker::BrokerError;
use crate::broker::inspection::{
    Binding, Difference, Extent, NoInspection, RabbitMq, Right, RightKind, Standing, StandingExchange, StandingQueue,
};
use crate::config::BrokerSettings;

/// AMQP's own numbers.
pub(super) const ACCESS_REFUSED: u16 = 403;
pub(super) const NOT_FOUND: u16 = 404;
pub(super) const PRECONDITION_FAILED: u16 = 406;

/// Asks the server.
pub(crate) async fn inspect(
    settings: &BrokerSettings,
    steps: &[Duration],
    extent: Extent,
) -> Result<RabbitMq, NoInspection> {
    let server = Server::new(settings).map_err(|error| NoInspection::Settings(error.to_string()))?.with_steps(steps);
    let connection = open(&server).await?;
    let unanswered = BrokerError::TimedOut(ANSWER_TIMEOUT);
    let inspection = timeout(ANSWER_TIMEOUT, standing(&server, &connection)).await;
    let inspection = inspection.unwrap_or_else(|_| Err(lost(&server, &unanswered)));
    let tried = if inspection.is_ok() { Some(attempt(&connection, extent).await) } else { None };
    close(&connection).await;
    let mut inspection = inspection?;
    if let Some(tried) = tried {
        inspection.rights.extend(tried.rights);
        inspection.beacon_rights = tried.beacon_rights;
        inspection.publishing = Some(tried.publishing);
    }
    if extent == Extent::Whole {
        inspection.management = Some(management::ask(&server, settings, &inspection).await);
    }
    Ok(inspection)
}

async fn open(server: &Server) -> Result<Connection, NoInspection> {
    server.open("doctor").await.map_err(|error| match error {
        BrokerError::Unreachable { address, reason } if is_refusal(&reason) => {
            NoInspection::LoginRefused { address, reason }
        }
        BrokerError::Unreachable { address, reason } => NoInspection::Unreachable { address, reason },
        other => NoInspection::Settings(other.to_string()),
    })
}

fn lost(server: &Server, reason: &dyn fmt::Display) -> NoInspection {
    NoInspection::Unreachable { address: server.address().to_owned(), reason: reason.to_string() }
}

/// Whether the broker answered, and did not let us in.
fn is_refusal(reason: &str) -> bool {
    ["ACCESS_REFUSED", "ACCESS-REFUSED", "NOT_ALLOWED", "NOT-ALLOWED"].iter().any(|word| reason.contains(word))
}

async fn standing(server: &Server, connection: &Connection) -> Result<RabbitMq, NoInspection> {
    let (user, virtual_host) = server.login();
    let mut inspection = RabbitMq {
        address: server.address().to_owned(),
        user: user.to_owned(),
        virtual_host: virtual_host.to_owned(),
        version: server.version().await,
        ..RabbitMq::default()
    };
    let topology = server.topology();
    for entity in topology.entities() {
        let lost = |error: Error| lost(server, &error);
        match &entity {
            Entity::Exchange { name, kind, alternate } => {
                let standing = compare(connection, &entity).await.map_err(lost)?;
                inspection.exchanges.push(StandingExchange {
                    name: (*name).to_owned(),
                    kind: kind_name(kind).to_owned(),
                    alternate: alternate.map(str::to_owned),
                    standing,
                });
            }
            Entity::Queue { name, arguments } => {
                let queue = topology.queue(name);
                let standing = compare(connection, &entity).await.map_err(lost)?;
                let counted = passive_declare(connection, &queue).await.ok();
                inspection.queues.push(StandingQueue {
                    queue,
                    wanted: arguments.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect(),
                    standing,
                    ready: counted.as_ref().map_or(0, |queue| queue.message_count().into()),
                    consumers: counted.as_ref().map_or(0, |queue| queue.consumer_count().into()),
                });
            }
            Entity::Binding { exchange, queue, key } => inspection.bindings.push(Binding {
                exchange: (*exchange).to_owned(),
                queue: queue.clone(),
                key: key.clone(),
            }),
        }
    }
    let told = |standing: &Standing| matches!(standing, Standing::AsWanted | Standing::Differs(_));
    inspection.rights = (inspection.queues.iter().map(|queue| (queue.queue.name(), &queue.standing)))
        .chain(inspection.exchanges.iter().map(|exchange| (exchange.name.clone(), &exchange.standing)))
        .filter(|(_, standing)| told(standing) || **standing == Standing::Untold)
        .map(|(entity, standing)| Right { kind: RightKind::Configure, entity, held: Ok(told(standing)) })
        .collect();
    Ok(inspection)
}

fn kind_name(kind: &ExchangeKind) -> &str {
    match kind {
        ExchangeKind::Custom(name) => name,
        ExchangeKind::Direct => "direct",
        ExchangeKind::Fanout => "fanout",
        ExchangeKind::Headers => "headers",
        ExchangeKind::Topic => "topic",
    }
}

/// Declares what exists, each on a channel of its own that a refusal may cost.
async fn compare(connection: &Connection, entity: &Entity) -> lapin::Result<Standing> {
    for passive in [true, false] {
        let channel = connection.create_channel().await?;
        match topology::visit_one(&channel, entity, passive).await {
            Ok(()) => channel.close(200, "OK".into()).await?,
            Err(error) if topology::is_missing(&error) => return Ok(Standing::Missing),
            Err(error) => {
                return match refusal(&error) {
                    Some((ACCESS_REFUSED, _)) if !passive => Ok(Standing::Untold),
                    Some((PRECONDITION_FAILED, words)) => Ok(Standing::Differs(difference(words))),
                    Some((_, words)) => Ok(Standing::Unavailable(words.to_owned())),
                    None => Err(error),
                };
            }
        }
    }
    Ok(Standing::AsWanted)
}

pub(super) fn refusal(error: &Error) -> Option<(u16, &str)> {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => Some((refusal.get_id(), refusal.get_message().as_str())),
        _ => None,
    }
}

/// Reads `inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received ... but current is the value 'drop-head' of
/// type 'longstr'`, or `... but current is none`.
fn difference(words: &str) -> Difference {
    let quoted =
        |after: &str| words.split_once(after).and_then(|(_, rest)| rest.split_once('\'')).map(|(text, _)| text);
    let value = |text: &str| text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from);
    Difference {
        argument: quoted("inequivalent arg '").map(str::to_owned),
        current: quoted("but current is the value '").or_else(|| quoted("but current is '")).map(value),
        words: words.to_owned(),
    }
}

impl From<&Argument> for Value {
    fn from(argument: &Argument) -> Self {
        match *argument {
            Argument::Text(text) => text.into(),
            Argument::Number(number) => number.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_words_tell_which_argument_differs_and_what_it_is() {
        let cases = [
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-overflow' for queue 'q' in vhost '/': received the value \
                 'reject-publish' of type 'longstr' but current is none",
                (Some("x-overflow"), None),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'x-delivery-limit' for queue 'q' in vhost '/': received the value \
                 '1000000000' of type 'signedint' but current is the value '20' of type 'long'",
                (Some("x-delivery-limit"), Some(Value::from(20))),
            ),
            (
                "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'e' in vhost '/': received 'topic' but current \
                 is 'fanout'",
                (Some("type"), Some(Value::from("fanout"))),
            ),
            ("PRECONDITION_FAILED - something new", (None, None)),
        ];
        for (words, (argument, current)) in cases {
            let read = difference(words);
            assert_eq!((read.argument.as_deref(), read.current), (argument, current), "{words}");
        }
    }

    #[test]
    fn a_login_that_is_refused_is_no_broker_that_is_away() {
        for refused in ["ACCESS_REFUSED - Login was refused", "NOT_ALLOWED - vhost x not found"] {
            assert!(is_refusal(refused), "{refused}");
        }
        assert!(!is_refusal("Connection refused (os error 111)"));
    }
}
