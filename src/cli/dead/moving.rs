//! What discard, restore and purge share: choose, show, ask, move. Done twice, none of it does harm, so it needs no plan
//! file: what a crash leaves undone is done by the same command again.

use super::choosing::{self, Choosing};
use super::confirm::confirm;
use super::looking;
use super::progress::Progress;
use super::stopping;
use super::unfinished;
use crate::broker::{Broker, Destination, Publication, Queue};
use crate::config::Settings;
use crate::contract::Message;
use crate::dead::journal::Unwritten;
use crate::dead::mover::{End, Move, Mover, Unwatched};
use crate::dead::plan::Purpose;
use crate::dead::rate::Rate;

pub struct Moving {
    pub from: Queue,
    /// Nowhere: the letters are gone.
    pub to: Option<Destination>,
    /// What is said of it: `discarded`.
    pub done: &'static str,
}

impl Moving {
    pub async fn run(self, choosing: &Choosing, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let Self { from, to, done } = self;
        let (plan, seen) = choosing.plan(broker, from.clone(), Purpose::Move).await?;
        let (letters, ids) = (plan.groups.letters, plan.groups.ids);
        say!("{}: {letters} letters with {ids} ids are to be {done}", from.name());
        choosing::list(&plan.groups);
        if !choosing.yes {
            confirm("letters", letters)?;
        }
        let mut stop = stopping::stop("the same command goes on")?;
        let becomes = |message: &Message| -> Vec<Publication> {
            to.iter().map(|to| Publication { to: to.clone(), message: message.clone() }).collect()
        };
        let what = Move {
            from: from.clone(),
            prefetch: settings.broker.prefetch,
            becomes: &becomes,
            rate: Rate::new(None),
            patience: choosing.patience(seen.others),
        };
        let mut journal = Unwritten;
        let mut mover = Mover::new(broker, what, plan.tally(), &mut journal);
        let mut progress = Progress::new(mover.left());
        let end = mover.run(u64::MAX, &mut stop, &mut Unwatched, &mut |moved| progress.show(moved)).await;
        progress.end();
        let (moved, left) = (mover.moved(), mover.left());
        let is_let_go = mover.close().await;
        say!("{moved} letters {done}");
        match end? {
            End::Reached if !is_let_go => Err(unfinished::held(format!(
                "the connection broke before {} was known to let go of the last of them: the same command goes on. What it moves \
                 again is then twice where it goes",
                from.name()
            ))
            .into()),
            End::Reached => Ok(seen.whole()?),
            End::Missing if looking::others(broker, &from).await? > 0 => Err(unfinished::held(format!(
                "{left} letters are held by another who reads {}, or were moved by it: the same command goes on when it is done",
                from.name()
            ))
            .into()),
            End::Missing => Err(unfinished::held(format!(
                "{left} letters were in the queue no more: somebody else moved them, or this did before the broker's connection broke"
            ))
            .into()),
            End::Stopped | End::Objected => {
                Err(unfinished::stopped(format!("stopped: {left} letters are left; the same command goes on")).into())
            }
        }
    }
}
