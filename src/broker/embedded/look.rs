//! A look into a queue: one reading of the file, row by row. It must not know what is done with the messages.

use std::path::PathBuf;

use super::statements;
use super::store::{self, Store};
use crate::broker::{BrokerError, Look, Queue};

/// Reads on a connection of its own: it takes as long as its reader does.
pub async fn look(path: PathBuf, queue: Queue) -> Result<Look, BrokerError> {
    let opening = tokio::task::spawn_blocking(move || {
        let mut store = Store::open(&path)?;
        let name = queue.name();
        // Nobody watched: nothing to see is another thing than seeing nothing.
        if let Queue::Watch(_) = queue
            && !store.write(|file| statements::use_watch(file, &name, store::now()))?
        {
            return Err(BrokerError::Missing { entity: format!("queue {name}") });
        }
        let queue = name;
        // What a process held that is gone stands in its old place again, as the next claim would put it there.
        while store.read(|file| statements::expired_holder(file, &queue, store::now()))?.is_some() {
            store.write(|file| {
                let expired = statements::expired_holder(file, &queue, store::now())?;
                expired.map_or(Ok(()), |session| statements::end_session(file, session))
            })?;
        }
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
            let show = |message| sink.blocking_send(Ok(message)).is_ok();
            store.read(|file| statements::each_ready(file, &queue, show))
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
