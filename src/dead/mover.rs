//! Takes chosen letters out of a queue, and has what becomes of each published before the letter is acknowledged. Whatever
//! else comes is held until the end, and then put back by the broker.
//!
//! Of a letter that is stored twice both are moved, and no more of one than were chosen: what comes again after it was
//! confirmed, because its acknowledgement was lost, is only acknowledged.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::letter::Identity;
use crate::broker::{Broker, BrokerError, Delivery, DeliveryTag, Event, Publication, Queue, Settlement, Subscription};
use crate::contract::Message;

/// Letters that are sent and not confirmed, at most: what a crash may send twice.
const WINDOW: usize = 100;
/// A broker that is not well for so long is given up on.
const UNWELL: Duration = Duration::from_secs(60);
/// Letters that are not in the queue are waited for so long: a process that died may hold them for half a minute.
const MISSING: Duration = Duration::from_secs(40);
/// How long the last confirms may take after a stop.
const LAST_CONFIRMS: Duration = Duration::from_secs(30);

/// How many messages of one identity there are to move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copies {
    planned: u32,
    pub moved: u32,
    under_way: u32,
}

impl Copies {
    pub fn planned(planned: u32) -> Self {
        Self { planned, moved: 0, under_way: 0 }
    }

    pub fn left(&self) -> u32 {
        self.planned.saturating_sub(self.moved)
    }
}

/// Where it is written down how far a move got.
pub trait Journal: Send {
    /// A letter is about to be sent.
    fn sent(&mut self, identity: Identity) -> io::Result<()>;
    /// It is confirmed.
    fn moved(&mut self, identity: Identity) -> io::Result<()>;
    /// The first letters did not die again.
    fn canary_passed(&mut self) -> io::Result<()>;
    /// Called before anything is sent that was noted.
    fn write_out(&mut self) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

/// A move that needs no journal, because it does no harm twice.
pub struct Unwritten;

impl Journal for Unwritten {
    fn sent(&mut self, _: Identity) -> io::Result<()> {
        Ok(())
    }

    fn moved(&mut self, _: Identity) -> io::Result<()> {
        Ok(())
    }

