//! Which letters a verb changes: filters, or the word that all are meant. Nothing is moved because a filter was forgotten.

use anyhow::bail;

use super::looking;
use crate::broker::{Broker, Queue};
use crate::dead::plan::{Plan, Purpose};
use crate::dead::selection::Selection;

#[derive(Debug, clap::Args)]
pub struct Choosing {
    #[command(flatten)]
    pub selection: Selection,

    /// Every letter in the queue
    #[arg(long)]
    pub all: bool,

    /// Don't ask
    #[arg(long)]
    pub yes: bool,
}

impl Choosing {
    /// Freezes the set in one look. `None` where it is empty, which has been said then.
    pub async fn plan(&self, broker: &dyn Broker, queue: Queue, purpose: Purpose) -> anyhow::Result<Option<Plan>> {
        match (self.selection.is_everything(), self.all) {
            (true, false) => bail!("which letters? Name a filter, such as --fingerprint (see --help), or --all"),
            (false, true) => bail!("--all means every letter: leave it out, or the filters"),
            _ => {}
        }
        let mut plan = Plan::new(purpose);
        let seen = looking::each(broker, queue.clone(), &self.selection, |_, letter| {
            plan.add(&letter);
            Ok(true)
        })
        .await?;
        seen.warn();
        if plan.left_out > 0 {
            let left_out = plan.left_out;
            say!("{left_out} chosen letters are no jobs that it could be done to and stay: `show` says more");
        }
        if plan.is_empty() {
            say!("{}: no letter to do anything about", queue.name());
            return Ok(None);
        }
        Ok(Some(plan))
    }
}
