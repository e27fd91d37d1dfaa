//! The publishing side of a subscription: one task, one connection, one channel. It publishes what a settlement asks for
//! until the broker has confirmed it, and then names the delivery. It has a connection of its own because a broker that
//! blocks publishers also keeps back their acks.
//!
//! All publishes of the channel are driven from this one task (lapin crosses confirms otherwise), many at a time. None is
//! `mandatory`: with several under way lapin blames returns on the wrong one. The exchanges have an alternate exchange.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, FuturesUnordered, StreamExt};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::ANSWER_TIMEOUT;
use super::connection::{Server, close};
use super::health::{HealthBoard, Side};
use super::properties::{outgoing, short};
use super::reconnect::{Backoff, if_any};
use super::unconfirmed::{Outgoing, Unconfirmed};
use crate::broker::{BrokerError, DeliveryTag, Destination, Publication, step_name};
use crate::contract::{ARCHIVE, DEAD, JOBS, RESULTS, RETRY};

/// Publications under way at a time.
const WINDOW: usize = 1000;
const BATCH: usize = 256;
/// A confirm that takes longer is reported as a problem.
const SLOW: Duration = Duration::from_secs(10);
/// A confirm that takes longer is given up on. A cluster that lost its majority answers after 65 seconds.
const LOST: Duration = Duration::from_secs(90);
const LOOK: Duration = Duration::from_secs(1);

/// What the consuming side asks for.
pub(super) enum Order {
    /// At least one publication; none is a reply.
    Publish { tag: DeliveryTag, publications: Vec<Publication> },
    /// The session is lost, and what was ordered for it void.
    Forget { session: u64 },
    /// Nothing more is published for; what was ordered is still carried out.
    End,
}

/// Publishes until the last order is carried out, or until nobody is there to hear of it.
pub(super) struct Publisher {
    server: Arc<Server>,
    orders: mpsc::UnboundedReceiver<Order>,
    /// Deliveries whose every publication is confirmed.
    confirmed: mpsc::UnboundedSender<DeliveryTag>,
    health: Arc<HealthBoard>,
    unconfirmed: Unconfirmed,
    backoff: Backoff,
    opening: Option<BoxFuture<'static, Result<Link, BrokerError>>>,
    link: Option<Link>,
    /// The broker refused something: it gets a pause.
    paused_until: Option<Instant>,
    refused: bool,
    ending: bool,
    born: Instant,
    /// The last moment when nobody could expect a confirm.
    excused: Duration,
}

/// A connection that takes publications.
struct Link {
    connection: Connection,
    channel: Arc<Channel>,
    events: BoxStream<'static, lapin::Event>,
}

impl Publisher {
    pub(super) fn new(
        server: Arc<Server>,
        orders: mpsc::UnboundedReceiver<Order>,
        confirmed: mpsc::UnboundedSender<DeliveryTag>,
        health: Arc<HealthBoard>,
    ) -> Self {
        let opening = Some(reopen(Arc::clone(&server), None, Duration::ZERO).boxed());
        Self {
            server,
            orders,
            confirmed,
            health,
            unconfirmed: Unconfirmed::default(),
            backoff: Backoff::new(),
            opening,
            link: None,
            paused_until: None,
            refused: false,
            ending: false,
            born: Instant::now(),
            excused: Duration::ZERO,
        }
    }

    pub(super) async fn run(mut self) {
        let mut inbox = Vec::with_capacity(BATCH);
        let mut under_way = FuturesUnordered::new();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);