    fn canary_passed(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn write_out(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As many are moved as it was for.
    Reached,
    /// All that is left of the plan is in the queue no more: somebody else took it, or it was moved before a crash.
    Missing,
    /// It was told to stop.
    Stopped,
}

#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error(transparent)]
    Broker(#[from] BrokerError),
    #[error("the plan file can't be written: {0}")]
    Journal(#[from] io::Error),
}

/// The wish to stop. Whoever hears it asks no more.
pub type Stop = BoxFuture<'static, ()>;

/// What becomes of a letter: the publications that must be confirmed before it is gone.
pub type Become<'a> = dyn Fn(&Message) -> Vec<Publication> + Send + Sync + 'a;

/// At most so many letters a second.
#[derive(Debug)]
pub struct Pace {
    interval: Option<Duration>,
    next: Instant,
}

impl Pace {
    pub fn new(per_second: Option<f64>) -> Self {
        Self { interval: per_second.map(|rate| Duration::from_secs_f64(1.0 / rate)), next: Instant::now() }
    }

    fn allows(&mut self, now: Instant) -> bool {
        let Some(interval) = self.interval else { return true };
        let allowed = now >= self.next;
        if allowed {
            self.next = self.next.max(now - interval) + interval;
        }
        allowed
    }
}

pub struct Mover<'a> {
    broker: &'a dyn Broker,
    from: Queue,
    subscription: Subscription,
    prefetch: usize,
    copies: HashMap<Identity, Copies>,
    left: u64,
    becomes: &'a Become<'a>,
    journal: &'a mut dyn Journal,
    pace: Pace,
    /// Of the plan, and not sent yet.
    waiting: VecDeque<(Identity, Delivery)>,
    under_way: HashMap<DeliveryTag, Identity>,
    /// Deliveries held, of the last prefetch's worth, that are no concern of ours.
    skipped: usize,
    moved: u64,
    heard: Instant,
    well: Instant,
}

impl<'a> Mover<'a> {
    pub fn new(
        broker: &'a dyn Broker,
        from: Queue,
        prefetch: u16,
        copies: HashMap<Identity, Copies>,
        becomes: &'a Become<'a>,
        journal: &'a mut dyn Journal,
        pace: Pace,
    ) -> Self {
        let left = copies.values().map(|copies| u64::from(copies.left())).sum();
        let now = Instant::now();
        Self {
            broker,
            subscription: broker.subscribe(from.clone(), prefetch),
            from,
            prefetch: usize::from(prefetch.max(1)),
            copies,
            left,
            becomes,
            journal,
            pace,
            waiting: VecDeque::new(),
            under_way: HashMap::new(),
            skipped: 0,
            moved: 0,
            heard: now,
            well: now,
        }
    }

    /// Messages moved so far.
    pub fn moved(&self) -> u64 {
        self.moved
    }

    /// Messages of the plan that are not moved.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Goes on until so many messages are moved in all, or none is left. `sent` is shown each message when it is sent, and
    /// `show` how many are moved.
    pub async fn run(
        &mut self,
        until: u64,
        stop: &mut Stop,
        sent: &mut (dyn FnMut(&Message, &[Publication]) + Send),
        show: &mut (dyn FnMut(u64) + Send),
    ) -> Result<End, MoveError> {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        (self.heard, self.well) = (Instant::now(), Instant::now());
        loop {
            self.send(until, sent)?;
            if self.left == 0 || self.moved >= until {
                self.journal.sync()?;
                return Ok(End::Reached);
            }
            let next = self.pace.next;
            let paced = self.can_send(until) && Instant::now() < next;
            tokio::select! {
                biased;
                () = &mut *stop => {
                    self.settle_under_way().await?;
                    return Ok(End::Stopped);
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
                    if self.is_missing().await? {
                        return Ok(End::Missing);
                    }
                }
            }
        }
    }

    /// Notes that the first letters did not die again.
    pub fn passed(&mut self) -> Result<(), MoveError> {
        self.journal.canary_passed()?;
        Ok(self.journal.sync()?)
    }

    /// Puts back what is held.
    pub async fn close(self) {
        self.subscription.close(LAST_CONFIRMS).await;
    }

    fn can_send(&self, until: u64) -> bool {
        !self.waiting.is_empty() && self.under_way.len() < WINDOW && self.moved + (self.under_way.len() as u64) < until
    }

    fn send(&mut self, until: u64, sent: &mut (dyn FnMut(&Message, &[Publication]) + Send)) -> Result<(), MoveError> {
        let mut orders = Vec::new();
        while self.can_send(until) && self.pace.allows(Instant::now()) {
            let Some((identity, delivery)) = self.waiting.pop_front() else { break };
            self.journal.sent(identity)?;
            let publications = (self.becomes)(&delivery.message);
            sent(&delivery.message, &publications);
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
        self.heard = Instant::now();
        match event {
            Event::Delivery(delivery) => self.receive(delivery),
            Event::Settled(tag) => {
                if let Some(identity) = self.under_way.remove(&tag) {
                    self.journal.moved(identity)?;
                    self.moved += 1;
                    self.left -= 1;
                    if let Some(copies) = self.copies.get_mut(&identity) {
                        copies.under_way -= 1;
                        copies.moved += 1;
                    }
                }
            }
            Event::SessionLost { session, reason } => {
                tracing::warn!(reason, "the broker delivers again what was under way");
                self.waiting.retain(|(identity, delivery)| {
                    let lost = delivery.tag.session == session;
                    if lost && let Some(copies) = self.copies.get_mut(identity) {
                        copies.under_way -= 1;
                    }
                    !lost
                });
                self.under_way.retain(|tag, identity| {
                    let lost = tag.session == session;
                    if lost && let Some(copies) = self.copies.get_mut(identity) {
                        copies.under_way -= 1;
                    }
                    !lost
                });
                self.skipped = 0;
            }
        }
        Ok(())
    }

    fn receive(&mut self, delivery: Delivery) {
        let identity = Identity::of(&delivery.message);
        match self.copies.get_mut(&identity) {
            Some(copies) if copies.moved + copies.under_way < copies.planned => {
                copies.under_way += 1;
                self.waiting.push_back((identity, delivery));
            }
            // It was moved, and its acknowledgement was lost. One that nobody was handed before is another letter, however
            // much it looks like that one: imported from a backup, say, or restored.
            Some(copies) if copies.left() == 0 && delivery.redelivered => {
                self.subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
            }
            _ => {
                self.skipped += 1;
                if self.skipped == self.prefetch {
                    self.skipped = 0;
                    self.subscription.take_more();
                }
            }
        }
    }

    fn check_health(&mut self) -> Result<(), MoveError> {
        let health = self.subscription.health.borrow().clone();
        if health.consuming && health.publishing {
            self.well = Instant::now();
        } else if self.well.elapsed() > UNWELL {
            return Err(BrokerError::Other(format!("the broker is not well for {UNWELL:?}: {}", health.problem)).into());
        }
        Ok(())
    }

    async fn is_missing(&mut self) -> Result<bool, MoveError> {
        let idle = self.under_way.is_empty() && self.waiting.is_empty() && self.heard.elapsed() > MISSING;
        Ok(idle && self.broker.depth(self.from.clone()).await? == 0)
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
