//! Watches the first letters of a replay: whether each gets a result, or dies again.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::letter::Letter;
use super::mover::Stop;
use super::replayed::replays;
use crate::broker::{Broker, BrokerError, Event, Queue, Settlement, Subscription, WatchName};
use crate::contract::{Job, JobResult, Message, Outcome, RESULT_KIND, Remainder, Status, fingerprint, result_id};

/// How long the last settlements may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A letter that was sent, as its result or its next death will name it.
#[derive(Debug, Clone)]
pub struct Sent {
    job: String,
    replay: u32,
    result_id: Uuid,
    /// Of the death that it was replayed for.
    fingerprint: String,
    product: String,
}

impl Sent {
    /// What went to the jobs, and the letter that it was. `None` if it is no job, so that nothing can be heard of it.
    pub fn new(job: &Message, letter: &Letter) -> Option<Self> {
        let replay = replays(job);
        let (parsed, result_id) = if letter.is_begun {
            // It goes on under the number that it had.
            let remainder = Remainder::parse(&job.body).ok()?;
            (remainder.job, remainder.result_id)
        } else {
            let parsed = Job::parse(&job.body, job.properties.message_id.as_deref()).ok()?;
            let result_id = result_id(&parsed.id, &job.body, replay);
            (parsed, result_id)
        };
        Some(Self {
            result_id,
            product: parsed.group.product_code.to_string(),
            job: parsed.id.to_string(),
            replay,
            fingerprint: letter.fingerprint.clone(),
        })
    }
}

/// What was heard of the letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Each has its result, and none died again.
    Well,
    CameBack {
        job: String,
        /// Whether of the same thing as before.
        same: bool,
        fingerprint: String,
        code: String,
        explanation: String,
    },
    /// No word of so many in time.
    Silent(usize),
    Stopped,
}

/// The watch. It must be ended, whatever its verdict.
pub struct Canary<'a> {
    broker: &'a dyn Broker,
    name: WatchName,
    subscription: Subscription,
    wait: Duration,
}

impl<'a> Canary<'a> {
    /// Begins to watch. What is sent before that may be missed.
    pub async fn begin(broker: &'a dyn Broker, name: WatchName, wait: Duration) -> Result<Self, BrokerError> {
        broker.watch(name.clone()).await?;
        let subscription = broker.subscribe(Queue::Watch(name.clone()), 100);
        Ok(Self { broker, name, subscription, wait })
    }

    /// Waits for word of these letters.
    pub async fn verdict(&mut self, mut sent: Vec<Sent>, stop: &mut Stop) -> Result<Verdict, BrokerError> {
        let deadline = Instant::now() + self.wait;
        while !sent.is_empty() {
            let event = tokio::select! {
                () = &mut *stop => return Ok(Verdict::Stopped),
                event = timeout_at(deadline, self.subscription.events.recv()) => event,
            };
            match event {
                Ok(Some(Event::Delivery(delivery))) => {
                    let back = heard(&delivery.message, &mut sent);
                    self.subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
                    if let Some(back) = back {
                        return Ok(back);
                    }
                }
                Ok(Some(Event::Settled(_) | Event::SessionLost { .. })) => {}
                Ok(None) => return Err(BrokerError::Other("the watch has ended".to_owned())),
                Err(_) => return Ok(Verdict::Silent(sent.len())),
            }
        }
        Ok(Verdict::Well)
    }

    pub async fn end(self) -> Result<(), BrokerError> {
        self.subscription.close(CLOSE_TIMEOUT).await;
        self.broker.unwatch(self.name).await
    }
}

/// Takes a result or a dead letter in; answers if it says that one of those sent died again.
fn heard(message: &Message, sent: &mut Vec<Sent>) -> Option<Verdict> {
    if message.properties.kind.as_deref() == Some(RESULT_KIND) {
        let result: JobResult = serde_json::from_slice(&message.body).ok()?;
        let place = sent.iter().position(|sent| sent.result_id == result.result_id)?;
        return died(&result, &sent.remove(place));
    }
    let letter = Letter::read(message);
    let replay = replays(message);
    let sent = sent.iter().find(|sent| sent.job == letter.job_name && sent.replay == replay)?;
    Some(Verdict::CameBack {
        job: letter.job_name,
        same: letter.fingerprint == sent.fingerprint,
        fingerprint: letter.fingerprint,
        code: letter.code,
        explanation: letter.explanation,
    })
}

