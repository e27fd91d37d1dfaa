//! What waits in the broker, as far as a worker can tell: the depths of its queues, asked every few seconds, and what jobs
//! were made of lately. It serves the hint alone: no call depends on it.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

use crate::broker::{self, Broker, BrokerError, Queue};
use crate::contract::MAX_IDS_PER_CALL;

/// Between two questions.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// After so many jobs those before count half.
const JOBS: f64 = 1000.0;

/// Jobs that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Queued {
    /// For a worker.
    pub ready: u64,
    /// For the end of their retry step, before they come to be ready.
    pub later: u64,
}

/// The depths of the jobs' queue and of the retry queues.
pub(super) struct Depth<'a> {
    broker: &'a dyn Broker,
    steps: Vec<Duration>,
    asking: Option<BoxFuture<'a, Result<Queued, BrokerError>>>,
    ask_at: Instant,
}

impl<'a> Depth<'a> {
    /// `steps`: how long jobs wait in each retry queue.
    pub fn of(broker: &'a dyn Broker, steps: &[Duration]) -> Self {
        Self { broker, steps: steps.to_vec(), asking: None, ask_at: Instant::now() + ASK_EVERY }
    }

    /// The next answer. Dropped and called again, it goes on where it was.
    pub async fn next(&mut self) -> Queued {
        loop {
            if self.asking.is_none() {
                sleep_until(self.ask_at).await;
            }
            let asking = self.asking.get_or_insert_with(|| ask(self.broker, self.steps.clone()).boxed());
            let answer = asking.await;
            (self.asking, self.ask_at) = (None, Instant::now() + ASK_EVERY);
            match answer {
                Ok(queued) => return queued,
                // The subscription says so where people look.
                Err(error) => tracing::debug!(%error, "the depth of the queues can't be told"),
            }
        }
    }
}

async fn ask(broker: &dyn Broker, steps: Vec<Duration>) -> Result<Queued, BrokerError> {
    let ready = broker.depth(Queue::Jobs).await?;
    Ok(Queued { ready, later: broker::postponed(broker, &steps).await })
}

/// What jobs were made of lately, whoever's they were.
#[derive(Debug, Default)]
pub(super) struct Mix {
    jobs: f64,
}

/// An account's part of it.
#[derive(Debug, Default)]
pub(super) struct Part {
    ids: f64,
}

impl Mix {
    /// A job came. Whether what is known of every account is to be halved.
    pub fn add(&mut self) -> bool {
        self.jobs += 1.0;
        let old = self.jobs >= 2.0 * JOBS;
        if old {
            self.jobs /= 2.0;
        }
        old
    }
}

impl Part {
    pub fn add(&mut self, ids: usize) {
        self.ids += ids as f64;
    }

    pub fn halve(&mut self) {
        self.ids /= 2.0;
    }

    /// The calls that so many jobs are worth for this account, if they are like those before. Where none came yet each may
    /// be one of an id.
    pub fn calls(&self, jobs: u64, mix: &Mix) -> u64 {
        let ids_a_job = if mix.jobs > 0.0 { self.ids / mix.jobs } else { 1.0 };
        (jobs as f64 * ids_a_job / MAX_IDS_PER_CALL as f64).ceil() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_is_taken_for_what_came_lately() {
        let (mut mix, mut few, mut many) = (Mix::default(), Part::default(), Part::default());
        for (jobs, few_ids, many_ids) in [(10_000, 500, 0), (8000, 20, 300)] {
            for job in 0..jobs {
                if mix.add() {
                    few.halve();
                    many.halve();
                }
                if job % 4 == 0 { few.add(few_ids) } else { many.add(many_ids) }
            }
        }
        // Of four jobs three have 300 ids for the one account, and the fourth has 20 for the other.
        let (few, many) = (few.calls(40_000, &mix), many.calls(40_000, &mix));
        assert!((2000..2500).contains(&few) && (88_000..=90_000).contains(&many), "{few} {many}");
        assert_eq!(Part::default().calls(1_000_000, &mix), 0);
        assert_eq!(Part::default().calls(500, &Mix::default()), 5, "nothing is known yet but that something waits");
    }
}
