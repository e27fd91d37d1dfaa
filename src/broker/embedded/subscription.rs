//! The loop behind a subscription: when to take a turn at the file. It must not know what a turn does there.
//!
//! It never waits for the subscriber to take an event: what doesn't fit into the channel stays in the `Hold`, and
//! settlements go on. All that was ordered since the last turn is carried out in one transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::connection::Connection;
use super::hold::Hold;
use super::store::{self, Store};
use super::turn::{Order, Turn, Turned};
use crate::broker::{BrokerError, Command, Event, Health, Queue, Subscription};

/// Between two turns, about: lets orders gather and other processes have their turn.
const PAUSE: Duration = Duration::from_millis(5);
/// Between two looks into an empty queue, at most.
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Between two tries while the file fails, at most.
const LONGEST_RETRY: Duration = Duration::from_secs(5);

struct Subscriber {
    connection: Connection,
    queue: Queue,
    lease: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
    health: watch::Sender<Health>,
    news: watch::Sender<()>,
    hold: Hold,
    pause: Duration,
    /// No turn before this.
    rested_at: Instant,
    /// When to look into the queue.
    look_at: Instant,
    renew_at: Instant,
}

/// Must be called within a tokio runtime.
pub fn begin(
    connection: Connection,
    queue: Queue,
    prefetch: u16,
    lease: Duration,
    news: watch::Sender<()>,
) -> Subscription {
    let prefetch = usize::from(prefetch.max(1));
    let (command_sender, commands) = mpsc::unbounded_channel();
    let (events, event_receiver) = mpsc::channel(prefetch);
    let (health, health_receiver) = watch::channel(Health::default());
    let now = Instant::now();
    let subscriber = Subscriber {
        connection,
        queue,
        lease,
        commands,
        events,
        health,
        news,
        hold: Hold::new(prefetch),
        pause: PAUSE,
        rested_at: now,
        look_at: now,
        renew_at: now + lease / 3,
    };
    // Should it panic, the stream of events ends: its owner sees that.
    tokio::spawn(subscriber.run());
    Subscription { events: event_receiver, commands: command_sender, health: health_receiver }
}

impl Subscriber {
    async fn run(mut self) {
        let mut news = self.news.subscribe();
        let events = self.events.clone();
        loop {
            let turn_at = self.turn_at();
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.hold.take(command),
                    None => break,
                },
                room = events.reserve(), if self.hold.has_events() => match (room, self.hold.next_event()) {
                    (Ok(room), Some(event)) => room.send(event),
                    // Nobody takes events any more: nothing further is claimed, what is held can still be settled.
                    _ => {
                        self.hold.take(Command::StopDeliveries);
                        self.hold.drop_deliveries();
                    }
                },
                Ok(()) = news.changed() => self.look_at = self.rested_at,
                () = tokio::time::sleep_until(turn_at.unwrap_or_else(Instant::now)), if turn_at.is_some() => {
                    while let Ok(command) = self.commands.try_recv() {
                        self.hold.take(command);
                    }
                    self.turn().await;
                }
            }
        }
        self.end().await;
    }

    /// When the next turn is due; never, if nothing is held and nothing is wanted.
    fn turn_at(&self) -> Option<Instant> {
        let settle = self.hold.has_orders().then_some(self.rested_at);
        let claim = (self.hold.claimable() > 0).then_some(self.look_at);
        let renew = self.has_to_renew().then_some(self.renew_at.max(self.rested_at));
        [settle, claim, renew].into_iter().flatten().min()
    }

    /// A lease on deliveries, or a watch that lives only while it is read.
    fn has_to_renew(&self) -> bool {
        self.hold.holds_deliveries() || matches!(self.queue, Queue::Watch(_))
    }

    async fn turn(&mut self) {
        let renew = self.has_to_renew() && Instant::now() >= self.renew_at;
        let (queue, session, claim) = (self.queue.clone(), self.hold.session(), self.hold.claimable());
        let turn = Turn { queue, session, held: self.hold.count(), lease: self.lease, renew, claim };
        match self.at_the_file(move |store, orders| turn.take(store, orders, store::now())).await {
            Ok(turned) => {
                let busy = turned.wrote && !(turned.claimed.is_empty() && turned.finished.is_empty());
                self.rest(if busy { PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) });
                if turned.wrote {
                    self.renew_at = Instant::now() + self.lease / 3;
                }
                self.hold.turned(turned);
                self.report(Health { consuming: true, publishing: true, problem: String::new() });
            }
            Err(error) => self.failed(&error),
        }
    }

    fn failed(&mut self, error: &BrokerError) {
        self.rest((self.pause * 2).clamp(LONGEST_PAUSE, LONGEST_RETRY));
        self.report(Health { consuming: false, publishing: false, problem: error.to_string() });
    }

    /// Runs `work` with all orders; a failure leaves them to the next turn.
    async fn at_the_file<W>(&mut self, work: W) -> Result<Turned, BrokerError>
    where
        W: FnOnce(&mut Store, &[Order]) -> Result<Turned, BrokerError> + Send + 'static,
    {
        let orders = Arc::new(self.hold.take_orders());
        let lent = Arc::clone(&orders);
        let answer = self.connection.run(move |store| work(store, &lent)).await;
        if answer.is_err() {
            // The work has ended, by a panic perhaps: nobody else has them now.
            self.hold.keep_orders(Arc::into_inner(orders).unwrap_or_default());
        } else if !orders.is_empty() {
            self.news.send_replace(());
        }
        answer
    }

    fn rest(&mut self, pause: Duration) {
        self.pause = pause;
        // Processes that look at the same moments get in each other's way.
        let jittered = |pause: Duration| Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.look_at = jittered(pause);
        self.rested_at = if pause > LONGEST_PAUSE { self.look_at } else { jittered(PAUSE) };
    }

    fn report(&self, health: Health) {
        self.health.send_if_modified(|known| {
            let news = *known != health;
            if news && !health.problem.is_empty() {
                tracing::warn!(queue = self.queue.name(), problem = %health.problem, "the queue file fails: trying on");
            }
            *known = health;
            news
        });
    }

    /// Carries out the last orders and gives everything else back, at once or, while the file fails, within a lease:
    /// after that the others have it anyway.
    async fn end(mut self) {
        let give_up_at = Instant::now() + self.lease;
        while let Some(session) = self.hold.session() {
            match self.at_the_file(move |store, orders| Turn::end(session, store, orders, store::now())).await {
                Ok(turned) => {
                    self.news.send_replace(());
                    self.hold.turned(turned);
                }
                Err(error) if Instant::now() >= give_up_at => {
                    tracing::warn!(%error, "the last settlements are lost: their messages will be delivered again");
                    break;
                }
                Err(error) => {
                    self.failed(&error);
                    tokio::time::sleep_until(self.look_at).await;
                }
            }
        }
        self.hold.drop_deliveries();
        while let Some(event) = self.hold.next_event() {
            // Until they are taken, or the subscriber drops its end.
            if self.events.send(event).await.is_err() {
                break;
            }
        }
    }
}
