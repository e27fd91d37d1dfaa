//! Carries out the plan of a replay, in stages, and says how it ended and how to go on.

use std::fmt::Write;
use std::time::Duration;

use anyhow::{Context, anyhow};

use super::looking;
use super::progress::Progress;
use super::replay::Sending;
use super::stages::{Outcome, Stages};
use super::stopping;
use super::unfinished;
use crate::broker::{self, Broker, Destination, Publication, Queue, WatchName, step_name};
use crate::cli::ending::Ending;
use crate::contract::Message;
use crate::dead::canary::{Canary, Verdict};
use crate::dead::groups::printable;
use crate::dead::journal::Journal;
use crate::dead::letter::Letter;
use crate::dead::mover::{End, Move, Mover};
use crate::dead::plan_file::{Head, PlanFile, Resumed};
use crate::dead::rate::Rate;
use crate::dead::replayed::replayed;

pub struct Carrying<'a> {
    pub broker: &'a dyn Broker,
    pub prefetch: u16,
    /// The steps of the retry queues.
    pub steps: &'a [Duration],
    pub sending: &'a Sending,
    pub patience: Duration,
}

/// What is left of the plan.
struct Rest {
    letters: u64,
    in_doubt: u64,
    /// Nothing is left, and nothing that was moved may come back.
    is_done: bool,
    /// Whether the queue is known to have let go of all that was sent.
    is_let_go: bool,
}

impl Rest {
    fn is_carried_out(&self) -> bool {
        self.is_done && self.is_let_go
    }

    fn stopped_by_the_canary(&self, why: &str, how: &str, on: &str) -> Ending {
        let rest = if self.is_carried_out() {
            format!("All letters were sent, and nothing is left to go on with; {how}, and `list` shows what died again")
        } else {
            format!("{} letters are left; {how}, then {on}", self.letters)
        };
        unfinished::canary(format!("stopped by the canary: {why}. {rest}"))
    }
}

