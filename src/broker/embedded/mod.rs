//! The broker in one SQLite file, for demos, laptops and single machines. Several processes may open the file at once;
//! it must lie on a local disk, as SQLite's write-ahead log needs shared memory.
//!
//! A delivery is a row that bears a session's number. A session is a lease: whoever holds rows renews it, and a session
//! that nobody renewed in time loses its rows to whoever looks next.
//!
//! ```text
//!  enqueue -> ready --claim--> held by a session --finish--> gone, its publications in their queues (one transaction)
//!               ^                    |
//!               '--- given back, or the session ended or ran out
//! ```
//!
//! What is to be tried again later is a row with a time at which it goes to the jobs.
//!
//! So a result is published exactly once, and a job may be worked at more than once. Leases are counted on the
//! machine's clock: set back by an hour, it keeps what a dead process held from the others for an hour.

mod beacons;
mod connection;
mod error;
mod hold;
mod inspect;
mod look;
mod properties;
mod statements;
mod store;
mod subscription;
mod turn;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use self::connection::Connection;
pub(super) use self::inspect::inspect;
use self::store::Store;
use self::turn::millis;
use super::{Broker, BrokerError, Fleet, Look, Queue, Subscription, UNWATCHED, WatchName};
use crate::contract::{DEAD, JOBS, Message};

/// How long a process may be silent before what it holds is handed to others.
const LEASE: Duration = Duration::from_secs(30);
/// Messages that are stored in one transaction.
const MESSAGES_PER_TRANSACTION: usize = 1000;

/// The broker in one SQLite file.
pub struct EmbeddedBroker {
    path: PathBuf,
    lease: Duration,
    connection: Connection,
    /// Wakes the subscriptions of this process. Those of others look every few milliseconds.
    news: watch::Sender<()>,
}

impl EmbeddedBroker {
    /// Of a file that need not be there yet: `declare` makes it, and the queues. Nothing else does, lest a mistyped path become
    /// an empty queue.
    pub fn open(path: &Path) -> Result<Self, BrokerError> {
        Self::open_with_lease(path, LEASE)
    }

    /// Like `open`, for tests that can't wait for the usual lease to run out.
    pub fn open_with_lease(path: &Path, lease: Duration) -> Result<Self, BrokerError> {
        if path.exists() {
            Store::open(path)?;
        }
        let connection = Connection::new(path.to_owned());
        Ok(Self { path: path.to_owned(), lease, connection, news: watch::Sender::new(()) })
    }

    async fn store(&self, queue: &'static str, mut messages: Vec<Message>) -> Vec<Result<(), BrokerError>> {
        let mut answers = Vec::with_capacity(messages.len());
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(MESSAGES_PER_TRANSACTION));
            let count = messages.len();
            let answer = self.store_some(queue, std::mem::replace(&mut messages, rest)).await;
            // What kept these from being stored would make each further thousand wait as long, in vain.
            let told = if answer.is_ok() { count } else { count + std::mem::take(&mut messages).len() };
            answers.extend(std::iter::repeat_n(answer, told));
        }
        answers
    }

    async fn store_some(&self, queue: &'static str, messages: Vec<Message>) -> Result<(), BrokerError> {
        let insert = move |store: &mut Store| {
            let now = store::now();
            store.write(|file| messages.iter().try_for_each(|message| statements::insert(file, queue, message, now)))
        };
        self.connection.run(insert).await?;
        self.news.send_replace(());
        Ok(())
    }
}

impl Broker for EmbeddedBroker {
    fn place(&self) -> String {
        let whole = self.path.canonicalize().or_else(|_| std::path::absolute(&self.path));
        format!("sqlite:{}", whole.as_deref().unwrap_or(&self.path).display())
    }

    fn declare(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.connection.declare().boxed()
    }

    fn subscribe(&self, queue: Queue, prefetch: u16) -> Subscription {
        subscription::begin(Connection::new(self.path.clone()), queue, prefetch, self.lease, self.news.clone())
    }

    fn enqueue(&self, jobs: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.store(JOBS, jobs).boxed()
    }

    fn deposit(&self, letters: Vec<Message>) -> BoxFuture<'_, Vec<Result<(), BrokerError>>> {
        self.store(DEAD, letters).boxed()
    }

    fn look(&self, queue: Queue) -> BoxFuture<'_, Result<Look, BrokerError>> {
        look::look(self.path.clone(), queue).boxed()
    }

    fn depth(&self, queue: Queue) -> BoxFuture<'_, Result<u64, BrokerError>> {
        self.connection
            .run(move |store| store.read(|connection| statements::depth(connection, &queue.name(), store::now())))
            .boxed()
    }

    fn watch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>> {
        let queue = Queue::Watch(name).name();
        let watch = move |store: &mut Store| {
            let now = store::now();
            store.write(|file| {
                statements::end_unread_watches(file, now - millis(UNWATCHED))?;
                statements::watch(file, &queue, now)
            })
        };
        self.connection.run(watch).boxed()
    }

    fn unwatch(&self, name: WatchName) -> BoxFuture<'_, Result<(), BrokerError>> {
        let queue = Queue::Watch(name).name();
        self.connection.run(move |store| store.write(|file| statements::unwatch(file, &queue))).boxed()
    }

    fn join_fleet(&self) -> Fleet {
        Fleet::begin(|ends| beacons::take_part(Connection::new(self.path.clone()), ends))
    }
}
