//! A look into a queue: what is ready there, in its order, none of it taken. It must not know how a broker does that.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::BrokerError;
use crate::contract::Message;

/// Messages that the reader has not taken yet. A few: each may have megabytes.
const AHEAD: usize = 8;
/// How long the end of a look may take: what was looked at must be back in the queue.
const END_TIMEOUT: Duration = Duration::from_secs(60);

/// What is in a queue. Read it to its end, or close it: what was looked at may be out of the queue until then.
pub struct Look {
    /// How many messages were ready at the beginning. As many come, unless somebody else takes some meanwhile.
    pub expected: u64,
    /// How many others consume the queue or hold messages of it, which are then not among those that come.
    pub others: u64,
    messages: mpsc::Receiver<Result<Message, BrokerError>>,
    reading: Option<AbortOnDropHandle<()>>,
}

/// What a look sends its messages to. Full as long as the reader is busy, closed when it has seen enough.
pub(super) type Sink = mpsc::Sender<Result<Message, BrokerError>>;

impl Look {
    /// Starts reading.
    pub(super) fn begin<R>(expected: u64, others: u64, read: impl FnOnce(Sink) -> R) -> Self
    where
        R: Future<Output = ()> + Send + 'static,
    {
        let (sink, messages) = mpsc::channel(AHEAD);
        Self { expected, others, messages, reading: Some(AbortOnDropHandle::new(tokio::spawn(read(sink)))) }
    }

    /// The next message; `None` when there is no further one, and all are where they were.
    pub async fn next(&mut self) -> Option<Result<Message, BrokerError>> {
        let message = self.messages.recv().await;
        if message.is_none() {
            self.end().await;
        }
        message
    }

    /// Sees no more.
    pub async fn close(mut self) {
        self.messages.close();
        self.end().await;
    }

    async fn end(&mut self) {
        let Some(reading) = self.reading.take() else { return };
        match tokio::time::timeout(END_TIMEOUT, reading).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "a look into a queue broke"),
            Err(_) => tracing::warn!("what was looked at takes long to be back in its queue"),
        }
    }
}
