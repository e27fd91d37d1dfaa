//! Carries out the plan of a replay, in stages, and says how it ended and how to go on.

use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;

use super::looking;
use super::progress::Progress;
use super::replay::Sending;
use super::unfinished;
use crate::broker::{Broker, Destination, Publication, Queue, WatchName};
use crate::cli::signals;
use crate::contract::Message;
use crate::dead::canary::{Canary, Verdict};
use crate::dead::groups::printable;
use crate::dead::journal::Journal;
use crate::dead::letter::Letter;
use crate::dead::mover::{End, Move, Mover, Stop, Unwatched};
use crate::dead::plan_file::{Head, PlanFile, Resumed};
use crate::dead::rate::Rate;
use crate::dead::replayed::replayed;

/// How many letters are sent before each look at what became of them.
const CANARIES: [u64; 2] = [1, 11];

pub struct Carrying<'a> {
    pub broker: &'a dyn Broker,
    pub prefetch: u16,
    pub sending: &'a Sending,
    pub patience: Duration,
}

/// How a replay ended.
enum Outcome {
    Done,
    Ended(End),
    Canary(Verdict),
}

/// What is left of the plan.
struct Rest {
    letters: u64,
    in_doubt: u64,
    /// Whether the queue is known to have let go of all that was sent.
    is_let_go: bool,
}

impl Carrying<'_> {
    pub async fn out(&self, mut file: PlanFile, resumed: Resumed) -> anyhow::Result<()> {
        let Resumed { head, tally, canary_passed } = resumed;
        let mut stop = signals::stop_or_hangup()?.boxed();
        let no_canary = self.sending.no_canary;
        if no_canary && !canary_passed {
            // Whoever goes on with it means it, too.
            file.canary_passed()?;
        }
        let mut canary = if no_canary { None } else { Some(self.watch(&head).await?) };
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
        let path = file.path().display().to_string();
        let mut mover = Mover::new(self.broker, what, tally, &mut file);
        let mut progress = Progress::new(mover.left());
        let stages = Stages { wait: self.sending.canary_wait, are_passed: canary_passed };
        let outcome = stages.run(&mut mover, canary.as_mut(), &mut stop, &mut progress).await;
        progress.end();
        let (moved, again) = (mover.moved(), mover.sent_again());
        let (letters, in_doubt) = (mover.left(), mover.left_in_doubt());
        let rest = Rest { letters, in_doubt, is_let_go: mover.close().await };
        if let Some(canary) = canary
            && let Err(error) = canary.end().await
        {
            note!("warning: the watch {} can't be removed, it goes by itself in a day: {error}", watcher(&head)?);
        }
        say!("{moved} letters are jobs again");
        if again > 0 {
            say!(
                "{again} of them were sent again, since nothing was heard of the first time: where that makes it twice, both results \
                 bear the same ResultId"
            );
        }
        let flag = if no_canary { " --no-canary" } else { "" };
        let on = format!("go on with: bulkrelease dead replay --resume {path}{flag}");
        let outcome = outcome.with_context(|| format!("{} letters are left; {on}", rest.letters))?;
        if self.conclude(outcome, &rest, &on).await? {
            file.remove().with_context(|| format!("{path}: delete it, it is carried out"))?;
        }
        Ok(())
    }

    async fn watch(&self, head: &Head) -> anyhow::Result<Canary<'_>> {
        Canary::begin(self.broker, watcher(head)?).await.context(
            "the canary needs a queue of its own (release.watch.*): give this user the right to configure, read and bind it, \
             or use --no-canary",
        )
    }

    /// Whether the plan is carried out; an error that says how to go on if not.
    async fn conclude(&self, outcome: Outcome, rest: &Rest, on: &str) -> anyhow::Result<bool> {
        let Rest { letters: left, in_doubt, is_let_go } = rest;
        let unfinished = match outcome {
            Outcome::Done if !is_let_go => unfinished::held(format!(
                "all letters are jobs again, but the connection broke before {} was known to let go of the last of them; {on}",
                Queue::Dead.name()
            )),
            Outcome::Done => return Ok(true),
            Outcome::Ended(End::Missing) if looking::others(self.broker, &Queue::Dead).await? > 0 => {
                unfinished::held(format!(
                    "{left} letters are held by another who reads {}, or were moved by it: when it is done, {on}",
                    Queue::Dead.name()
                ))
            }
            Outcome::Ended(End::Missing) if left == in_doubt => {
                say!("{left} letters were in the queue no more: they were moved before an interruption");
                return Ok(true);
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
                unfinished::canary(format!(
                    "stopped by the canary: {died} of the last {of} letters heard of died again, {what}: {} {}: {} (job {}). \
                     {left} letters are left; {how}, then {on} (--no-canary sends the rest whatever happens)",
                    last.fingerprint,
                    last.code,
                    printable(&last.explanation),
                    printable(&last.job)
                ))
            }
            Outcome::Canary(Verdict::Silent(count)) => unfinished::canary(format!(
                "stopped by the canary: no word of {count} letters within {:?}: does a worker run, and is it ready? {left} \
                 letters are left; then {on} (--canary-wait gives it longer)",
                self.sending.canary_wait
            )),
            Outcome::Ended(_) | Outcome::Canary(_) => {
                unfinished::stopped(format!("stopped: {left} letters are left; {on}"))
            }
        };
        Err(unfinished.into())
    }
}

fn watcher(head: &Head) -> anyhow::Result<WatchName> {
    WatchName::new(&format!("replay-{}", head.id)).map_err(anyhow::Error::msg)
}

/// 1, then 10, then the rest.
struct Stages {
    /// For word of the first letters.
    wait: Duration,
    /// Before an interruption.
    are_passed: bool,
}

impl Stages {
    async fn run(
        &self,
        mover: &mut Mover<'_>,
        canary: Option<&mut Canary<'_>>,
        stop: &mut Stop,
        progress: &mut Progress,
    ) -> anyhow::Result<Outcome> {
        let mut show = |moved| progress.show(moved);
        let Some(canary) = canary else {
            return Ok(match mover.run(u64::MAX, stop, &mut Unwatched, &mut show).await? {
                End::Reached => Outcome::Done,
                end => Outcome::Ended(end),
            });
        };
        if !self.are_passed {
            for until in CANARIES {
                match mover.run(until, stop, canary, &mut show).await? {
                    End::Reached | End::Objected => {}
                    end => return Ok(Outcome::Ended(end)),
                }
                match canary.verdict(self.wait, stop).await? {
                    Verdict::Well if mover.is_done() => return Ok(Outcome::Done),
                    Verdict::Well => {}
                    verdict => return Ok(Outcome::Canary(verdict)),
                }
            }
            mover.passed()?;
        }
        canary.tolerate();
        match mover.run(u64::MAX, stop, canary, &mut show).await? {
            End::Reached => Ok(Outcome::Done),
            End::Objected => Ok(Outcome::Canary(canary.verdict(Duration::ZERO, stop).await?)),
            end => Ok(Outcome::Ended(end)),
        }
    }
}