impl<'a> Carrying<'a> {
    /// Begins to listen, unless nobody is to. Before there is a plan file: without a watch there is nothing to go on with.
    pub async fn watch(&self, head: &Head) -> anyhow::Result<Option<Canary<'a>>> {
        if self.sending.no_canary {
            return Ok(None);
        }
        let canary = Canary::begin(self.broker, watcher(head)?).await.map_err(|error| {
            anyhow!(
                "the canary can't listen: {error}. It needs the right to configure, write and read release.watch.*; --no-canary \
                 does without. Nothing was sent"
            )
        })?;
        Ok(Some(canary))
    }

    /// Ends what `watch` began.
    pub async fn unwatch(&self, canary: Option<Canary<'_>>, head: &Head) -> anyhow::Result<()> {
        if let Some(canary) = canary
            && let Err(error) = canary.end().await
        {
            note!("warning: the watch {} can't be removed, it goes by itself in a day: {error}", watcher(head)?);
        }
        Ok(())
    }

    pub async fn out(
        &self,
        mut file: PlanFile,
        resumed: Resumed,
        mut canary: Option<Canary<'a>>,
    ) -> anyhow::Result<()> {
        let Resumed { head, tally, canary_passed } = resumed;
        let mut stop = stopping::stop("the replay can be resumed")?;
        if canary.is_none() && !canary_passed {
            // Whoever goes on with it means it, too.
            file.canary_passed(true)?;
        }
        let account = head.account.clone();
        let becomes = |message: &Message| {
            let message = replayed(message, &Letter::read(message), account.as_ref());
            vec![Publication { to: Destination::Jobs, message }]
        };
        let what = Move {
            from: Queue::Dead,
            prefetch: self.prefetch,
            becomes: &becomes,
            rate: Rate::new(self.sending.rate),
            patience: self.patience,
        };
        let on = self.how_to_go_on(&file);
        let mut mover = Mover::new(self.broker, what, tally, &mut file);
        let mut progress = Progress::new(mover.left());
        let stages = Stages { wait: self.sending.canary_wait(), are_passed: canary_passed };
        let outcome = stages.run(&mut mover, canary.as_mut(), &mut stop, &mut progress).await;
        progress.end();
        let (moved, again) = (mover.moved(), mover.sent_again());
        let (letters, in_doubt, is_done) = (mover.left(), mover.left_in_doubt(), mover.is_done());
        let rest = Rest { letters, in_doubt, is_done, is_let_go: mover.close().await };
        self.unwatch(canary, &head).await?;
        say!("{moved} letters are jobs again");
        if again > 0 {
            say!(
                "{again} of them were sent again, since nothing was heard of the first time: where that makes it twice, both results \
                 bear the same ResultId"
            );
        }
        let what_is_left = if rest.is_carried_out() {
            "all letters were sent".to_owned()
        } else {
            format!("{letters} letters are left; {on}")
        };
        let concluded = match outcome {
            Ok(outcome) => self.conclude(outcome, &rest, &on).await,
            Err(error) => Err(error.context(what_is_left)),
        };
        if concluded.is_ok() || rest.is_carried_out() {
            let path = file.path().display().to_string();
            file.remove().with_context(|| format!("{path}: delete it, it is carried out"))?;
        }
        concluded
    }

    /// The command, with what this one was told.
    fn how_to_go_on(&self, file: &PlanFile) -> String {
        let Sending { rate, no_canary, canary_wait, .. } = self.sending;
        let mut on = format!("go on with: bulkrelease dead replay --resume {}", file.path().display());
        if *no_canary {
            on += " --no-canary";
        }
        if let Some(rate) = rate {
            write!(on, " --rate {rate}").ok();
        }
        if let Some(wait) = canary_wait {
            write!(on, " --canary-wait {}", step_name(*wait)).ok();
        }
        on
    }

    /// An error that says how to go on, unless the plan is carried out and all is well.
    async fn conclude(&self, outcome: Outcome, rest: &Rest, on: &str) -> anyhow::Result<()> {
        let Rest { letters: left, in_doubt, is_let_go, .. } = rest;
        let unfinished = match outcome {
            Outcome::Done if !is_let_go => unfinished::held(format!(
                "all letters are jobs again, but the connection broke before {} was known to let go of the last of them; {on}",
                Queue::Dead.name()
            )),
            Outcome::Done => return Ok(()),
            Outcome::Ended(End::Missing) if looking::others(self.broker, &Queue::Dead).await? > 0 => {
                unfinished::held(format!(
                    "{left} letters are held by another who reads {}, or were moved by it: when it is done, {on}",
                    Queue::Dead.name()
                ))
            }
            Outcome::Ended(End::Missing) if left == in_doubt => {
                say!("{left} letters were in the queue no more: they were moved before an interruption");
                return Ok(());
            }
            Outcome::Ended(End::Missing) => {
                let ours = match in_doubt {
                    0 => String::new(),
                    _ => format!(", or {in_doubt} of them this replay before an interruption"),
                };
                unfinished::held(format!(
                    "{left} letters are in the queue no more: somebody else moved them{ours}. Delete the plan file, or {on} if they \
                     come back"
                ))
            }
            Outcome::Canary(Verdict::CameBack { last, died, of }) => {
                let (what, how) = if last.same {
                    ("of the same thing", "mend that")
                } else {
                    ("of something else", "look into that")
                };
                let why = format!(
                    "{died} of the last {of} letters heard of died again, {what}: {} {}: {} (job {})",
                    last.fingerprint,
                    last.code,
                    printable(&last.explanation),
                    printable(&last.job)
                );
                rest.stopped_by_the_canary(&why, how, &format!("{on} (--no-canary sends the rest whatever happens)"))
            }
            Outcome::Canary(Verdict::Silent(count)) => {
                let (wait, cause) = (self.sending.canary_wait(), self.cause_of_silence().await);
                let why = format!("no word of {count} letters within {wait:?}: {cause}");
                rest.stopped_by_the_canary(&why, "look into that", &format!("{on} (--canary-wait gives it longer)"))
            }
            Outcome::Ended(_) | Outcome::Canary(_) if rest.is_carried_out() => {
                say!("stopped when all letters were sent: nothing is left to go on with");
                return Ok(());
            }
            Outcome::Ended(_) | Outcome::Canary(_) => {
                unfinished::stopped(format!("stopped: {left} letters are left; {on}"))
            }
        };
        Err(unfinished.into())
    }

    async fn cause_of_silence(&self) -> String {
        match broker::postponed(self.broker, self.steps).await {
            0 => "does a worker run, and is it ready?".to_owned(),
            jobs => format!("{jobs} jobs wait in retry queues: calls fail or are held; see the workers' logs"),
        }
    }
}

fn watcher(head: &Head) -> anyhow::Result<WatchName> {
    WatchName::new(&format!("replay-{}", head.id)).map_err(anyhow::Error::msg)
}
