//! Results and dead letters, from the watch's own queue, which keeps them.

use anyhow::Context;

use crate::broker::{Broker, Queue, WatchName};
use crate::contract::RESULT_KIND;
use crate::verify::Books;

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
    anyhow::ensure!(
        seen >= look.expected,
        "only {seen} of {} copies could be read ({others} others read them too): try again when nobody else does",
        look.expected
    );
    Ok(())
}
