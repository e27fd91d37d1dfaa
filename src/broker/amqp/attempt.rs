//! Rights, tried with requests that the broker refuses whatever the rights are, so that its reason tells; and whether a
//! message is taken, tried with one to nowhere. Nothing of it reaches a queue or takes from one.

use std::time::Duration;

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use tokio::time::timeout;

use super::inspect::{ACCESS_REFUSED, PRECONDITION_FAILED, refusal};
use super::properties::short;
use crate::broker::inspection::{Publishing, Right, RightKind};
use crate::contract::{DEAD, JOBS, RESULTS, RETRY};

/// A broker without an alarm confirms at once.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(3);
/// No queue bears this name, so what is published to it is dropped.
const NOWHERE: &str = "release.doctor.nowhere";

/// The rights that a worker needs of what is there.
pub(super) async fn rights(connection: &Connection) -> Vec<Right> {
    let mut rights = Vec::new();
    for entity in [RESULTS, DEAD, RETRY, JOBS] {
        let held = held(connection, async |channel| refused_publication(channel, entity).await).await;
        rights.push(Right { kind: RightKind::Write, entity: entity.to_owned(), held });
    }
    let held = held(connection, async |channel| refused_consumer(channel, JOBS).await).await;
    rights.push(Right { kind: RightKind::Read, entity: JOBS.to_owned(), held });
    rights
}

/// Whether a request that can't succeed failed for its own sake.
async fn held(
    connection: &Connection,
    request: impl AsyncFnOnce(&Channel) -> lapin::Result<()>,
) -> Result<bool, String> {
    let trying = async {
        let channel = connection.create_channel().await?;
        request(&channel).await
    };
    match timeout(CONFIRM_PATIENCE, trying).await {
        Ok(Err(error)) => match refusal(&error) {
            Some((PRECONDITION_FAILED, _)) => Ok(true),
            Some((ACCESS_REFUSED, _)) => Ok(false),
            _ => Err(error.to_string()),
        },
        Ok(Ok(())) => Err("the broker took a request that it should refuse".to_owned()),
        Err(_) => Err(format!("no answer within {CONFIRM_PATIENCE:?}")),
    }
}

/// The broker looks at the right to write before it looks at the properties, and routes nothing with such an expiration, nor
/// under another user's name.
async fn refused_publication(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default()
        .with_expiration("never".into())
        .with_user_id("bulkrelease doctor tries a right".into());
    let options = BasicPublishOptions::default();
    channel.basic_publish(short(exchange), short(NOWHERE), options, b"", properties).await?.await.map(drop)
}

/// The broker looks at the right to read before it looks at the arguments, and gives nothing to a consumer whose priority is
/// a word.
async fn refused_consumer(channel: &Channel, queue: &str) -> lapin::Result<()> {
    let mut arguments = FieldTable::default();
    arguments.insert("x-priority".into(), AMQPValue::LongString("bulkrelease doctor tries a right".into()));
    let options = BasicConsumeOptions::default();
    channel.basic_consume(queue.into(), "doctor".into(), options, arguments).await.map(drop)
}

/// Publishes to nowhere: a broker with an alarm doesn't confirm it.
pub(super) async fn publishing(connection: &Connection) -> Publishing {
    let trying = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish(short(""), short(NOWHERE), options, b"", properties).await?.await?;
        // lapin closes a channel that is dropped, and falls over that when the connection ends meanwhile.
        channel.close(200, "OK".into()).await
    };
    match timeout(CONFIRM_PATIENCE, trying).await {
        Ok(Ok(())) => Publishing::Confirmed,
        Ok(Err(error)) => Publishing::Unknown(error.to_string()),
        Err(_) if connection.status().blocked() => Publishing::Blocked,
        Err(_) => Publishing::Unknown(format!("no answer within {CONFIRM_PATIENCE:?}")),
    }
}
