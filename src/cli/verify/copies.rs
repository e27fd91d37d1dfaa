//! Results and dead letters, from the watch's own queue, which keeps them.

use anyhow::Context;

use crate::broker::{Broker, Queue, WatchName};
use crate::contract::RESULT_KIND;
use crate::verify::Books;

/// Enters which dead letters wait now, to tell those that were replayed. Not if others hold some: then nobody can see all.
pub async fn enter_waiting(books: &mut Books, broker: &dyn Broker) -> anyhow::Result<()> {
    for queue in [Queue::Dead, Queue::Archive] {
        let name = queue.name();
        let mut look = broker.look(queue).await.with_context(|| format!("a look into {name}"))?;
        let others = look.others;
        let mut seen = 0_u64;
        while let Some(message) = look.next().await {
            seen += 1;
            books.waits(&message?);
        }
        if others > 0 || seen < look.expected {
            note!(
                "not all of {name} can be seen ({others} others read it): replays without an answer can't be told now"
            );
            return Ok(());
        }
    }
    books.no_other_waits();
    Ok(())
}

/// Enters every copy that is there now.
pub async fn enter(books: &mut Books, broker: &dyn Broker, name: WatchName) -> anyhow::Result<()> {
    let begin = || format!("did `bulkrelease verify begin {name}` run before, and was it reported on within a day?");
    let mut look = broker.look(Queue::Watch(name.clone())).await.with_context(begin)?;
    let others = look.others;
    let mut seen = 0_u64;
    while let Some(message) = look.next().await {
        let message = message?;
        seen += 1;
        if message.properties.kind.as_deref() == Some(RESULT_KIND) {
            books.result(serde_json::from_slice(&message.body).context("a result that can't be read")?);
        } else {
            books.dead_letter(&message);
        }
    }
    // What another report holds is not even counted: an empty look would make every job a lost one.
    anyhow::ensure!(
        others == 0 && seen >= look.expected,
        "not all copies could be read, only {seen} ({others} others read them too): try again when nobody else does"
    );
    Ok(())
}
