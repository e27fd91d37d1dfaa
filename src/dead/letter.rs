//! A message of the dead-letter queue, read as what it says of itself: why it died, what it asks for, who it is.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::contract::{
    BROKER_DELIVERY_LIMIT, DEAD_KIND, Job, Message, Properties, REMAINDER_KIND, Remainder, fingerprint, header,
};

/// The reason of what nobody of ours put there.
pub const FOREIGN: &str = "Foreign";

/// A dead letter. What it doesn't say is empty.
#[derive(Debug)]
pub struct Letter {
    pub identity: Identity,
    pub fingerprint: String,
    pub reason: String,
    pub code: String,
    /// What the API's answer meant for its batch, where there was one.
    pub class: Option<String>,
    pub product: String,
    pub explanation: String,
    /// The name of the job.
    pub job_name: String,
    /// When it died.
    pub died_at: Option<Timestamp>,
    /// Which of how many messages it is, where one was too small for the letter.
    pub part: Option<(u32, u32)>,
    /// What it asks for, or why nobody can tell.
    pub job: Result<Job, String>,
    /// Whether the job was begun: its body says what became of some of its ids.
    pub is_begun: bool,
    /// Whether the broker put these bytes aside, now or before an earlier replay: a worker may have begun them.
    pub was_worn_out: bool,
}

impl Letter {
    pub fn read(message: &Message) -> Self {
        let properties = &message.properties;
        let reason = properties.headers.get(header::REASON).cloned().unwrap_or_else(|| FOREIGN.to_owned());
        // What else stands on such a message is of an earlier death.
        let is_worn_out = reason == BROKER_DELIVERY_LIMIT;
        let text = |name: &str| properties.headers.get(name).filter(|_| !is_worn_out).cloned();
        let part = part(properties);
        let is_begun = first_kind(properties) == Some(REMAINDER_KIND);
        let job = match part {
            Some((_, count)) => Err(format!("its body is in {count} parts")),
            None if is_begun => {
                Remainder::parse(&message.body).map(|remainder| remainder.job).map_err(|error| error.to_string())
            }
            None => Job::parse(&message.body, properties.message_id.as_deref()).map_err(|error| error.to_string()),
        };
        let product = job.as_ref().map(|job| job.group.product_code.to_string()).unwrap_or_default();
        let code = text(header::CODE).unwrap_or_else(|| reason.clone());
        let explanation = text(header::EXPLANATION).unwrap_or_else(|| {
            let unsaid = match is_worn_out {
                true => "the jobs queue's delivery limit was reached before any worker gave it up",
                false => "it bears no reason: bulkrelease didn't put it here",
            };
            unsaid.to_owned()
        });
        Self {
            identity: Identity::of(message),
            fingerprint: text(header::FINGERPRINT)
                .filter(|text| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
                .unwrap_or_else(|| fingerprint(&code, &product, &explanation)),
            job_name: match (&job, &properties.message_id) {
                (Ok(job), _) => job.id.to_string(),
                (Err(_), Some(id)) => id.clone(),
                (Err(_), None) => String::new(),
            },
            died_at: died_at(message),
            reason,
            code,
            class: text(header::CLASS),
            product,
            explanation,
            part,
            job,
            is_begun,
            was_worn_out: is_worn_out || properties.headers.contains_key(header::WORN_OUT),
        }
    }

    /// How many instance ids it is about; 0 where its body can't be read.
    pub fn ids(&self) -> u64 {
        self.job.as_ref().map_or(0, |job| job.ids.len() as u64)
    }

    /// Whether a call may have released ids of it that no outcome tells of.
    pub fn may_be_called(&self) -> bool {
        self.was_worn_out || self.job.as_ref().is_ok_and(|job| !job.suspects.is_empty())
    }

    /// Whether it counts as a letter: of one in several parts, the first does.
    pub fn is_counted(&self) -> bool {
        self.part.is_none_or(|(number, _)| number == 1)
    }
}

/// When a letter died, as far as it says; of what is no letter of ours, when it was published.
pub fn died_at(message: &Message) -> Option<Timestamp> {
    let Properties { timestamp, headers, .. } = &message.properties;
    let seconds = timestamp.and_then(|seconds| i64::try_from(seconds).ok());
    let said = headers.get(header::LAST_FAILURE).and_then(|text| text.parse().ok());
    said.or_else(|| Timestamp::from_second(seconds?).ok())
}

/// AMQP's `type` of what died, where it is known.
pub fn first_kind(properties: &Properties) -> Option<&str> {
    match properties.kind.as_deref() {
        Some(DEAD_KIND) => properties.headers.get(header::TYPE).map(String::as_str),
        kind => kind,
    }
}

/// The number of a part, and of how many.
fn part(properties: &Properties) -> Option<(u32, u32)> {
    let (number, count) = properties.headers.get(header::PART)?.split_once('/')?;
    Some((number.parse().ok()?, count.parse().ok()?))
}

/// Tells letters apart: a digest of the body and every property. Two that are the same in all of that are the same letter,
/// stored twice. The parts of one letter are one letter: the digest of each is that of what they have in common, which is
/// everything but the body and the number of the part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 16]);

impl Identity {
    pub fn of(message: &Message) -> Self {
        let mut digest = Sha256::new();
        let mut add = |bytes: Option<&[u8]>| {
            digest.update(bytes.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
            digest.update(bytes.unwrap_or_default());
        };
        let Properties { message_id, correlation_id, reply_to, kind, timestamp, headers } = &message.properties;
        let is_part = part(&message.properties).is_some();
        add((!is_part).then_some(&message.body));
        for text in [message_id, correlation_id, reply_to, kind] {
            add(text.as_deref().map(str::as_bytes));
        }
        add(timestamp.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice));
        for (name, value) in headers.iter().filter(|(name, _)| !is_part || *name != header::PART) {
            add(Some(name.as_bytes()));
            add(Some(value.as_bytes()));
        }
        let mut identity = [0; 16];
        identity.copy_from_slice(&digest.finalize()[..16]);
        Self(identity)
    }

