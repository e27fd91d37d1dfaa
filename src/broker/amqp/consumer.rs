//! The consuming side of a subscription: one task that passes deliveries on, carries out settlements, and opens a new
//! session whenever one is lost. Publishing is left to `publisher`, which says when a delivery may be acked.
//!
//! Nothing here waits for the subscriber: while it doesn't read, deliveries stay in their queue and acks flow on.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::connection::Server;
use super::health::{HealthBoard, Side};
use super::isolation::Isolation;
use super::publisher::Order;
use super::reconnect::{Backoff, if_any};
use super::replies::Reply;
use super::session::{Session, Source, reopen};
use crate::broker::{BrokerError, Command, Delivery, DeliveryTag, Destination, Event, Publication, Queue, Settlement};

/// Events that the subscriber has not read yet.
pub(super) const EVENTS: usize = 64;
/// Room to wait for when there was none, so that a busy subscriber doesn't wake this task for each event.
const ROOM: usize = EVENTS / 4;
const BATCH: usize = 256;
const LOOK: Duration = Duration::from_secs(1);
/// What is said beside the reason of a loss while deliveries come one at a time.
const SUSPICION: &str = "a message may be what ends the sessions, by a property that is not UTF-8 for example: deliveries \
                         come one at a time until the queue's delivery limit has moved it to release.dead";
/// The same of a queue whose delivery limit nothing reaches.
const SUSPICION_OF_ANOTHER: &str = "a message may be what ends the sessions, by a property that is not UTF-8 for example: \
                                    a look into the queue (`bulkrelease dead list`, with `--archive` into the archive) says \
                                    how to take it out";

/// Where the consuming side hears and speaks.
pub(super) struct Ends {
    pub(super) events: Sender<Event>,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) orders: UnboundedSender<Order>,
    pub(super) confirmed: UnboundedReceiver<DeliveryTag>,
    pub(super) replies: Sender<Reply>,
}

pub(super) struct ConsumingSide {
    server: Arc<Server>,
    queue: Queue,
    events: Sender<Event>,
    commands: UnboundedReceiver<Command>,
    orders: UnboundedSender<Order>,
    confirmed: UnboundedReceiver<DeliveryTag>,
    replies: Sender<Reply>,
    health: Arc<HealthBoard>,
    /// Events for which there was no room. At most one delivery is among them.
    outbox: VecDeque<Event>,
    session: Option<Session>,
    sessions: u64,
    opening: Option<BoxFuture<'static, Result<Session, BrokerError>>>,
    cancelling: Option<BoxFuture<'static, lapin::Result<()>>>,
    stopped: bool,
    /// No further command can come.
    ending: bool,
    /// The consumer's stream has ended because we cancelled it.
    drained: bool,
    /// Came after the wish to stop. Given back before the consumer has ended, they would only come again and count as
    /// delivered once more.
    late: Vec<DeliveryTag>,
    /// The subscriber asked for more than the prefetch.
    more: bool,
    backoff: Backoff,
    isolation: Isolation,
}

impl ConsumingSide {
    pub(super) fn new(server: Arc<Server>, source: Source, ends: Ends, health: Arc<HealthBoard>) -> Self {
        let mut side = Self {
            server,
            queue: source.queue,
            events: ends.events,
            commands: ends.commands,
            orders: ends.orders,
            confirmed: ends.confirmed,
            replies: ends.replies,
            health,
            outbox: VecDeque::new(),
            session: None,
            sessions: 0,
            opening: None,
            cancelling: None,
            stopped: false,
            ending: false,
            drained: false,
            late: Vec::new(),
            more: false,
            backoff: Backoff::new(),
            isolation: Isolation::new(source.prefetch),
        };
        side.reopen(None, Duration::ZERO);
        side
    }

