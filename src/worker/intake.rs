//! From a delivery to a job that the engine can take, or to the reply that it can't. Nothing here is ever lost: what is not
//! admitted is answered.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::reply::{Earlier, Ended, Ending, Held};
use crate::broker::Delivery;
use crate::config::{SHORTEST_HOLD, WorkerSettings};
use crate::contract::{
    AccountName, DeadReason, Doubt, Evidence, InstanceId, InstanceOutcome, Job, MalformedJob, Message, Open, Outcome,
    Place, REMAINDER_KIND, Remainder, Status, header, result_id,
};
use crate::engine::{Moment, NewJob};
use crate::ops::trace::JobSpan;

/// What becomes of a delivery.
pub enum Intake {
    /// The engine takes it.
    Admitted(Held, NewJob),
    /// It is answered at once.
    Answered(Held, Ending),
    /// Its body is neither a job nor the remainder of one.
    Malformed { message: Message, explanation: String, span: JobSpan },
}

/// Whether an account's calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    Calling,
    /// Calls are held, so jobs may be delivered again and again without being to blame.
    Held,
}

/// The bounds that a job must keep.
pub struct Bounds<'a> {
    pub settings: &'a WorkerSettings,
    /// How a job's account stands, if there is one of that name.
    pub accounts: &'a dyn Fn(&AccountName) -> Option<Standing>,
}

/// When a delivery came, on the wall clock and on the engine's, and until when it is held.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub on: Timestamp,
    pub at: Moment,
    pub held_until: Moment,
}

impl Arrival {
    /// One now. What came together does not go together: otherwise permits would fall due with nothing here to use them.
    pub fn new(at: Moment, max_hold: Duration) -> Self {
        Self {
            on: Timestamp::now(),
            at,
            held_until: at + max_hold.mul_f64(1.0 - fastrand::f64() * (1.0 - SHORTEST_HOLD)),
        }
    }
}

impl Bounds<'_> {
    /// Takes a delivery in.
    pub fn take(&self, delivery: Delivery, arrival: Arrival, span: JobSpan) -> Intake {
        let Delivery { tag, mut message, redelivered, earlier_deliveries } = delivery;
        // Whatever the broker says of this delivery, an earlier one of the same bytes may have been begun.
        let redelivered = redelivered || message.properties.headers.contains_key(header::WORN_OUT);
        let bytes = message.body.len();
        let read = match is_remainder(&message) {
            true => remainder(&message, arrival.on).map_err(|error| error.to_string()),
            false => self.job(&message, arrival.on),
        };
        let work = match read {
            Ok(work) => work,
            Err(explanation) => {
                // Another worker may have read, and begun, what this one can't.
                if redelivered {
                    message.properties.headers.insert(header::WORN_OUT.to_owned(), true.to_string());
                }
                return Intake::Malformed { message, explanation, span };
            }
        };
        let Work { job, result_id, received_at, earlier, places } = work;
        span.is_of(&job.group, places.len());
        let held = Held { tag, job, properties: message.properties, result_id, received_at, earlier, bytes, span };

        let standing = (self.accounts)(&held.job.group.account);
        if let Some((code, problem)) = self.invalid(&held, standing, places.len()) {
            let evidence = Evidence::own(code, problem);
            let dry_run = held.job.dry_run;
            let outcome = |open: &Open| {
                let suspect = !dry_run && (redelivered || open.doubt.is_suspect());
                InstanceOutcome::new(if suspect { Outcome::Unresolved } else { Outcome::Refused }, suspect, &evidence)
            };
            // Of a remainder some ids are done with.
            let status = if held.earlier.began { None } else { Some(Status::Invalid) };
            return Intake::Answered(held, answered(places, DeadReason::Invalid, status, outcome));
        }
        if earlier_deliveries >= self.settings.max_deliveries && standing == Some(Standing::Calling) {
            let problem = format!(
                "the job was delivered {earlier_deliveries} times before (worker.max_deliveries is {}): it may be what stops \
                 the workers, or they were stopped too often to finish it",
                self.settings.max_deliveries
            );
            let evidence = Evidence::own("DeliveredTooOften", problem);
            // Earlier workers may have released any of them.
            let outcome = |_: &Open| InstanceOutcome::new(Outcome::Unresolved, true, &evidence);
            return Intake::Answered(held, answered(places, DeadReason::DeliveredTooOften, None, outcome));
        }
        let expires_at = held.job.not_after.map(|at| arrival.at + between(arrival.on, at));
        let job = NewJob {
            group: Arc::new(held.job.group.clone()),
            places,
            redelivered,
            dry_run: held.job.dry_run,
            priority: held.job.priority,
            first_came: arrival.at.saturating_sub(between(received_at, arrival.on)),
            expires_at,
            held_until: Some(arrival.held_until),
        };
        Intake::Admitted(held, job)
    }

    fn job(&self, message: &Message, now: Timestamp) -> Result<Work, String> {
        let (bytes, most) = (message.body.len(), self.settings.max_message_bytes);
        if bytes > most {
            return Err(format!(
                "the body has {bytes} bytes and worker.max_message_bytes is {most}: split the job into smaller ones"
            ));
        }
        let named = message.properties.message_id.as_deref();
        let mut job = Job::parse(&message.body, named).map_err(|error| error.to_string())?;
        let replay = message.properties.headers.get(header::REPLAY).and_then(|text| text.parse().ok()).unwrap_or(0);
        let result_id = result_id(&job.id, &message.body, replay);
        let suspects = std::mem::take(&mut job.suspects);
        let places = std::mem::take(&mut job.ids).into_iter().map(|id| {
            let doubt = if suspects.contains(&id) { Doubt::Unknown } else { Doubt::None };
            (id, Place::Open(Open { doubt, ..Open::default() }))
        });
        Ok(Work { result_id, received_at: now, earlier: Earlier::default(), places: places.collect(), job })
    }

    /// Why a job can't be done with these settings. A remainder was within their bounds when it was a job.
    fn invalid(&self, held: &Held, standing: Option<Standing>, ids: usize) -> Option<(&'static str, String)> {
        let (account, most) = (&held.job.group.account, self.settings.max_ids_per_job);
        if standing.is_none() {
            let problem = format!(
                "Account: this worker knows no account {account}: set accounts.{account}.endpoint, or correct the job"
            );
            Some(("UnknownAccount", problem))
        } else if ids > most && !held.earlier.began {
            let problem = format!(
                "InstanceIds: {ids} ids are more than worker.max_ids_per_job, {most}: split the job into smaller ones"
            );
            Some(("TooManyIds", problem))
        } else {
            None
        }
    }
}