    /// Reads what `Display` wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let mut identity = [0; 16];
        hex::decode_to_slice(text, &mut identity).ok()?;
        Some(Self(identity))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
pub mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::contract::{DeadLetter, DeadReason};

    /// A dead letter as a worker writes it.
    pub fn dead(job: &str, ids: &[&str], code: &str, explanation: &str) -> Message {
        let ids = ids.join(",");
        let letter = DeadLetter {
            body: format!(
                r#"{{"JobId":"{job}","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":"{ids}","Labels":{{"team":"x"}}}}"#
            )
            .into_bytes(),
            reason: DeadReason::Rejected,
            class: None,
            code: Some(code.to_owned()),
            explanation: explanation.to_owned(),
            request_id: None,
            product: "ecs".to_owned(),
            attempts: 1,
            first_failure: Timestamp::UNIX_EPOCH,
            last_failure: Timestamp::from_second(60).unwrap(),
            worker: "w".to_owned(),
        };
        letter.into_messages(&Properties { message_id: Some(job.to_owned()), ..Properties::default() }).remove(0)
    }

    #[test]
    fn a_letter_says_why_it_died_and_what_it_asks_for() {
        let letter = Letter::read(&dead("j", &["i-1", "i-2"], "InvalidOwner", "i-1 is not yours"));
        assert_eq!((letter.reason.as_str(), letter.code.as_str(), letter.ids()), ("Rejected", "InvalidOwner", 2));
        assert_eq!((letter.job_name.as_str(), letter.product.as_str()), ("j", "ecs"));
        assert_eq!(letter.died_at, Some(Timestamp::from_second(60).unwrap()));
        assert_eq!(letter.fingerprint, fingerprint("InvalidOwner", "ecs", "i-1 is not yours"));
    }

