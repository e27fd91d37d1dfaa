//! Listens to what becomes of the letters of a replay, over a watch of its own. `judge` says what it means.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, timeout_at};

use super::judge::{Back, Judge};
use super::letter::Letter;
use super::mover::{Stop, Watcher};
use crate::broker::{Broker, BrokerError, Event, Publication, Queue, Settlement, Subscription, WatchName};
use crate::contract::Message;

/// How long the last settlements may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What was heard of the letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each has its result, and none died again.
    Well,
    /// So many of so many died again; the last one of them.
    CameBack {
        last: Back,
        died: usize,
        of: usize,
    },
    /// No word of so many in time.
    Silent(usize),
    Stopped,
}

/// The watch. It must be ended, whatever its verdict.
pub struct Canary<'a> {
    broker: &'a dyn Broker,
    name: WatchName,
    subscription: Subscription,
    judge: Judge,
    is_deaf: bool,
}

impl<'a> Canary<'a> {
    /// Begins to watch. What is sent before that may be missed.
    pub async fn begin(broker: &'a dyn Broker, name: WatchName) -> Result<Self, BrokerError> {
        broker.watch(name.clone()).await?;
        let subscription = broker.subscribe(Queue::Watch(name.clone()), 100);
        Ok(Self { broker, name, subscription, judge: Judge::default(), is_deaf: false })
    }

    /// The first letters are well: from now on a few may die again.
    pub fn tolerate(&mut self) {
        self.judge.tolerate();
    }

    /// Waits for word of the letters that were sent.
    pub async fn verdict(&mut self, wait: Duration, stop: &mut Stop) -> Result<Verdict, BrokerError> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some((last, died, of)) = self.judge.objection() {
                return Ok(Verdict::CameBack { last: last.clone(), died, of });
            }
            if self.is_deaf {
                return Err(BrokerError::Other("the watch has ended".to_owned()));
            }
            match self.judge.awaited() {
                0 => return Ok(Verdict::Well),
                // However much is heard of others meanwhile.
                awaited if Instant::now() >= deadline => return Ok(Verdict::Silent(awaited)),
                _ => {}
            }
            tokio::select! {
                () = &mut *stop => return Ok(Verdict::Stopped),
                _ = timeout_at(deadline, self.listen()) => {}
            }
        }
    }

    pub async fn end(self) -> Result<(), BrokerError> {
        self.subscription.close(CLOSE_TIMEOUT).await;
        self.broker.unwatch(self.name).await
    }

    /// Takes in the next word.
    async fn listen(&mut self) {
        match self.subscription.events.recv().await {
            Some(Event::Delivery(delivery)) => {
                self.judge.hear(&delivery.message);
                self.subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
            }
            Some(Event::Settled(_) | Event::SessionLost { .. }) => {}
            None => self.is_deaf = true,
        }
    }
}

impl Watcher for Canary<'_> {
    fn sent(&mut self, letter: &Message, publications: &[Publication]) {
        let letter = Letter::read(letter);
        publications.iter().for_each(|publication| self.judge.sent(&letter, &publication.message));
    }

    fn objects(&mut self) -> BoxFuture<'_, ()> {
        async {
            while self.judge.objection().is_none() && !self.is_deaf {
                self.listen().await;
            }
        }
        .boxed()
    }
}
