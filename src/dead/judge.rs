//! Judges a replay by what becomes of its letters: each has a result, or dies again. Pure: it must not know how word comes.
//!
//! Only words of its own letters count, known by their `ResultId`: in an incident others die beside them all the time.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::letter::{Letter, first_kind};
use super::replayed::replays;
use crate::contract::{
    InstanceResult, Job, JobResult, Message, Outcome, REMAINDER_KIND, RESULT_KIND, Remainder, Status, fingerprint,
    result_id,
};

/// Letters of which word is awaited, at most. What is sent beyond them is not judged.
const AWAITED: usize = 10_000;
/// Letters that are judged together, once the first ones are well.
const LAST: usize = 100;
/// So many of them may die again: among very many letters some always do.
const TOLERATED: usize = 10;

/// A letter that died again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Back {
    pub job: String,
    /// Whether of the same thing as before.
    pub same: bool,
    pub fingerprint: String,
    pub code: String,
    pub explanation: String,
}

#[derive(Debug)]
struct Sent {
    job: String,
    product: String,
    /// Of the death that it was replayed for.
    fingerprint: String,
}

#[derive(Debug, Default)]
pub struct Judge {
    awaited: HashMap<Uuid, Sent>,
    /// Of the letters that were heard of last, whether each died again.
    last: VecDeque<bool>,
    tolerated: usize,
    back: Option<Back>,
}

impl Judge {
    /// The first letters are well: from now on a few may die again.
    pub fn tolerate(&mut self) {
        self.last.clear();
        self.tolerated = TOLERATED;
    }

    /// A letter was sent, as this job.
    pub fn sent(&mut self, letter: &Letter, job: &Message) {
        if self.awaited.len() < AWAITED
            && let Some((result_id, parsed)) = named(job)
        {
            let (job, product) = (parsed.id.to_string(), parsed.group.product_code.to_string());
            self.awaited.insert(result_id, Sent { job, product, fingerprint: letter.fingerprint.clone() });
        }
    }

    /// Letters of which there is no word yet.
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// The last letter that died again, if more did than may, and how many did of how many.
    pub fn objection(&self) -> Option<(&Back, usize, usize)> {
        let died = self.last.iter().filter(|died| **died).count();
        self.back.as_ref().filter(|_| died > self.tolerated).map(|back| (back, died, self.last.len()))
    }

    /// Takes a result or a dead letter in.
    pub fn hear(&mut self, message: &Message) {
        let back = if message.properties.kind.as_deref() == Some(RESULT_KIND) {
            let Ok(result) = serde_json::from_slice::<JobResult>(&message.body) else { return };
            let Some(sent) = self.awaited.remove(&result.result_id) else { return };
            died(&result, sent)
        } else {
            // One that a worker could not read, or did not live to answer, has no result; its bytes are those that were sent.
            let Some((result_id, _)) = named(message) else { return };
            let Some(sent) = self.awaited.remove(&result_id) else { return };
            let Letter { fingerprint, code, explanation, .. } = Letter::read(message);
            Some(Back { same: fingerprint == sent.fingerprint, job: sent.job, fingerprint, code, explanation })
        };
        self.last.push_back(back.is_some());
        if self.last.len() > LAST {
            self.last.pop_front();
        }
        self.back = back.or(self.back.take());
    }
}

/// The job that a message asks for or asked for, and the id of its result. `None` if it is none, so that nothing can be heard
/// of it.
fn named(message: &Message) -> Option<(Uuid, Job)> {
    if first_kind(&message.properties) == Some(REMAINDER_KIND) {
        // It goes on under the number that it had.
        let remainder = Remainder::parse(&message.body).ok()?;
        return Some((remainder.result_id, remainder.job));
    }
    let job = Job::parse(&message.body, message.properties.message_id.as_deref()).ok()?;
    Some((result_id(&job.id, &message.body, replays(message)), job))
}

