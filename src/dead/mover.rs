//! Takes chosen letters out of a queue, and has what becomes of each published before the letter is acknowledged. Whatever
//! else comes is held until the end, and then put back by the broker.
//!
//! Of a letter that is stored twice both are moved, and no more of one than were chosen. Where a connection or a process was
//! lost, acknowledgements may be lost with it: what is confirmed and comes again for that reason is only acknowledged, and
//! the move ends when no more of it can come.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::journal::Journal;
use super::letter::{Identity, died_at};
use super::rate::Rate;
use super::tally::Tally;
use crate::broker::{Broker, BrokerError, Delivery, DeliveryTag, Event, Publication, Queue, Settlement, Subscription};
use crate::contract::Message;

/// Letters that are sent and not confirmed, at most: what a crash may send twice.
const WINDOW: usize = 100;
/// A broker that is not well for so long is given up on.
const UNWELL: Duration = Duration::from_secs(60);
/// The patience with letters that nobody else can hold. A queue that has many letters to send is silent for seconds, and
/// counts none meanwhile.
pub const ALONE: Duration = Duration::from_secs(5);
/// The patience with letters that somebody else may hold: a process that died does for half a minute.
pub const NOT_ALONE: Duration = Duration::from_secs(40);
/// How long the last confirms may take after a stop, and then the last acknowledgements.
pub const LAST_CONFIRMS: Duration = Duration::from_secs(30);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As many are moved as it was for.
    Reached,
    /// All that is left of the plan is in the queue no more: somebody else took it, or it was moved before a crash.
    Missing,
    /// It was told to stop.
    Stopped,
    /// The watcher objects.
    Objected,
}

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the plan file can't be written")]
    Journal(#[from] std::io::Error),
}

/// The wish to stop. Whoever hears it asks no more.
pub type Stop = BoxFuture<'static, ()>;

/// What becomes of a letter: the publications that must be confirmed before it is gone.
pub type Become<'a> = dyn Fn(&Message) -> Vec<Publication> + Send + Sync + 'a;

/// What is to be moved from where, and how.
pub struct Move<'a> {
    pub from: Queue,
    pub prefetch: u16,
    pub becomes: &'a Become<'a>,
    pub rate: Rate,
    /// How long letters are waited for that are not in the queue: somebody else may hold them.
    pub patience: Duration,
}

/// Hears what is sent, and may object to sending more.
pub trait Watcher: Send {
    /// A letter is about to be sent, as these.
    fn sent(&mut self, letter: &Message, publications: &[Publication]);

    /// Resolves when no more should be sent. Whoever drops it and calls it again misses nothing.
    fn objects(&mut self) -> BoxFuture<'_, ()>;
}

/// Nobody.
pub struct Unwatched;

impl Watcher for Unwatched {
    fn sent(&mut self, _: &Message, _: &[Publication]) {}

    fn objects(&mut self) -> BoxFuture<'_, ()> {
        std::future::pending().boxed()
    }
}

pub struct Mover<'a> {
    broker: &'a dyn Broker,
    what: Move<'a>,
    tally: Tally,
    journal: &'a mut dyn Journal,
    subscription: Subscription,
    /// Of the plan, and not sent yet.
    waiting: VecDeque<(Identity, Delivery)>,
    under_way: HashMap<DeliveryTag, Identity>,
    /// Deliveries held, of the last prefetch's worth, that are no concern of ours.
    skipped: usize,
    moved: u64,
    /// Sent again without word of the first time.
    again: u64,
    begun: Timestamp,
    /// When the queue last gave something that may stand before letters of the plan.
    heard: Instant,
    well: Instant,
}

impl<'a> Mover<'a> {
    pub fn new(broker: &'a dyn Broker, what: Move<'a>, tally: Tally, journal: &'a mut dyn Journal) -> Self {
        let now = Instant::now();
        Self {
            broker,
            subscription: broker.subscribe(what.from.clone(), what.prefetch),
            what,
            tally,
            journal,
            waiting: VecDeque::new(),
            under_way: HashMap::new(),
            skipped: 0,
            moved: 0,
            again: 0,
            begun: Timestamp::now(),
            heard: now,
            well: now,
        }
    }

    /// Messages moved so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Messages that were sent again because no confirmation was heard of: each may be where it goes twice.
    pub fn sent_again(&self) -> u64 {
        self.again
    }

    /// Messages of the plan that are not moved.
    pub fn left(&self) -> u64 {
        self.tally.left()
    }

    /// Whether nothing is left, and nothing that was moved before may come back.
    pub fn is_done(&self) -> bool {
        self.left() == 0 && !self.tally.awaits_returns()
    }

    /// Messages of them that may be moved: they were sent, and no confirmation was heard.
    pub fn left_in_doubt(&self) -> u64 {
        self.tally.left_in_doubt()
    }

