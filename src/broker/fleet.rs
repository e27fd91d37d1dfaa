//! Beacons: what the workers of one broker tell each other, each heard by all of them, its sender included. Best effort: a
//! beacon may be lost, and nothing waits for one. It must not know what a beacon says, nor what silence means.

use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::BrokerError;

/// A beacon that nobody took for so long is dropped by the broker: what it says is no longer true.
pub(super) const EXPIRY: Duration = Duration::from_secs(6);
/// Beacons that the worker has not read yet; the next ones are dropped.
const HEARD: usize = 1024;

/// What a worker hears of its fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    Beacon(Vec<u8>),
    /// When this worker came, nobody else was there.
    Nobody,
}

/// A worker's place in the fleet. Dropping it ends it.
#[derive(Debug)]
pub struct Fleet {
    told: watch::Sender<Vec<u8>>,
    heard: mpsc::Receiver<Heard>,
    /// Its panic shows as silence, which pace knows to bear.
    taking_part: JoinHandle<()>,
}

/// The broker's ends of a place in the fleet.
#[derive(Debug)]
pub(super) struct Ends {
    told: watch::Receiver<Vec<u8>>,
    heard: mpsc::Sender<Heard>,
    /// Whether it was said that beacons don't flow.
    silent: bool,
}

impl Fleet {
    /// Starts taking part. Must be called within a tokio runtime.
    pub(super) fn begin<R>(take_part: impl FnOnce(Ends) -> R) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let (told, told_receiver) = watch::channel(Vec::new());
        let (heard_sender, heard) = mpsc::channel(HEARD);
        let ends = Ends { told: told_receiver, heard: heard_sender, silent: false };
        Self { told, heard, taking_part: tokio::spawn(take_part(ends)) }
    }

    /// Tells every worker. Only the newest beacon counts: one that could not be sent yet is forgotten.
    pub fn tell(&self, beacon: Vec<u8>) {
        self.told.send_replace(beacon);
    }

    /// What is told next; `None` when nothing can come any more.
    pub async fn hear(&mut self) -> Option<Heard> {
        self.heard.recv().await
    }

    /// Sends what was told last, and goes. Waits at most `deadline`.
    pub async fn leave(self, deadline: Duration) {
        drop(self.told);
        if tokio::time::timeout(deadline, self.taking_part).await.is_err() {
            tracing::debug!("the fleet was left without a word");
        }
    }
}

impl Ends {
    /// The next beacon to send; `None` when the worker has left.
    pub async fn next(&mut self) -> Option<Vec<u8>> {
        self.told.changed().await.ok()?;
        Some(self.told.borrow_and_update().clone())
    }

    /// Resolves when the worker has left.
    pub async fn left(&self) {
        self.heard.closed().await;
    }

    pub fn pass_on(&self, heard: Heard) {
        if self.heard.try_send(heard).is_err() {
            tracing::debug!("a beacon was not listened to");
        }
    }

    /// Says that beacons don't flow, or do again, when that is news.
    pub fn flow(&mut self, outcome: Result<(), &BrokerError>) {
        match outcome {
            Ok(()) if std::mem::take(&mut self.silent) => tracing::info!("the fleet's beacons flow again"),
            Ok(()) => {}
            Err(error) if self.silent => tracing::debug!(%error, "the fleet's beacons still don't flow"),
            Err(error) => {
                self.silent = true;
                tracing::warn!(
                    %error,
                    "the fleet's beacons don't flow: until they do this worker can't share a quota and keeps to a part of each, half \
                     if it never heard of others; every other such worker does the same"
                );
            }
        }
    }
}
