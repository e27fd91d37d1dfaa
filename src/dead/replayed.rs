//! The job that a dead letter becomes again: its body byte for byte, without what was written on it when it died, and
//! with a replay number of its own, so that its result is not taken for a repeat of the first one.

use jiff::Timestamp;

use super::letter::{Letter, first_kind};
use crate::contract::{AccountName, DEAD_KIND, JOB_KIND, Job, Message, header};

/// The beginning of the names of our own headers.
const OURS: &str = "bulkrelease-";

/// How often the message was replayed so far.
pub fn replays(message: &Message) -> u32 {
    message.properties.headers.get(header::REPLAY).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// The message that goes to the jobs. With an account, the job's field `Account` is changed and the rest written as it was.
pub fn replayed(message: &Message, letter: &Letter, account: Option<&AccountName>) -> Message {
    let mut properties = message.properties.clone();
    let number = replays(message).saturating_add(1);
    if properties.kind.as_deref() == Some(DEAD_KIND) {
        properties.kind = Some(first_kind(&properties).unwrap_or(JOB_KIND).to_owned());
        properties.headers.retain(|name, _| !name.starts_with(OURS));
    }
    if letter.was_worn_out {
        properties.headers.insert(header::WORN_OUT.to_owned(), true.to_string());
    }
    // Where the broker put it aside, these are all that was written on it.
    properties.headers.retain(|name, _| name != header::REASON && name != header::LAST_FAILURE);
    properties.headers.insert(header::REPLAY.to_owned(), number.to_string());
    properties.timestamp = Some(Timestamp::now().as_second().max(0).unsigned_abs());
    let body = match (account, &letter.job) {
        (Some(account), Ok(job)) => retargeted(job, account),
        _ => message.body.clone(),
    };
    Message { body, properties }
}

/// A letter that comes back from a file. It may have been replayed since it was written there, under any number above its
/// own: it goes on from one that no replay of it can have had. So numbers stay unique, and rise.
pub fn imported(mut letter: Message, now: Timestamp) -> Message {
    let unused = u32::try_from(now.as_second()).unwrap_or(u32::MAX - 1);
    let number = replays(&letter).saturating_add(1).max(unused);
    letter.properties.headers.insert(header::REPLAY.to_owned(), number.to_string());
    letter
}

fn retargeted(job: &Job, account: &AccountName) -> Vec<u8> {
    let mut job = job.clone();
    job.group.account = account.clone();
    job.to_body()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{BROKER_DELIVERY_LIMIT, DeadLetter};
    use crate::dead::letter::tests::dead;
    use crate::dead::record;

    #[test]
    fn a_replay_has_the_same_bytes_a_number_of_its_own_and_no_word_of_its_death() {
        let mut letter = dead("j", &["i-1"], "c", "e");
        letter.properties.headers.insert(header::TRACEPARENT.to_owned(), "00-ab".to_owned());
        letter.properties.correlation_id = Some("order".to_owned());
        let job = replayed(&letter, &Letter::read(&letter), None);
        assert_eq!(job.body, letter.body);
        assert_eq!(job.properties.kind.as_deref(), Some(JOB_KIND));
        assert_eq!(job.properties.message_id.as_deref(), Some("j"));
        assert_eq!(job.properties.correlation_id.as_deref(), Some("order"));
        let headers: Vec<_> =
            job.properties.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(headers, [(header::REPLAY, "1"), (header::TRACEPARENT, "00-ab")]);
        assert_eq!(replays(&replayed(&job, &Letter::read(&job), None)), 2);
    }

    #[test]
    fn what_the_broker_put_aside_keeps_its_kind_and_headers() {
        let mut worn_out = Message { body: b"{}".to_vec(), ..Message::default() };
        worn_out.properties.kind = Some("release.remainder.v1".to_owned());
        for (name, value) in
            [(header::ATTEMPTS, "3"), (header::REASON, BROKER_DELIVERY_LIMIT), (header::LAST_FAILURE, "yesterday")]
        {
            worn_out.properties.headers.insert(name.to_owned(), value.to_owned());
        }
        let again = replayed(&worn_out, &Letter::read(&worn_out), None);
        assert_eq!(again.properties.kind, worn_out.properties.kind);
        let headers: Vec<_> = again.properties.headers.keys().map(String::as_str).collect();
        assert_eq!(headers, [header::ATTEMPTS, header::REPLAY, header::WORN_OUT]);
    }

    #[test]
    fn a_replay_never_forgets_that_a_worker_may_have_begun_these_bytes() {
        let mut worn_out = dead("j", &["i-1"], "c", "e");
        worn_out.properties.kind = Some(JOB_KIND.to_owned());
        worn_out.properties.headers = [(header::REASON.to_owned(), BROKER_DELIVERY_LIMIT.to_owned())].into();
        let again = replayed(&worn_out, &Letter::read(&worn_out), None);
        assert!(again.properties.headers.contains_key(header::WORN_OUT) && again.body == worn_out.body);
        // A worker that could not read them, export and import change nothing of it.
        let unread = DeadLetter::malformed(again.body.clone());
        let unread = unread.into_messages(&again.properties).remove(0);
        let unread = imported(record::read(&record::write(unread).unwrap()).unwrap(), Timestamp::now());
        let third = replayed(&unread, &Letter::read(&unread), None);
        assert!(third.properties.headers.contains_key(header::WORN_OUT) && third.body == worn_out.body);
    }

    #[test]
    fn what_was_no_job_gets_back_the_type_that_it_came_with() {
        for kind in ["release.remainder.v1", "somebody.elses"] {
            let mut letter = dead("j", &["i-1"], "Malformed", "too large");
            letter.properties.headers.insert(header::TYPE.to_owned(), kind.to_owned());
            let again = replayed(&letter, &Letter::read(&letter), None);
            assert_eq!(again.properties.kind.as_deref(), Some(kind));
            assert!(!again.properties.headers.contains_key(header::TYPE) && again.body == letter.body);
        }
    }

    #[test]
    fn no_replay_of_an_imported_letter_has_the_number_of_an_earlier_one() {
        let first = dead("j", &["i-1"], "c", "e");
        let mut numbers = vec![replays(&first)];
        let mut latest = first.clone();
        // Each time it is replayed twice, and then comes back from the file that it was first written to.
        for day in 20_000..20_003 {
            latest = imported(first.clone(), Timestamp::from_second(day * 86_400).unwrap());
            for _ in 0..2 {
                latest = replayed(&latest, &Letter::read(&latest), None);
                numbers.push(replays(&latest));
            }
        }
        assert!(numbers.is_sorted_by(|earlier, later| earlier < later), "{numbers:?}");
        // One that was written late goes on from there.
        assert!(replays(&imported(latest.clone(), Timestamp::UNIX_EPOCH)) > replays(&latest));
    }

    #[test]
    fn another_account_is_all_that_a_retargeted_job_differs_in() {
        let letter = dead("j", &["i-1", "i-2"], "c", "e");
        let account = AccountName::new("vno").unwrap();
        let message = replayed(&letter, &Letter::read(&letter), Some(&account));
        let (before, after) = (Job::parse(&letter.body, None).unwrap(), Job::parse(&message.body, None).unwrap());
        assert_eq!(after.group.account, account);
        let unchanged = Job { group: before.group.clone(), ..after };
        assert_eq!(format!("{unchanged:?}"), format!("{before:?}"));
    }
}