/// Whether a message says that it is a remainder. Only workers write them; everything else must be a job.
pub fn is_remainder(message: &Message) -> bool {
    message.properties.kind.as_deref() == Some(REMAINDER_KIND)
}

/// A delivery that could be read.
struct Work {
    /// Its ids stand in `places`.
    job: Job,
    result_id: uuid::Uuid,
    received_at: Timestamp,
    earlier: Earlier,
    places: Vec<(InstanceId, Place)>,
}

/// Reads a remainder. Of any size: it is within the broker's bound, and the job was within ours.
fn remainder(message: &Message, now: Timestamp) -> Result<Work, MalformedJob> {
    let Remainder { mut job, result_id, received_at, postponed_at, parked, calls, first_failure, places } =
        Remainder::parse(&message.body)?;
    let waited = if parked { Duration::ZERO } else { between(postponed_at, now) };
    let aged = |place| match place {
        Place::Open(open) => Place::Open(Open { age: open.age.map(|age| age.saturating_add(waited)), ..open }),
        settled @ Place::Settled(_) => settled,
    };
    let places = std::mem::take(&mut job.ids).into_iter().zip(places.into_iter().map(aged)).collect();
    Ok(Work { job, result_id, received_at, earlier: Earlier { began: true, calls, first_failure }, places })
}

/// The time from one moment to a later one; none if it is not later.
pub fn between(earlier: Timestamp, later: Timestamp) -> Duration {
    Duration::try_from(later.duration_since(earlier)).unwrap_or_default()
}

