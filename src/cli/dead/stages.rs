//! The stages of a replay: 1 letter, then 10, then the rest, with a look at what becomes of them between.

use std::time::Duration;

use super::progress::Progress;
use crate::dead::canary::{Canary, Verdict};
use crate::dead::mover::{End, Mover, Stop, Unwatched};

/// How many letters are sent before each look at what became of them.
const CANARIES: [u64; 2] = [1, 11];

/// How a replay ended.
pub enum Outcome {
    Done,
    Ended(End),
    Canary(Verdict),
}

pub struct Stages {
    /// For word of the first letters.
    pub wait: Duration,
    /// Before an interruption.
    pub are_passed: bool,
}

impl Stages {
    pub async fn run(
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
            mover.canary_passed(true)?;
        }
        canary.tolerate();
        match mover.run(u64::MAX, stop, canary, &mut show).await? {
            End::Reached => Ok(Outcome::Done),
            End::Objected => {
                let verdict = canary.verdict(Duration::ZERO, stop).await?;
                // Whoever goes on has mended something, and tries that on the first few.
                mover.canary_passed(false)?;
                Ok(Outcome::Canary(verdict))
            }
            end => Ok(Outcome::Ended(end)),
        }
    }
}