    /// Runs until every order is carried out after the last command, or until nobody listens any more.
    pub(super) async fn run(mut self) {
        let mut commands = Vec::with_capacity(BATCH);
        let mut confirmed = Vec::with_capacity(BATCH);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut publishing = true;

        while publishing || !self.outbox.is_empty() {
            let acks_due = self.session.as_ref().and_then(Session::deadline);
            tokio::select! {
                () = self.events.closed() => break,
                count = self.commands.recv_many(&mut commands, BATCH), if !self.ending => {
                    if count == 0 {
                        self.ending = true;
                        self.stop();
                        self.order(Order::End);
                    }
                    commands.drain(..).for_each(|command| self.obey(command));
                }
                count = self.confirmed.recv_many(&mut confirmed, BATCH), if publishing => {
                    publishing = count > 0;
                    confirmed.drain(..).for_each(|tag| self.finish(tag));
                    if !publishing && !self.ending {
                        tracing::error!("the publishing side ended unasked: the subscription ends");
                        break;
                    }
                }
                () = room(&self.events), if !self.outbox.is_empty() => {}
                delivery = next(&mut self.session), if self.wants_deliveries() => {
                    self.receive(delivery);
                }
                opened = if_any(&mut self.opening) => self.opened(opened),
                cancelled = if_any(&mut self.cancelling) => {
                    self.cancelling = None;
                    self.lose_on(cancelled);
                }
                () = sleep_until(acks_due.unwrap_or_else(Instant::now)), if acks_due.is_some() => {}
                _ = look.tick() => {
                    if self.session.as_ref().is_some_and(|session| !session.is_alive()) {
                        self.lose("the consuming connection is lost".to_owned());
                    }
                }
            }
            // Acks go before the events that speak of them.
            let sent = self.session.as_mut().map_or(Ok(()), Session::send_acks_due);
            self.lose_on(sent);
            self.widen();
            self.forward();
        }
        if let Some(session) = self.session {
            let number = session.number;
            if !session.close().await {
                let reason = "the connection broke at its end: what was acknowledged last may come again".to_owned();
                if self.events.try_send(Event::SessionLost { session: number, reason }).is_err() {
                    tracing::debug!("the last acks may be lost, and nobody listens");
                }
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Settle(Settlement::Finish { tag, publications }) => self.publish(tag, publications),
            Command::Settle(Settlement::GiveBack { tag }) => self.give_back(tag),
            Command::TakeMore => self.more = true,
            Command::StopDeliveries => self.stop(),
        }
    }

    fn give_back(&mut self, tag: DeliveryTag) {
        let given_back = self.session.as_mut().map_or(Ok(()), |session| session.give_back(tag));
        self.lose_on(given_back);
    }

    /// Has everything published; the ack comes with the confirms.
    fn publish(&mut self, tag: DeliveryTag, mut publications: Vec<Publication>) {
        if !self.session.as_mut().is_some_and(|session| session.order(tag)) {
            return;
        }
        for reply in publications.extract_if(.., |publication| matches!(publication.to, Destination::Reply { .. })) {
            if let Destination::Reply { queue } = reply.to
                && self.replies.try_send((queue, reply.message)).is_err()
            {
                tracing::debug!("too many replies are waiting: one is dropped");
            }
        }
        if publications.is_empty() {
            self.finish(tag);
        } else {
            self.order(Order::Publish { tag, publications });
        }
    }

    fn finish(&mut self, tag: DeliveryTag) {
        if self.session.as_mut().is_some_and(|session| session.finished(tag)) {
            self.isolation.settled();
            self.outbox.push_back(Event::Settled(tag));
        }
    }

    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::debug!("the publishing side has ended");
        }
    }

    /// Takes what has arrived, as far as the subscriber has room.
    fn receive(&mut self, first: Option<lapin::Result<Delivery>>) {
        let mut more = self.take(first);
        for _ in 1..BATCH {
            let Some(session) = self.session.as_mut().filter(|_| more) else { return };
            let Some(delivery) = session.next().now_or_never() else { return };
            more = self.take(delivery);
        }
    }

    /// Whether another one can be taken.
    fn take(&mut self, delivery: Option<lapin::Result<Delivery>>) -> bool {
        match delivery {
            Some(Ok(delivery)) if self.stopped => self.late.push(delivery.tag),
            Some(Ok(delivery)) => {
                self.outbox.push_back(Event::Delivery(delivery));
                self.forward();
            }
            Some(Err(error)) => self.lose(error.to_string()),
            None if self.stopped => {
                self.drained = true;
                for tag in std::mem::take(&mut self.late) {
                    self.give_back(tag);
                }
            }
            None => self.lose("the broker cancelled the consumer".to_owned()),
        }
        self.wants_deliveries()
    }

    fn wants_deliveries(&self) -> bool {
        !self.drained && (self.stopped || self.outbox.is_empty())
    }

    fn forward(&mut self) {
        while let Some(event) = self.outbox.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => return self.outbox.push_front(event),
                Err(TrySendError::Closed(_)) => return self.outbox.clear(),
            }
        }
    }

    fn stop(&mut self) {
        if self.stopped {
            return;
        }
        self.stopped = true;
        // Without a session nothing is held, and nothing further is wanted.
        self.opening = None;
        self.cancelling = self.session.as_mut().map(Session::stop);
        self.health.stopped();
    }

    /// Lets more deliveries come: where they were held back and those that came did no harm, or as the subscriber asked.
    fn widen(&mut self) {
        let Some(session) = self.session.as_mut().filter(|session| !self.stopped && !session.is_widening()) else {
            return;
        };
        if let Some(prefetch) = self.isolation.widened(session.age()) {
            self.cancelling = Some(session.widen(prefetch));
            self.health.report(Side::Consuming, None);
        } else if std::mem::take(&mut self.more) {
            self.cancelling = Some(session.widen(self.isolation.prefetch()));
        }
    }

    fn opened(&mut self, opened: Result<Session, BrokerError>) {
        self.opening = None;
        match opened {
            Ok(session) => {
                self.session = Some(session);
                // Where a message is suspected, a session must first prove itself.
                if !self.isolation.is_narrow() {
                    self.health.report(Side::Consuming, None);
                }
            }
            Err(error) => {
                self.health.report(Side::Consuming, Some(error.to_string()));
                let pause = self.backoff.pause();
                self.reopen(None, pause);
            }
        }
    }

    fn lose_on(&mut self, outcome: lapin::Result<()>) {
        if let Err(error) = outcome {
            self.lose(error.to_string());
        }
    }

    /// Every tag of the session is void from here on, and said to be.
    fn lose(&mut self, reason: String) {
        // What is confirmed by now is said to be. It comes again all the same, and what became of it is known.
        while let Ok(tag) = self.confirmed.try_recv() {
            self.finish(tag);
        }
        let Some(session) = self.session.take() else { return };
        self.late.clear();
        let number = session.number;
        if self.isolation.lost(session.age()) {
            self.backoff.reset();
        }
        self.cancelling = None;
        self.more = false;
        self.order(Order::Forget { session: number });
        self.outbox.retain(|event| !matches!(event, Event::Delivery(delivery) if delivery.tag.session == number));
        let suspicion = if self.queue == Queue::Jobs { SUSPICION } else { SUSPICION_OF_ANOTHER };
        let problem = if self.isolation.is_narrow() { format!("{reason}; {suspicion}") } else { reason.clone() };
        self.health.report(Side::Consuming, Some(problem));
        self.outbox.push_back(Event::SessionLost { session: number, reason });
        if !self.stopped {
            let pause = self.backoff.pause();
            self.reopen(Some(session), pause);
        }
    }

    fn reopen(&mut self, lost: Option<Session>, pause: Duration) {
        self.sessions += 1;
        let source = Source { queue: self.queue.clone(), prefetch: self.isolation.prefetch() };
        self.opening = Some(reopen(Arc::clone(&self.server), source, self.sessions, lost, pause).boxed());
    }
}

async fn next(session: &mut Option<Session>) -> Option<lapin::Result<Delivery>> {
    match session {
        Some(session) => session.next().await,
        None => pending().await,
    }
}

async fn room(events: &Sender<Event>) {
    // Whoever stopped listening is noticed elsewhere.
    if events.reserve_many(ROOM).await.is_err() {
        pending().await
    }
}
