//! A look through a queue of letters, and what must be said when it did not show all of them.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::sleep;

use super::unfinished;
use crate::broker::{Broker, Queue};
use crate::cli::ending::Ending;
use crate::contract::Message;
use crate::dead::letter::Letter;
use crate::dead::selection::Selection;

/// What a look saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub messages: u64,
    pub others: u64,
    expected: u64,
}

impl Seen {
    /// Why there may be letters that it did not show.
    pub fn gap(&self) -> Option<String> {
        let missed = self.expected.saturating_sub(self.messages);
        match (self.others, missed) {
            (0, 0) => None,
            (0, missed) => Some(format!("{missed} letters were taken by somebody else during the look")),
            (others, _) => Some(format!(
                "{others} others read this queue at the moment: what they hold is not shown. Look again when they are done"
            )),
        }
    }

    /// Whether all letters were shown, for the exit code.
    pub fn whole(&self) -> Result<(), Ending> {
        self.gap().map_or(Ok(()), |gap| Err(unfinished::held(gap)))
    }

    /// Why no letter was chosen.
    pub fn nothing(&self, queue: &Queue, selection: &Selection) -> Ending {
        let queue = queue.name();
        match (self.gap(), self.messages) {
            (Some(gap), _) => unfinished::held(format!("{queue}: no letter to do it with: {gap}")),
            (None, 0) => unfinished::no_match(format!("{queue} is empty")),
            (None, all) if selection.is_everything() => {
                unfinished::no_match(format!("{queue}: {all} messages, none of them a letter to do it with"))
            }
            (None, all) => unfinished::no_match(format!("{queue}: none of its {all} letters matches")),
        }
    }
}

/// Shows every letter of the selection to `visit`.
pub async fn each(
    broker: &dyn Broker,
    queue: Queue,
    selection: &Selection,
    mut visit: impl FnMut(Message, Letter) -> anyhow::Result<()>,
) -> anyhow::Result<Seen> {
    let now = Timestamp::now();
    let mut look = broker.look(queue).await?;
    let mut seen = Seen { messages: 0, expected: look.expected, others: look.others };
    while let Some(message) = look.next().await {
        let message = message?;
        seen.messages += 1;
        let letter = Letter::read(&message);
        if selection.takes(&letter, now)
            && let Err(error) = visit(message, letter)
        {
            look.close().await;
            return Err(error);
        }
    }
    Ok(seen)
}

/// How many others consume a queue, or hold messages of it. A consumer that ended a moment ago is still counted by a broker.
pub async fn others(broker: &dyn Broker, queue: &Queue) -> anyhow::Result<u64> {
    let mut others = 0;
    for _ in 0..5 {
        let look = broker.look(queue.clone()).await?;
        others = look.others;
        look.close().await;
        if others == 0 {
            break;
        }
        sleep(Duration::from_millis(200)).await;
    }
    Ok(others)
}

/// The queue that a verb looks at.
pub fn queue(archive: bool) -> Queue {
    if archive { Queue::Archive } else { Queue::Dead }
}
