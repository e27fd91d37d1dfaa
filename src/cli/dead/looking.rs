//! A look through a queue of letters, and what must be said when it did not show all of them.

use jiff::Timestamp;

use crate::broker::{Broker, Queue};
use crate::contract::Message;
use crate::dead::letter::Letter;
use crate::dead::selection::Selection;

/// What a look saw.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub messages: u64,
    expected: u64,
    others: u64,
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

    pub fn warn(&self) {
        if let Some(gap) = self.gap() {
            eprintln!("warning: {gap}");
        }
    }
}

/// Shows every letter of the selection to `visit`, until it says that it has seen enough.
pub async fn each(
    broker: &dyn Broker,
    queue: Queue,
    selection: &Selection,
    mut visit: impl FnMut(Message, Letter) -> anyhow::Result<bool>,
) -> anyhow::Result<Seen> {
    let now = Timestamp::now();
    let mut look = broker.look(queue).await?;
    let mut seen = Seen { messages: 0, expected: look.expected, others: look.others };
    while let Some(message) = look.next().await {
        let message = message?;
        seen.messages += 1;
        let letter = Letter::read(&message);
        if selection.takes(&letter, now) {
            let outcome = visit(message, letter);
            if !matches!(outcome, Ok(true)) {
                look.close().await;
                seen.expected = seen.messages;
                return outcome.map(|_| seen);
            }
        }
    }
    Ok(seen)
}

/// The queue that a verb looks at.
pub fn queue(archive: bool) -> Queue {
    if archive { Queue::Archive } else { Queue::Dead }
}