/// What a result says of a death: of the same thing as before, if any of its ids died of that.
fn died(result: &JobResult, sent: Sent) -> Option<Back> {
    let dead = |outcome| result.status == Status::Invalid || matches!(outcome, Outcome::Rejected | Outcome::Unresolved);
    let words = |instance: &InstanceResult| {
        let code = instance.code.clone().unwrap_or_default();
        let explanation = instance.message.clone().unwrap_or_default();
        (fingerprint(&code, &sent.product, &explanation), code, explanation)
    };
    let mut deaths = result.instances.iter().filter(|instance| dead(instance.outcome)).map(words);
    let first = deaths.next()?;
    let same = |(fingerprint, ..): &(String, String, String)| *fingerprint == sent.fingerprint;
    let (fingerprint, code, explanation) =
        if same(&first) { first } else { deaths.find(|death| same(death)).unwrap_or(first) };
    Some(Back { same: fingerprint == sent.fingerprint, job: sent.job, fingerprint, code, explanation })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::contract::{Counts, InstanceId, JobId, Properties, header};
    use crate::dead::letter::tests::dead;
    use crate::dead::replayed::replayed;

    fn send(judge: &mut Judge, job: &str) -> Message {
        let letter = dead(job, &["i-1"], "InvalidOwner", "not yours");
        let message = replayed(&letter, &Letter::read(&letter), None);
        judge.sent(&Letter::read(&letter), &message);
        message
    }

    fn result(of: &Message, outcomes: &[(Outcome, &str)]) -> Message {
        let instances = outcomes.iter().map(|(outcome, code)| InstanceResult {
            instance_id: InstanceId::new("i-1").unwrap(),
            outcome: *outcome,
            code: Some((*code).to_owned()),
            message: Some("not yours".to_owned()),
            request_id: None,
            presumed: false,
        });
        let result = JobResult {
            result_id: named(of).unwrap().0,
            job_id: JobId::new("any").unwrap(),
            status: Status::Failed,
            counts: Counts::default(),
            instances: instances.collect(),
            attempts: 1,
            received_at: Timestamp::UNIX_EPOCH,
            finished_at: Timestamp::UNIX_EPOCH,
            worker: "w".to_owned(),
            labels: Default::default(),
        };
        let properties = Properties { kind: Some(RESULT_KIND.to_owned()), ..Properties::default() };
        Message { body: result.into_body(), properties }
    }

    const WELL: &[(Outcome, &str)] = &[(Outcome::Released, "")];
    const DEAD: &[(Outcome, &str)] = &[(Outcome::Rejected, "InvalidOwner")];

    #[test]
    fn a_letter_is_well_when_its_own_result_says_so() {
        let mut judge = Judge::default();
        let one = send(&mut judge, "a");
        let somebody_elses = send(&mut Judge::default(), "b");
        judge.hear(&result(&somebody_elses, DEAD));
        assert_eq!((judge.awaited(), judge.objection()), (1, None));
        judge.hear(&result(&one, WELL));
        assert_eq!((judge.awaited(), judge.objection()), (0, None));
    }

    #[test]
    fn a_letter_that_dies_again_is_known_by_its_result_or_by_its_bytes() {
        let cases: [(&[(Outcome, &str)], bool); 3] = [
            (DEAD, true),
            (&[(Outcome::Rejected, "Locked")], false),
            (&[(Outcome::Released, ""), (Outcome::Rejected, "Locked"), (Outcome::Rejected, "InvalidOwner")], true),
        ];
        for (outcomes, same) in cases {
            let mut judge = Judge::default();
            let message = send(&mut judge, "a");
            judge.hear(&result(&message, outcomes));
            let (back, died, of) = judge.objection().unwrap();
            assert_eq!((back.job.as_str(), back.same, died, of), ("a", same, 1, 1));
        }

        let mut judge = Judge::default();
        let message = send(&mut judge, "a");
        let mut letter = dead("a", &["i-1"], "Malformed", "too large");
        judge.hear(&letter);
        assert_eq!(judge.objection(), None, "the death that it was replayed for");
        letter.properties.headers.insert(header::REPLAY.to_owned(), replays(&message).to_string());
        judge.hear(&letter);
        assert!(judge.objection().is_some_and(|(back, ..)| !back.same && back.code == "Malformed"));
        judge.hear(&result(&message, DEAD));
        assert_eq!(judge.objection().map(|(_, died, _)| died), Some(1), "one letter dies once");
    }

    #[test]
    fn of_the_first_letters_none_may_die_and_later_more_than_ten_of_a_hundred_stop_the_rest() {
        let mut judge = Judge::default();
        let number = std::cell::Cell::new(0);
        let hear = |judge: &mut Judge, outcomes, times| {
            for _ in 0..times {
                number.set(number.get() + 1);
                let message = send(judge, &number.get().to_string());
                judge.hear(&result(&message, outcomes));
            }
            judge.objection().map(|(_, died, of)| (died, of))
        };
        assert_eq!(hear(&mut judge, WELL, 11), None);
        judge.tolerate();
        assert_eq!(hear(&mut judge, DEAD, 10), None);
        assert_eq!(hear(&mut judge, WELL, 90), None);
        // However many were well before.
        assert_eq!(hear(&mut judge, WELL, 1000), None);
        assert_eq!(hear(&mut judge, DEAD, 10), None);
        assert_eq!(hear(&mut judge, DEAD, 1), Some((11, 100)));
    }

    #[test]
    fn what_is_neither_result_nor_letter_says_nothing_and_what_is_awaited_is_bounded() {
        let mut judge = Judge::default();
        let letter = dead("a", &["i-1"], "c", "e");
        let (mut job, letter) = (replayed(&letter, &Letter::read(&letter), None), Letter::read(&letter));
        for number in 0..AWAITED + 3 {
            job.properties.headers.insert(header::REPLAY.to_owned(), number.to_string());
            judge.sent(&letter, &job);
        }
        assert_eq!(judge.awaited(), AWAITED);
        let properties = Properties { kind: Some(RESULT_KIND.to_owned()), ..Properties::default() };
        for message in [Message { body: b"x".to_vec(), properties }, Message::default()] {
            judge.hear(&message);
        }
        assert_eq!((judge.awaited(), judge.objection()), (AWAITED, None));
    }
}