        while !(self.ending && self.unconfirmed.is_empty()) {
            if let Some(link) = self.link.as_ref().filter(|_| self.paused_until.is_none()) {
                let now = self.born.elapsed();
                while under_way.len() < WINDOW
                    && let Some((slot, outgoing)) = self.unconfirmed.next(now)
                {
                    under_way.push(publish(Arc::clone(&link.channel), slot, outgoing));
                }
            }
            let resume = self.paused_until.unwrap_or_else(Instant::now);
            tokio::select! {
                count = self.orders.recv_many(&mut inbox, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    inbox.drain(..).for_each(|order| self.take(order));
                }
                Some(answer) = under_way.next(), if !under_way.is_empty() => {
                    let mut answer = Some(answer);
                    while let Some((slot, outcome)) = answer {
                        if let Err(reason) = self.answered(slot, outcome) {
                            under_way.clear();
                            self.lose(reason);
                            break;
                        }
                        answer = under_way.next().now_or_never().flatten();
                    }
                }
                opened = if_any(&mut self.opening) => self.opened(opened),
                () = next_event(&mut self.link) => self.look(),
                () = sleep_until(resume), if self.paused_until.is_some() => self.paused_until = None,
                _ = look.tick() => self.look(),
            }
            if self.link.is_none() {
                under_way.clear();
            }
        }
        drop(self.confirmed);
        if let Some(link) = self.link {
            close(&link.connection).await;
        }
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Publish { tag, publications } => self.unconfirmed.add(tag, publications),
            Order::Forget { session } => self.unconfirmed.forget(session),
            Order::End => self.ending = true,
        }
    }

    fn answered(&mut self, slot: u64, outcome: lapin::Result<Confirmation>) -> Result<(), String> {
        match outcome {
            Ok(Confirmation::Ack(_)) => {
                self.backoff.reset();
                self.refused = false;
                // A consuming side that is gone needs no word.
                if let Some(tag) = self.unconfirmed.confirmed(slot)
                    && self.confirmed.send(tag).is_err()
                {
                    tracing::debug!(?tag, "confirmed after the end of the subscription");
                }
                Ok(())
            }
            Ok(Confirmation::Nack(_)) => {
                // It may be stored by some node all the same, or by one of two queues.
                if let Some(DeliveryTag { session, number }) = self.unconfirmed.refused(slot) {
                    tracing::debug!(session, number, "the broker refused to store a message: it is written again");
                }
                self.refused = true;
                if self.paused_until.is_none() {
                    self.paused_until = Some(Instant::now() + self.backoff.pause());
                }
                Ok(())
            }
            Ok(Confirmation::NotRequested) => Err("the channel does not confirm".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn opened(&mut self, opened: Result<Link, BrokerError>) {
        self.opening = None;
        match opened {
            Ok(link) => {
                self.excused = self.born.elapsed();
                self.link = Some(link);
                self.look();
            }
            Err(error) => {
                self.health.report(Side::Publishing, Some(error.to_string()));
                self.opening = Some(reopen(Arc::clone(&self.server), None, self.backoff.pause()).boxed());
            }
        }
    }

    fn lose(&mut self, reason: String) {
        let lost = self.link.take().map(|link| link.connection);
        self.unconfirmed.connection_lost();
        self.health.report(Side::Publishing, Some(reason));
        self.opening = Some(reopen(Arc::clone(&self.server), lost, self.backoff.pause()).boxed());
    }

    /// Judges the connection as it stands.
    fn look(&mut self) {
        let Some(link) = &self.link else { return };
        if !link.connection.status().connected() || !link.channel.status().connected() {
            return self.lose("the publishing connection is lost".to_owned());
        }
        let now = self.born.elapsed();
        let blocked = link.connection.status().blocked();
        if blocked {
            self.excused = now;
        }
        let age = self.unconfirmed.oldest().map_or(Duration::ZERO, |since| now - since.max(self.excused).min(now));
        if age > LOST {
            return self.lose(format!("the broker confirmed nothing for {age:.0?}"));
        }
        let problem = if blocked {
            Some("the broker blocks publishing: it has a memory or disk alarm".to_owned())
        } else if age > SLOW {
            Some("the broker is slow to confirm".to_owned())
        } else if self.refused {
            Some("the broker refuses to store messages".to_owned())
        } else {
            None
        };
        self.health.report(Side::Publishing, problem);
    }
}

async fn reopen(server: Arc<Server>, lost: Option<Connection>, pause: Duration) -> Result<Link, BrokerError> {
    if let Some(connection) = lost {
        close(&connection).await;
    }
    sleep(pause).await;
    let connection = server.open_ready("publishing").await?;
    let events = connection.events_listener().boxed();
    let selecting = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    };
    match timeout(ANSWER_TIMEOUT, selecting).await {
        Ok(Ok(channel)) => Ok(Link { connection, channel: Arc::new(channel), events }),
        Ok(Err::<_, lapin::Error>(error)) => Err(server.unreachable(&error)),
        Err(_) => Err(BrokerError::TimedOut(ANSWER_TIMEOUT)),
    }
}

async fn publish(channel: Arc<Channel>, slot: u64, message: Arc<Outgoing>) -> (u64, lapin::Result<Confirmation>) {
    let Publication { to, message } = &message.publication;
    let (exchange, key) = match to {
        Destination::Results { key } => (RESULTS, key.clone()),
        Destination::Dead => (DEAD, String::new()),
        Destination::DeadAgain => (RETRY, DEAD.to_owned()),
        Destination::Jobs => (JOBS, String::new()),
        Destination::Archive => (ARCHIVE, String::new()),
        Destination::Retry { after } => (RETRY, step_name(*after)),
        Destination::Reply { queue } => ("", queue.clone()),
    };
    let (exchange, key) = (short(exchange), short(&key));
    let options = BasicPublishOptions::default();
    let outcome =
        match channel.basic_publish(exchange, key, options, &message.body, outgoing(&message.properties)).await {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
    (slot, outcome)
}

async fn next_event(link: &mut Option<Link>) {
    let event = match link {
        Some(link) => link.events.next().await,
        None => None,
    };
    if event.is_none() {
        pending().await
    }
}
