//! The fleet's beacons: a fanout exchange, and for each worker a queue that goes with its connection. On a connection of
//! their own, so that they delay no job, and none that waits for confirms. Nothing is published before there is a queue that
//! takes it: the broker counts what reaches none, and somebody is woken for that.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ExchangeDeclareOptions,
    QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, Consumer, ErrorKind, ExchangeKind};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::connection::{Server, close};
use super::reconnect::Backoff;
use super::{ANSWER_TIMEOUT, topology};
use crate::broker::BrokerError;
use crate::broker::fleet::{EXPIRY, Ends, Heard};
use crate::contract::FLEET;

/// The exchange that stands as long as the queue of any worker is bound to it. Nothing is published there.
const PRESENT: &str = "release.fleet.present";
/// Beacons that a queue holds; the oldest give way.
const LENGTH: u32 = 1000;
/// Beacons that a frozen worker finds in its buffers when it thaws, at most.
const PREFETCH: u16 = 100;
/// A blocked broker takes nothing: better lost than sent when it is no longer true.
const WRITE_TIMEOUT: Duration = EXPIRY;
/// A queue that no other connection can declare or use.
const EXCLUSIVE: QueueDeclareOptions =
    QueueDeclareOptions { passive: false, durable: false, exclusive: true, auto_delete: false, nowait: false };
/// RESOURCE_LOCKED: another connection has it.
const LOCKED: u16 = 405;
const LOOK: Duration = Duration::from_secs(1);

/// Takes part until the worker leaves, over one connection after the other.
pub(super) async fn take_part(server: Arc<Server>, mut ends: Ends) {
    let Some(mut newest) = ends.next().await else { return };
    let mut backoff = Backoff::new();
    // Whoever comes back may find that the others have not yet.
    let mut comes = true;
    loop {
        let lost = match open(&server, &ends, comes).await {
            None => return,
            Some(Err(error)) => error,
            Some(Ok(mut place)) => {
                ends.flow(Ok(()));
                backoff.reset();
                comes = false;
                if place.nobody_else {
                    ends.pass_on(Heard::Nobody);
                }
                let outcome = place.live(&server, &mut ends, &mut newest).await;
                close(&place.connection).await;
                match outcome {
                    Ok(()) => return,
                    Err(error) => error,
                }
            }
        };
        ends.flow(Err(&lost));
        tokio::select! {
            () = ends.left() => return,
            () = sleep(backoff.pause()) => {}
        }
    }
}

/// `None`: the worker has left meanwhile.
async fn open(server: &Server, ends: &Ends, comes: bool) -> Option<Result<Place, BrokerError>> {
    tokio::select! {
        () = ends.left() => None,
        place = Place::open(server, comes) => Some(place),
    }
}

/// One life of a place in the fleet.
struct Place {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    /// The worker comes, and before it there was none.
    nobody_else: bool,
}

impl Place {
    async fn open(server: &Server, comes: bool) -> Result<Self, BrokerError> {
        let connection = server.open_ready("beacons").await?;
        let listening = async {
            // In this order: of those that come together the first alone finds nobody.
            let nobody_else = comes && claims_first(&connection).await? && is_empty(&connection).await?;
            let channel = connection.create_channel().await?;
            let consumer = listen(&channel).await?;
            Ok((channel, consumer, nobody_else))
        };
        let refusal = match timeout(ANSWER_TIMEOUT, listening).await {
            Ok(Ok((channel, consumer, nobody_else))) => {
                return Ok(Self { connection, channel, consumer, nobody_else });
            }
            Ok(Err::<_, lapin::Error>(error)) => BrokerError::Other(error.to_string()),
            Err(_) => BrokerError::TimedOut(ANSWER_TIMEOUT),
        };
        close(&connection).await;
        Err(refusal)
    }

    async fn tell(&self, server: &Server, beacon: &[u8]) -> Result<(), BrokerError> {
        match timeout(WRITE_TIMEOUT, write(&self.channel, beacon)).await {
            Ok(written) => written.map_err(|error| server.unreachable(&error)),
            Err(_) => Err(BrokerError::TimedOut(WRITE_TIMEOUT)),
        }
    }

    /// `Ok` when the worker has left.
    async fn live(&mut self, server: &Server, ends: &mut Ends, newest: &mut Vec<u8>) -> Result<(), BrokerError> {
        self.tell(server, newest).await?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                beacon = ends.next() => {
                    let Some(beacon) = beacon else { return Ok(()) };
                    *newest = beacon;
                    self.tell(server, newest).await?;
                }
                delivery = self.consumer.next() => match delivery {
                    Some(Ok(delivery)) => {
                        ends.pass_on(Heard::Beacon(delivery.data));
                        let acked = self.channel.basic_ack(delivery.delivery_tag, BasicAckOptions::default()).await;
                        acked.map_err(|error| server.unreachable(&error))?;
                    }
                    Some(Err(error)) => return Err(server.unreachable(&error)),
                    None => return Err(server.unreachable(&"the broker cancelled the consumer of beacons")),
                },
                _ = look.tick() => {
                    if !(self.connection.status().connected() && self.channel.status().connected()) {
                        return Err(server.unreachable(&"the connection for beacons is lost"));
                    }
                }
            }
        }
    }
}

/// Whether this connection is the first of those there are. The claim is a queue that only one connection can have, for as long
/// as it lives.
async fn claims_first(connection: &Connection) -> lapin::Result<bool> {
    let channel = connection.create_channel().await?;
    let queue = format!("{FLEET}.first");
    match channel.queue_declare(queue.as_str().into(), EXCLUSIVE, classic()).await {
        Ok(_) => channel.close(200, "OK".into()).await.map(|()| true),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(refusal) if refusal.get_id() == LOCKED => Ok(false),
            _ => Err(error),
        },
    }
}

/// Whether no place in the fleet is taken.
async fn is_empty(connection: &Connection) -> lapin::Result<bool> {
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    match channel.exchange_declare(PRESENT.into(), ExchangeKind::Fanout, options, FieldTable::default()).await {
        Ok(()) => channel.close(200, "OK".into()).await.map(|()| false),
        Err(error) if topology::is_missing(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// A queue for whoever listens on this channel, and for nobody else.
async fn listen(channel: &Channel) -> lapin::Result<Consumer> {
    let queue = format!("{FLEET}.{:016x}", fastrand::u64(..));
    let mut arguments = classic();
    arguments.insert("x-message-ttl".into(), AMQPValue::LongLongInt(EXPIRY.as_millis().try_into().unwrap_or(i64::MAX)));
    arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LENGTH.into()));
    let options = QueueDeclareOptions { auto_delete: true, ..EXCLUSIVE };
    channel.queue_declare(queue.as_str().into(), options, arguments).await?;
    let options = ExchangeDeclareOptions { auto_delete: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(PRESENT.into(), ExchangeKind::Fanout, options, FieldTable::default()).await?;
    for exchange in [PRESENT, FLEET] {
        let bound = QueueBindOptions::default();
        channel.queue_bind(queue.as_str().into(), exchange.into(), "".into(), bound, FieldTable::default()).await?;
    }
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await
}

/// Said outright: where a virtual host has another default, a queue that is exclusive can't be of it.
fn classic() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
    arguments
}

async fn write(channel: &Channel, beacon: &[u8]) -> lapin::Result<()> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let unconfirmed = channel.basic_publish(FLEET.into(), "".into(), options, beacon, properties).await?;
    // The channel is not in confirm mode: this is ready at once, but lapin keeps it if it is dropped unread.
    unconfirmed.await.map(drop)
}
