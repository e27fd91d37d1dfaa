//! A look into a queue: one reading of the file, row by row. It must not know what is done with the messages.

use std::path::PathBuf;

use super::statements;
use super::store::{self, Store};
use crate::broker::{BrokerError, Look, Queue};

/// Reads on a connection of its own: it takes as long as its reader does.
pub async fn look(path: PathBuf, queue: Queue) -> Result<Look, BrokerError> {
    let queue = queue.name();
    let opening = tokio::task::spawn_blocking(move || {
        let store = Store::open(&path)?;
        let (expected, others) = store.read(|file| {
            let now = store::now();
            Ok((statements::depth(file, &queue, now)?, statements::holders(file, &queue, now)?))
        })?;
        Ok((store, queue, expected, others))
    });
    let (store, queue, expected, others) = joined(opening.await)?;
    Ok(Look::begin(expected, others, move |sink| async move {
        let failing = sink.clone();
        let reading = tokio::task::spawn_blocking(move || {
            store.read(|file| statements::each_ready(file, &queue, |message| sink.blocking_send(Ok(message)).is_ok()))
        });
        if let Err(error) = joined(reading.await)
            && failing.send(Err(error)).await.is_err()
        {
            tracing::debug!("a look failed that nobody reads any more");
        }
    }))
}

fn joined<T>(outcome: Result<Result<T, BrokerError>, tokio::task::JoinError>) -> Result<T, BrokerError> {
    outcome.unwrap_or_else(|stopped| Err(BrokerError::Other(stopped.to_string())))
}
