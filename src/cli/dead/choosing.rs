//! Which letters a verb changes: filters, or the word that all are meant. Nothing is moved because a filter was forgotten.

use std::time::Duration;

use anyhow::bail;

use super::looking::{self, Seen};
use super::unfinished;
use crate::broker::{Broker, Queue};
use crate::config::parse_duration;
use crate::dead::groups::Groups;
use crate::dead::mover::{ALONE, NOT_ALONE};
use crate::dead::plan::{Plan, Purpose};
use crate::dead::selection::Selection;

/// Groups that are listed before the question.
const LISTED: usize = 20;

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

    /// How long to wait for letters that somebody else holds; somebody who died does for half a minute [default: 40s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    wait: Option<Duration>,
}

impl Choosing {
    /// Freezes the set in one look, which may not have shown all.
    pub async fn plan(&self, broker: &dyn Broker, queue: Queue, purpose: Purpose) -> anyhow::Result<(Plan, Seen)> {
        match (self.selection.is_everything(), self.all) {
            (true, false) => bail!("which letters? Name a filter, such as --fingerprint (see --help), or --all"),
            (false, true) => bail!("--all means every letter: leave it out, or the filters"),
            _ => {}
        }
        let mut plan = Plan::new(purpose);
        let seen = looking::each(broker, queue.clone(), &self.selection, |_, letter| {
            plan.add(&letter);
            Ok(())
        })
        .await?;
        if plan.left_out > 0 {
            let left_out = plan.left_out;
            say!("{left_out} chosen letters are no jobs that it could be done to and stay: `show` says more");
        }
        if plan.called > 0 {
            let called = plan.called;
            say!(
                "{called} chosen letters stay: a call for the account that they had may have released ids of theirs, which another \
                 account could not tell. Replay them for their own account first"
            );
        }
        if plan.is_empty() && plan.called > 0 {
            return Err(unfinished::no_match("no other letter is chosen").into());
        }
        if plan.is_empty() {
            return Err(seen.nothing(&queue, &self.selection).into());
        }
        if let Some(gap) = seen.gap() {
            note!("warning: {gap}");
        }
        Ok((plan, seen))
    }

    /// How long to wait for letters that are not in the queue.
    pub fn patience(&self, others: u64) -> Duration {
        match (self.wait, others) {
            (Some(wait), 0) => wait.min(ALONE),
            (None, 0) => ALONE,
            (wait, _) => wait.unwrap_or(NOT_ALONE),
        }
    }
}

/// Lists what was chosen.
pub fn list(groups: &Groups) {
    let listed = groups.listed();
    for group in listed.iter().take(LISTED) {
        let (fingerprint, reason, code) = (&group.fingerprint, &group.reason, &group.code);
        say!("  {fingerprint}  {reason} {code}  {} letters, {} ids", group.letters, group.ids);
    }
    if listed.len() > LISTED {
        say!("  and {} more groups", listed.len() - LISTED);
    }
}
