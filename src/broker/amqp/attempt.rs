//! Rights, tried with requests that the broker refuses whatever the rights are, so that its reason tells; and whether it reads
//! what is published, which they show as well. Nothing of it reaches a queue or takes from one, and nothing is counted
//! as having reached none.

use std::time::Duration;

use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;

use super::inspect::{ACCESS_REFUSED, NOT_FOUND, PRECONDITION_FAILED, refusal};
use super::properties::short;
use crate::broker::inspection::{Extent, Publishing, Right, RightKind};
use crate::contract::{DEAD, FLEET, JOBS, RESULTS, RETRY};

/// A broker without an alarm answers at once.
const PATIENCE: Duration = Duration::from_secs(3);
/// No queue bears this name.
const NOWHERE: &str = "release.doctor.nowhere";
/// Nor this, which is one that a worker's queue for beacons might bear.
const BEACONS: &str = "release.fleet.doctor";
const NO_ANSWER: &str = "the broker does not answer";
/// Stands in the broker's log.
const SIGN: &str = "bulkrelease doctor tries a right";

/// What a request that can't succeed was told.
enum Answer {
    /// It failed for its own sake.
    Held,
    /// The broker's words.
    Lacking(String),
    Other(String),
    Silence,
}

impl Answer {
    fn into_right(self, kind: RightKind, entity: &str) -> Right {
        let held = match self {
            Self::Held => Ok(true),
            Self::Lacking(_) => Ok(false),
            Self::Other(words) => Err(words),
            Self::Silence => Err(NO_ANSWER.to_owned()),
        };
        Right { kind, entity: entity.to_owned(), held }
    }
}

/// What came of it.
pub(super) struct Tried {
    /// Those that a worker needs of what is there. Empty if the attempt was brief.
    pub(super) rights: Vec<Right>,
    /// Those that it needs for its beacons.
    pub(super) beacon_rights: Vec<Right>,
    pub(super) publishing: Publishing,
}

pub(super) async fn attempt(connection: &Connection, extent: Extent) -> Tried {
    let (mut rights, mut beacon_rights) = (Vec::new(), beacon_queue_rights(connection).await);
    if extent == Extent::Whole {
        let consuming = answer(connection, async |channel| refused_consumer(channel, JOBS).await).await;
        rights.push(consuming.into_right(RightKind::Read, JOBS));
    }
    // These come last: a broker with an alarm reads nothing more from a connection that publishes.
    let others = if extent == Extent::Whole { &[RESULTS, DEAD, RETRY, JOBS][..] } else { &[] };
    let mut silent = false;
    for entity in [FLEET].iter().chain(others) {
        let answer = match silent {
            true => Answer::Silence,
            false => answer(connection, async |channel| refused_publication(channel, entity).await).await,
        };
        silent = matches!(answer, Answer::Silence);
        let of = if *entity == FLEET { &mut beacon_rights } else { &mut rights };
        of.push(answer.into_right(RightKind::Write, entity));
    }
    let publishing = match silent {
        false => Publishing::Read,
        true if connection.status().blocked() => Publishing::Blocked,
        true => Publishing::Unknown(NO_ANSWER.to_owned()),
    };
    Tried { rights, beacon_rights, publishing }
}

/// All but the right to write to the exchange.
async fn beacon_queue_rights(connection: &Connection) -> Vec<Right> {
    let queues = format!("{FLEET}.*");
    let declaring = answer(connection, async |channel| refused_queue(channel).await).await;
    let consuming = answer(connection, async |channel| refused_consumer(channel, BEACONS).await).await;
    // Of whoever binds the broker asks the right to write to the queue, and then to read from the exchange.
    let binding = answer(connection, async |channel| refused_binding(channel).await).await;
    let (kind, entity) = match &binding {
        Answer::Lacking(words) if words.contains(&format!("exchange '{FLEET}'")) => (RightKind::Read, FLEET),
        _ => (RightKind::Write, queues.as_str()),
    };
    vec![
        declaring.into_right(RightKind::Configure, &queues),
        consuming.into_right(RightKind::Read, &queues),
        binding.into_right(kind, entity),
    ]
}

async fn answer(connection: &Connection, request: impl AsyncFnOnce(&Channel) -> lapin::Result<()>) -> Answer {
    let trying = async {
        let channel = connection.create_channel().await?;
        request(&channel).await
    };
    match timeout(PATIENCE, trying).await {
        Ok(Err(error)) => match refusal(&error) {
            Some((PRECONDITION_FAILED, _)) => Answer::Held,
            // What is missing is looked for after the rights.
            Some((NOT_FOUND, words)) if words.contains(BEACONS) => Answer::Held,
            Some((ACCESS_REFUSED, words)) => Answer::Lacking(words.to_owned()),
            _ => Answer::Other(error.to_string()),
        },
        Ok(Ok(())) => Answer::Other("the broker took a request that it should refuse".to_owned()),
        Err(_) => Answer::Silence,
    }
}

/// The broker looks at the right to write before it looks at the properties, and routes nothing with such an expiration, nor
/// under another user's name. One with an alarm does not even look.
async fn refused_publication(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default().with_expiration("never".into()).with_user_id(SIGN.into());
    let options = BasicPublishOptions::default();
    channel.basic_publish(short(exchange), short(NOWHERE), options, b"", properties).await?.await.map(drop)
}

/// The broker looks at the right to read before it looks at the arguments, and gives nothing to a consumer whose priority is
/// a word.
async fn refused_consumer(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongString(SIGN.into()));
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "doctor".into(), options, arguments).await.map(drop)
}

/// The broker looks at the right to configure before it looks at the arguments, and declares no queue whose messages live for
/// less than no time.
async fn refused_queue(channel: &Channel) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(-1));
    // Should a broker take it all the same, it is gone with the connection.
    let options = QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(BEACONS.into(), options, arguments).await.map(drop)
}

/// The broker looks at the rights before it looks for the queue, which does not exist.
async fn refused_binding(channel: &Channel) -> lapin::Result<()> {
    let options = QueueBindOptions::default();
    channel.queue_bind(BEACONS.into(), FLEET.into(), "".into(), options, FieldTable::default()).await
}