fn answered(
    places: Vec<(InstanceId, Place)>,
    reason: DeadReason,
    status: Option<Status>,
    outcome: impl Fn(&Open) -> InstanceOutcome,
) -> Ending {
    let ended = places.into_iter().map(|(id, place)| match place {
        Place::Open(open) => Ended { id, outcome: outcome(&open), dead: Some(reason) },
        Place::Settled(outcome) => Ended::worked(id, outcome),
    });
    Ending { ended: ended.collect(), status, calls: 0, first_failure: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::DeliveryTag;
    use crate::contract::Properties;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn delivery(body: Vec<u8>, kind: Option<&str>) -> Delivery {
        let properties = Properties { kind: kind.map(str::to_owned), ..Properties::default() };
        Delivery {
            tag: DeliveryTag { session: 1, number: 1 },
            message: Message { body, properties },
            redelivered: false,
            earlier_deliveries: 0,
        }
    }

    fn rest(parked: bool) -> Remainder {
        let body = br#"{"JobId":"j","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]}"#;
        let done = InstanceOutcome::new(Outcome::Released, false, &Evidence::own("Success", "done"));
        let failing = Open { doubt: Doubt::None, attempts: 3, age: Some(Duration::from_secs(5)) };
        Remainder {
            job: Job::parse(body, None).unwrap(),
            result_id: uuid::Uuid::from_u128(7),
            received_at: NOW,
            postponed_at: later(100),
            parked,
            calls: 4,
            first_failure: Some(later(90)),
            places: vec![Place::Settled(done), Place::Open(failing)],
        }
    }

    fn take(delivery: Delivery, standing: Option<Standing>) -> Intake {
        let settings = WorkerSettings { max_message_bytes: 1024, max_ids_per_job: 1, ..WorkerSettings::default() };
        let bounds = Bounds { settings: &settings, accounts: &|_| standing };
        let (at, held_until) = (Duration::from_secs(10), Duration::from_secs(310));
        bounds.take(delivery, Arrival { on: later(160), at, held_until }, JobSpan::default())
    }

    #[test]
    fn a_remainder_goes_on_with_what_it_carries_and_time_parked_does_not_age_it() {
        for (parked, age) in [(false, 65), (true, 5)] {
            let body = rest(parked).into_body();
            let Intake::Admitted(held, job) = take(delivery(body, Some(REMAINDER_KIND)), Some(Standing::Calling))
            else {
                panic!("not admitted");
            };
            assert_eq!((held.result_id.as_u128(), held.received_at), (7, NOW));
            assert_eq!((held.earlier.calls, held.earlier.first_failure), (4, Some(later(90))));
            assert!(matches!(&job.places[0].1, Place::Settled(done) if done.outcome == Outcome::Released));
            let open = Open { doubt: Doubt::None, attempts: 3, age: Some(Duration::from_secs(age)) };
            assert_eq!(job.places[1].1, Place::Open(open));
        }
    }

    #[test]
    fn a_remainder_is_told_by_its_type_alone_and_one_that_can_not_be_read_keeps_its_bytes() {
        let body = rest(true).into_body();
        for (body, kind) in
            [(body.clone(), None), (body, Some("release.job.v1")), (b"{}".to_vec(), Some(REMAINDER_KIND))]
        {
            let taken = take(delivery(body.clone(), kind), Some(Standing::Calling));
            let Intake::Malformed { message, .. } = taken else { panic!("{kind:?} was taken") };
            assert_eq!(message.body, body);
        }
    }

    #[test]
    fn a_replay_of_what_the_broker_put_aside_is_taken_as_delivered_again() {
        let body = br#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#;
        for worn_out in [false, true] {
            let mut again = delivery(body.to_vec(), None);
            if worn_out {
                again.message.properties.headers.insert(header::WORN_OUT.to_owned(), "true".to_owned());
            }
            let Intake::Admitted(_, job) = take(again, Some(Standing::Calling)) else { panic!("not admitted") };
            assert_eq!(job.redelivered, worn_out);
        }
    }

    #[test]
    fn only_the_open_ids_of_a_remainder_that_can_not_go_on_are_given_up_on() {
        let often = Delivery {
            earlier_deliveries: 50,
            redelivered: true,
            ..delivery(rest(true).into_body(), Some(REMAINDER_KIND))
        };
        let lost = delivery(rest(true).into_body(), Some(REMAINDER_KIND));
        // An earlier worker may have known the account.
        let again = Delivery { redelivered: true, ..delivery(rest(true).into_body(), Some(REMAINDER_KIND)) };
        let mut called = rest(true);
        called.places[1] = Place::Open(Open { doubt: Doubt::Refused, ..Open::default() });
        let told = delivery(called.into_body(), Some(REMAINDER_KIND));
        let cases = [
            (often, Some(Standing::Calling), Outcome::Unresolved, DeadReason::DeliveredTooOften),
            (lost, None, Outcome::Refused, DeadReason::Invalid),
            (again, None, Outcome::Unresolved, DeadReason::Invalid),
            (told, None, Outcome::Unresolved, DeadReason::Invalid),
        ];
        for (delivery, standing, outcome, reason) in cases {
            let Intake::Answered(_, ending) = take(delivery, standing) else { panic!("not answered") };
            let ended: Vec<_> = ending.ended.iter().map(|ended| (ended.outcome.outcome, ended.dead)).collect();
            assert_eq!(ended, [(Outcome::Released, None), (outcome, Some(reason))]);
            assert_eq!(ending.status, None);
        }
    }
}
