//! From a job that must wait to the remainder that carries it on, and the retry step it waits on. When a job must wait is
//! the engine's to say.

use jiff::Timestamp;

use super::reply::Held;
use super::{LATELY, Owed, Worker};
use crate::broker::{Destination, Publication, Subscription};
use crate::config::RetrySettings;
use crate::contract::{InstanceId, Job, Message, Place, Properties, REMAINDER_KIND, Remainder, header};
use crate::engine::{Moment, NewJob};
use crate::ops::events::{self, JobPostponed, Postponement};

/// What a job goes on with that must wait.
pub(super) struct Rest {
    /// In the job's own order; at least one is open.
    places: Vec<(InstanceId, Place)>,
    why: Postponement,
    /// No call spoke of any open id.
    parked: bool,
    /// The most calls that any one id took part in, of this delivery.
    calls: u32,
    first_failure: Option<Timestamp>,
}

impl Worker {
    /// Sends the jobs that the engine let go of to their retry steps: why, if not for what they say themselves.
    pub(super) fn send_on_postponed(&mut self, why: Option<Postponement>, subscription: &Subscription) {
        let mut postponed = Vec::new();
        let now = self.now();
        for (account, lane) in &mut self.lanes {
            let held = lane.held_for(now).map(Postponement::Held);
            postponed.extend(lane.engine.take_postponed().into_iter().map(|job| (account.clone(), job, held)));
        }
        for (account, job, account_held) in postponed {
            let Some(held) = self.jobs.remove(&(account, job.key)) else { continue };
            self.pending_bytes -= held.bytes;
            let why = why.unwrap_or(if job.parked {
                account_held.unwrap_or(Postponement::Parked)
            } else {
                Postponement::Failed
            });
            let first_failure = job.first_failure.map(|at| self.at(at));
            let rest = Rest { places: job.places, why, parked: job.parked, calls: job.calls, first_failure };
            self.send_on(held, rest, subscription);
        }
    }

    /// Sends a job on that only waited for room.
    pub(super) fn park(&mut self, held: Held, job: NewJob, subscription: &Subscription) {
        let lane = self.lanes.get(&held.job.group.account);
        let why = lane.and_then(|lane| lane.held_for(self.now())).map_or(Postponement::Parked, Postponement::Held);
        let rest = Rest { places: job.untouched(), why, parked: true, calls: 0, first_failure: None };
        self.send_on(held, rest, subscription);
    }

    fn send_on(&mut self, mut held: Held, rest: Rest, subscription: &Subscription) {
        self.summary.postponed += 1;
        match rest.why {
            Postponement::Failed => self.postponed_lately.failed += 1,
            Postponement::Parked | Postponement::Held(_) => self.postponed_lately.parked += 1,
            Postponement::Stopping => {}
        }
        JobPostponed { why: rest.why }.emit(&self.metrics);
        held.span.postponed(rest.why.as_str());
        let (tag, span) = (held.tag, std::mem::take(&mut held.span));
        let remainder = held.remainder(rest, &self.settings.retry);
        self.settle(tag, vec![remainder], Owed::Remainder, span, subscription);
    }
}

/// Jobs postponed since the last word about it.
#[derive(Debug, Default)]
pub(super) struct PostponedLately {
    since: Moment,
    failed: u64,
    parked: u64,
}

impl PostponedLately {
    /// Speaks of them now and then.
    pub fn report(&mut self, now: Moment) {
        if now < self.since + LATELY {
            return;
        }
        let Self { failed, parked, .. } = std::mem::replace(self, Self { since: now, ..Self::default() });
        if failed + parked > 0 {
            events::PostponedLately { failed, parked }.emit();
        }
    }
}

impl Held {
    /// The message that brings a job back when its wait is over.
    fn remainder(self, rest: Rest, retry: &RetrySettings) -> Publication {
        let Rest { places, why, parked, calls, first_failure } = rest;
        let (calls, first_failure) = (self.calls_with(calls), self.first_failure_with(first_failure));
        let (ids, places): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let attempts = places.iter().filter_map(Place::open).map(|open| open.attempts).max().unwrap_or_default();
        let open = places.iter().filter(|place| place.open().is_some()).count();
        let counts = [
            (header::ATTEMPTS, attempts.to_string()),
            (header::OPEN, open.to_string()),
            (header::SETTLED, (places.len() - open).to_string()),
        ];
        let mut headers = self.properties.headers;
        headers.retain(|name, _| header::stays_with_the_job(name));
        headers.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        let properties = Properties {
            message_id: Some(self.job.id.as_str().to_owned()),
            kind: Some(REMAINDER_KIND.to_owned()),
            headers,
            ..self.properties
        };
        let postponed_at = Timestamp::now();
        let after = retry.steps[step(why, attempts, retry)];
        let remainder = Remainder {
            job: Job { ids, ..self.job },
            result_id: self.result_id,
            received_at: self.received_at,
            postponed_at,
            parked,
            calls,
            first_failure,
            places,
        };
        Publication { to: Destination::Retry { after }, message: Message { body: remainder.into_body(), properties } }
    }
}

/// Which step a job waits on. Each round of failed calls in a process leads to the next one. Whoever only waits for permits
/// comes back soon, lest they fall due while it is away; whoever waits for its account waits a short time beside the one
/// that it is held already, to come back soon after it is mended. A stopping worker's jobs go to the first.
fn step(why: Postponement, attempts: u32, retry: &RetrySettings) -> usize {
    let last = retry.steps.len().saturating_sub(1);
    match why {
        Postponement::Stopping | Postponement::Parked => 0,
        Postponement::Held(lasting) => retry.steps.iter().rposition(|step| *step <= lasting / 4).unwrap_or(0),
        Postponement::Failed => {
            let rounds = attempts.saturating_sub(1) / retry.attempts_in_process.max(1);
            usize::try_from(rounds).unwrap_or(last).min(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_round_of_failed_calls_waits_longer() {
        let retry = RetrySettings::default();
        let steps: Vec<_> = [0, 1, 3, 4, 6, 7, 9, 10, 1000].map(|n| step(Postponement::Failed, n, &retry)).into();
        assert_eq!(steps, [0, 0, 0, 1, 1, 2, 2, 2, 2]);
        for why in [Postponement::Stopping, Postponement::Parked] {
            assert_eq!(step(why, 9, &retry), 0);
        }
    }

    #[test]
    fn whoever_waits_for_its_account_comes_back_soon_after_it_may_be_mended() {
        let retry = RetrySettings::default();
        let held = |minutes: u64| step(Postponement::Held(Duration::from_secs(60 * minutes)), 0, &retry);
        assert_eq!([0, 1, 3, 4, 39, 40, 9000].map(held), [0, 0, 0, 1, 1, 2, 2]);
    }
}
