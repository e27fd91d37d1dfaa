//! What discard, restore and purge share: choose, show, ask, move. Done twice, none of it does harm, so it needs no plan
//! file: what a crash leaves undone is done by the same command again.

use anyhow::bail;
use futures_util::FutureExt;

use super::choosing::Choosing;
use super::confirm::confirm;
use super::progress::Progress;
use crate::broker::{Broker, Destination, Publication, Queue};
use crate::cli::signals;
use crate::config::Settings;
use crate::contract::Message;
use crate::dead::mover::{Copies, End, Mover, Pace, Unwritten};
use crate::dead::plan::Purpose;

pub struct Moving {
    pub from: Queue,
    /// Nowhere: the letters are gone.
    pub to: Option<Destination>,
    /// What is said of it: `discarded`.
    pub done: &'static str,
}

impl Moving {
    pub async fn run(self, choosing: &Choosing, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let Some(plan) = choosing.plan(broker, self.from.clone(), Purpose::Move).await? else { return Ok(()) };
        let (letters, ids) = (plan.groups.letters, plan.groups.ids);
        say!("{}: {letters} letters with {ids} ids are to be {}", self.from.name(), self.done);
        for group in plan.groups.listed().into_iter().take(20) {
            say!(
                "  {}  {} {}  {} letters, {} ids",
                group.fingerprint,
                group.reason,
                group.code,
                group.letters,
                group.ids
            );
        }
        if !choosing.yes {
            confirm("letters", letters)?;
        }
        let mut stop = signals::stop()?.boxed();
        let copies = plan.letters.iter().map(|(identity, count)| (*identity, Copies::planned(*count))).collect();
        let to = self.to;
        let becomes = |message: &Message| -> Vec<Publication> {
            to.iter().map(|to| Publication { to: to.clone(), message: message.clone() }).collect()
        };
        let mut journal = Unwritten;
        let prefetch = settings.broker.prefetch;
        let mut mover = Mover::new(broker, self.from, prefetch, copies, &becomes, &mut journal, Pace::new(None));
        let mut progress = Progress::new(mover.left());
        let end = mover.run(u64::MAX, &mut stop, &mut |_, _| {}, &mut |moved| progress.show(moved)).await;
        progress.end();
        let (moved, left) = (mover.moved(), mover.left());
        mover.close().await;
        say!("{moved} letters {}", self.done);
        match end? {
            End::Reached => Ok(()),
            End::Missing => bail!("{left} letters were in the queue no more: somebody else took them"),
            End::Stopped => bail!("stopped: {left} letters are left; the same command goes on"),
        }
    }
}