    #[test]
    fn what_the_broker_or_a_stranger_put_there_is_told_apart() {
        let mut message = Message { body: b"garbage".to_vec(), ..Message::default() };
        assert_eq!(Letter::read(&message).reason, FOREIGN);
        message.properties.headers.insert(header::REASON.to_owned(), BROKER_DELIVERY_LIMIT.to_owned());
        message.properties.headers.insert(header::LAST_FAILURE.to_owned(), "1970-01-01T00:01:00Z".to_owned());
        let worn_out = Letter::read(&message);
        assert_eq!((worn_out.reason.as_str(), worn_out.ids()), (BROKER_DELIVERY_LIMIT, 0));
        assert!(worn_out.job.is_err() && worn_out.died_at == Some(Timestamp::from_second(60).unwrap()));

        let mut again = dead("j", &["i-1"], "InvalidOwner", "i-1 is not yours");
        again.properties.headers.insert(header::REASON.to_owned(), BROKER_DELIVERY_LIMIT.to_owned());
        let again = Letter::read(&again);
        assert_eq!(again.code, BROKER_DELIVERY_LIMIT, "what it died of before is no more true");
        assert_ne!(again.fingerprint, fingerprint("InvalidOwner", "ecs", "i-1 is not yours"));
    }

    #[test]
    fn a_body_that_was_kept_as_it_came_is_read_as_what_it_was() {
        let mut letter = dead("j", &["i-1"], "c", "e");
        assert!(!Letter::read(&letter).is_begun);
        letter.properties.headers.insert(header::TYPE.to_owned(), REMAINDER_KIND.to_owned());
        let letter = Letter::read(&letter);
        assert!(letter.is_begun && letter.job.is_err(), "a job is no remainder");
    }

    #[test]
    fn of_a_letter_in_parts_one_is_counted_and_none_is_a_job() {
        let letters: Vec<Letter> = ["1/2", "2/2", "x", "0"]
            .iter()
            .map(|part| {
                let mut message = dead("j", &["i-1"], "c", "e");
                message.properties.headers.insert(header::PART.to_owned(), (*part).to_owned());
                Letter::read(&message)
            })
            .collect();
        let counted: Vec<bool> = letters.iter().map(Letter::is_counted).collect();
        assert_eq!(counted, [true, false, true, true]);
        let readable: Vec<bool> = letters.iter().map(|letter| letter.job.is_ok()).collect();
        assert_eq!(readable, [false, false, true, true]);
    }

    #[test]
    fn letters_that_differ_in_anything_have_different_identities() {
        let one = dead("j", &["i-1"], "c", "e");
        let identity = Identity::of(&one);
        assert_eq!(identity, Identity::of(&one.clone()));
        assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        assert_eq!(Identity::parse("xy"), None);
        let mut others =
            vec![dead("k", &["i-1"], "c", "e"), dead("j", &["i-2"], "c", "e"), dead("j", &["i-1"], "c", "f")];
        let changes: [fn(&mut Properties); 7] = [
            |properties| properties.correlation_id = Some("c".to_owned()),
            |properties| properties.reply_to = Some("c".to_owned()),
            |properties| properties.reply_to = Some(String::new()),
            |properties| properties.kind = None,
            |properties| properties.timestamp = Some(61),
            |properties| properties.timestamp = None,
            |properties| properties.message_id = None,
        ];
        others.extend(changes.map(|change| {
            let mut other = one.clone();
            change(&mut other.properties);
            other
        }));
        let identities: HashSet<Identity> = others.iter().map(Identity::of).collect();
        assert!(identities.len() == others.len() && !identities.contains(&identity), "{identities:?}");
    }

    #[test]
    fn the_parts_of_a_letter_are_one_letter_and_those_of_another_are_not() {
        let part = |number: u32, job: &str| {
            let mut part = dead(job, &["i-1"], "c", "e");
            part.properties.headers.insert(header::PART.to_owned(), format!("{number}/3"));
            part.body.extend(number.to_be_bytes());
            Identity::of(&part)
        };
        assert_eq!((part(1, "j"), part(1, "j")), (part(2, "j"), part(3, "j")));
        assert_ne!(part(1, "j"), part(1, "k"));
    }
}
