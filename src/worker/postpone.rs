//! From a job that must wait to the remainder that carries it on, and the retry step it waits on. It must not know why the
//! engine let it go.

use jiff::Timestamp;

use super::reply::Held;
use crate::broker::{Destination, Publication};
use crate::config::RetrySettings;
use crate::contract::{Job, Message, Place, Properties, REMAINDER_KIND, Remainder, header};
use crate::engine::PostponedJob;
use crate::ops::events::Postponement;

impl Held {
    /// The message that brings a job back when its wait is over.
    pub fn remainder(
        self,
        job: PostponedJob,
        why: Postponement,
        first_failure: Option<Timestamp>,
        retry: &RetrySettings,
    ) -> Publication {
        let PostponedJob { places, parked, calls, .. } = job;
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
        headers.retain(|name, _| name == header::TRACEPARENT || name == header::REPLAY);
        headers.extend(counts.map(|(name, count)| (name.to_owned(), count)));
        let properties = Properties {
            message_id: Some(self.job.id.as_str().to_owned()),
            kind: Some(REMAINDER_KIND.to_owned()),
            headers,
            ..self.properties
        };
        let remainder = Remainder {
            job: Job { ids, ..self.job },
            result_id: self.result_id,
            received_at: self.received_at,
            postponed_at: Timestamp::now(),
            parked,
            calls,
            first_failure,
            places,
        };
        let after = retry.steps[step(why, attempts, retry)];
        Publication { to: Destination::Retry { after }, message: Message { body: remainder.into_body(), properties } }
    }
}

/// Which step a job waits on. Each round of failed calls in a process leads to the next one; whoever only waits for permits
/// goes to the last, and a stopping worker's jobs to the first.
fn step(why: Postponement, attempts: u32, retry: &RetrySettings) -> usize {
    let last = retry.steps.len().saturating_sub(1);
    match why {
        Postponement::Stopping => 0,
        Postponement::Parked => last,
        Postponement::Failed => {
            let rounds = attempts.saturating_sub(1) / retry.attempts_in_process.max(1);
            usize::try_from(rounds).unwrap_or(last).min(last)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_round_of_failed_calls_waits_longer_and_whoever_waits_for_permits_waits_longest() {
        let retry = RetrySettings::default();
        let steps: Vec<_> = [0, 1, 3, 4, 6, 7, 9, 10, 1000].map(|n| step(Postponement::Failed, n, &retry)).into();
        assert_eq!(steps, [0, 0, 0, 1, 1, 2, 2, 2, 2]);
        assert_eq!(step(Postponement::Parked, 0, &retry), 2);
        assert_eq!(step(Postponement::Stopping, 9, &retry), 0);
    }
}