    /// Goes on until so many messages are moved in all, or none is left. `show` is told how many are moved.
    pub async fn run(
        &mut self,
        until: u64,
        stop: &mut Stop,
        watcher: &mut dyn Watcher,
        show: &mut (dyn FnMut(u64) + Send),
    ) -> Result<End, MoveError> {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (self.heard, self.well) = (Instant::now(), Instant::now());
        loop {
            self.send(until, watcher)?;
            if self.moved >= until || self.is_done() {
                self.journal.sync()?;
                return Ok(End::Reached);
            }
            let next = self.what.rate.next();
            let paced = self.can_send(until) && Instant::now() < next;
            tokio::select! {
                biased;
                () = &mut *stop => {
                    self.settle_under_way().await?;
                    return Ok(End::Stopped);
                }
                () = watcher.objects() => {
                    self.settle_under_way().await?;
                    return Ok(End::Objected);
                }
                event = self.subscription.events.recv() => match event {
                    Some(event) => self.hear(event)?,
                    None => return Err(BrokerError::Other("the subscription has ended".to_owned()).into()),
                },
                () = sleep_until(next), if paced => {}
                _ = tick.tick() => {
                    show(self.moved);
                    self.journal.sync()?;
                    self.check_health()?;
                    if self.is_silent().await? {
                        self.tally.returns_are_over();
                        return Ok(if self.left() == 0 { End::Reached } else { End::Missing });
                    }
                }
            }
        }
    }

    /// Notes whether the first letters are well, and others may follow them at once.
    pub fn canary_passed(&mut self, passed: bool) -> Result<(), MoveError> {
        self.journal.canary_passed(passed)?;
        Ok(self.journal.sync()?)
    }

    /// Puts back what is held. Whether all that was moved is known to have left its queue.
    pub async fn close(self) -> bool {
        self.subscription.close(LAST_CONFIRMS).await
    }

    fn can_send(&self, until: u64) -> bool {
        !self.waiting.is_empty() && self.under_way.len() < WINDOW && self.moved + (self.under_way.len() as u64) < until
    }

    fn send(&mut self, until: u64, watcher: &mut dyn Watcher) -> Result<(), MoveError> {
        let mut orders = Vec::new();
        while self.can_send(until) && self.what.rate.allows(Instant::now()) {
            let Some((identity, delivery)) = self.waiting.pop_front() else { break };
            self.journal.sent(identity)?;
            self.again += u64::from(self.tally.is_in_doubt(identity));
            let publications = (self.what.becomes)(&delivery.message);
            watcher.sent(&delivery.message, &publications);
            self.under_way.insert(delivery.tag, identity);
            orders.push(Settlement::Finish { tag: delivery.tag, publications });
        }
        if !orders.is_empty() {
            // What may be sent is known to whoever comes after us.
            self.journal.write_out()?;
            orders.into_iter().for_each(|order| self.subscription.settle(order));
        }
        Ok(())
    }

    fn hear(&mut self, event: Event) -> Result<(), MoveError> {
        match event {
            Event::Delivery(delivery) => self.receive(delivery),
            Event::Settled(tag) => {
                if let Some(identity) = self.under_way.remove(&tag) {
                    self.journal.moved(identity)?;
                    self.moved += 1;
                    self.tally.moved(identity);
                    self.heard = Instant::now();
                }
            }
            Event::SessionLost { session, reason } => {
                tracing::warn!(reason, "the broker delivers again what was under way");
                let Self { waiting, under_way, tally, .. } = self;
                waiting.retain(|(identity, delivery)| {
                    let lost = delivery.tag.session == session;
                    if lost {
                        tally.returned(*identity);
                    }
                    !lost
                });
                for (_, identity) in under_way.extract_if(|tag, _| tag.session == session) {
                    tally.unheard(identity);
                }
                tally.session_lost();
                self.skipped = 0;
                self.heard = Instant::now();
                // The broker may hold them for the dead session as long as for another reader.
                self.what.patience = self.what.patience.max(NOT_ALONE);
            }
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Delivery) {
        let identity = Identity::of(&delivery.message);
        // In a busy incident more letters die all the time. They stand behind those of the plan, and are no sign of them.
        if died_at(&delivery.message).is_none_or(|died_at| died_at < self.begun) {
            self.heard = Instant::now();
        }
        if self.tally.take(identity) {
            self.waiting.push_back((identity, delivery));
        } else if delivery.redelivered && self.tally.take_returned(identity) {
            // It was moved, and its acknowledgement was lost. Any other is another letter, however much it looks like that
            // one: restored meanwhile, say.
            self.subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
        } else {
            self.skipped += 1;
            if self.skipped == usize::from(self.what.prefetch.max(1)) {
                self.skipped = 0;
                self.subscription.take_more();
            }
        }
    }

    fn check_health(&mut self) -> Result<(), MoveError> {
        let health = self.subscription.health.borrow().clone();
        if health.consuming && health.publishing {
            self.well = Instant::now();
            return Ok(());
        }
        // The silence of a broker that is not well says nothing of the letters.
        self.heard = Instant::now();
        if self.well.elapsed() > UNWELL {
            return Err(BrokerError::Other(format!("the broker is not well for {UNWELL:?}: {}", health.problem)).into());
        }
        Ok(())
    }

    /// Whether nothing of the plan can be expected any more.
    async fn is_silent(&mut self) -> Result<bool, MoveError> {
        let idle = self.under_way.is_empty() && self.waiting.is_empty() && self.heard.elapsed() > self.what.patience;
        Ok(idle && self.broker.depth(self.what.from.clone()).await? == 0)
    }

    /// Sends nothing more, and notes what is confirmed.
    async fn settle_under_way(&mut self) -> Result<(), MoveError> {
        self.subscription.stop_deliveries();
        let deadline = Instant::now() + LAST_CONFIRMS;
        while !self.under_way.is_empty() {
            match tokio::time::timeout_at(deadline, self.subscription.events.recv()).await {
                Ok(Some(Event::Delivery(_))) => {}
                Ok(Some(event)) => self.hear(event)?,
                Ok(None) | Err(_) => break,
            }
        }
        Ok(self.journal.sync()?)
    }
}