/// What a result says of a death whose letter was not heard of, because it was written after the result.
fn died(result: &JobResult, sent: &Sent) -> Option<Verdict> {
    let dead = |outcome| result.status == Status::Invalid || matches!(outcome, Outcome::Rejected | Outcome::Unresolved);
    let instance = result.instances.iter().find(|instance| dead(instance.outcome))?;
    let code = instance.code.clone().unwrap_or_default();
    let explanation = instance.message.clone().unwrap_or_default();
    let fingerprint = fingerprint(&code, &sent.product, &explanation);
    let same = fingerprint == sent.fingerprint;
    Some(Verdict::CameBack { job: sent.job.clone(), same, fingerprint, code, explanation })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::contract::{Counts, InstanceId, InstanceResult, JobId, Properties, header};
    use crate::dead::letter::tests::dead;
    use crate::dead::replayed::replayed;

    fn sent(job: &str) -> (Sent, Message) {
        let letter = dead(job, &["i-1"], "InvalidOwner", "not yours");
        let message = replayed(&letter, &Letter::read(&letter), None);
        (Sent::new(&message, &Letter::read(&letter)).unwrap(), message)
    }

    fn result(sent: &Sent, outcome: Outcome) -> Message {
        let instance = InstanceResult {
            instance_id: InstanceId::new("i-1").unwrap(),
            outcome,
            code: Some("InvalidOwner".to_owned()),
            message: Some("not yours".to_owned()),
            request_id: None,
            presumed: false,
        };
        let result = JobResult {
            result_id: sent.result_id,
            job_id: JobId::new(&sent.job).unwrap(),
            status: Status::Failed,
            counts: Counts::default(),
            instances: vec![instance],
            attempts: 1,
            received_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            worker: "w".to_owned(),
            labels: Default::default(),
        };
        let properties = Properties { kind: Some(RESULT_KIND.to_owned()), ..Properties::default() };
        Message { body: result.into_body(), properties }
    }

    #[test]
    fn a_letter_is_well_when_its_own_result_says_so() {
        let (one, _) = sent("a");
        let (other, _) = sent("b");
        let mut open = vec![one.clone()];
        assert_eq!(heard(&result(&other, Outcome::Rejected), &mut open), None, "somebody else's");
        assert_eq!(open.len(), 1);
        assert_eq!(heard(&result(&one, Outcome::Released), &mut open), None);
        assert!(open.is_empty());
    }

    #[test]
    fn a_letter_that_dies_again_is_known_by_its_dead_letter_or_its_result() {
        let (one, message) = sent("a");
        let back = heard(&result(&one, Outcome::Rejected), &mut vec![one.clone()]);
        assert!(matches!(back, Some(Verdict::CameBack { same: true, .. })), "{back:?}");

        let mut letter = dead("a", &["i-1"], "InvalidOwner", "not yours");
        assert_eq!(heard(&letter, &mut vec![one.clone()]), None, "the death that it was replayed for");
        letter.properties.headers.insert(header::REPLAY.to_owned(), replays(&message).to_string());
        let back = heard(&letter, &mut vec![one.clone()]);
        assert!(matches!(back, Some(Verdict::CameBack { same: true, .. })), "{back:?}");
        let mut other = dead("a", &["i-1"], "Locked", "locked");
        other.properties.headers.insert(header::REPLAY.to_owned(), "1".to_owned());
        let back = heard(&other, &mut vec![one]);
        assert!(matches!(back, Some(Verdict::CameBack { same: false, .. })), "{back:?}");
    }

    #[test]
    fn what_is_neither_result_nor_letter_says_nothing() {
        let (one, _) = sent("a");
        let properties = Properties { kind: Some(RESULT_KIND.to_owned()), ..Properties::default() };
        for message in [Message { body: b"x".to_vec(), properties }, Message::default()] {
            assert_eq!(heard(&message, &mut vec![one.clone()]), None);
        }
    }
}
