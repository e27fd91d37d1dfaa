//! A message of the dead-letter queue, read as what it says of itself: why it died, what it asks for, who it is.

use std::fmt;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::contract::{Job, Message, REMAINDER_KIND, Remainder, fingerprint, header};

/// The reason of what RabbitMQ itself put aside, because the jobs queue's delivery limit was reached.
pub const BROKER_DELIVERY_LIMIT: &str = "BrokerDeliveryLimit";
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
}

impl Letter {
    pub fn read(message: &Message) -> Self {
        let properties = &message.properties;
        let text = |name: &str| properties.headers.get(name).cloned();
        let part = text(header::PART).and_then(|part| {
            let (number, count) = part.split_once('/')?;
            Some((number.parse().ok()?, count.parse().ok()?))
        });
        let is_begun = properties.kind.as_deref() == Some(REMAINDER_KIND);
        let job = match part {
            Some((_, count)) => Err(format!("its body is in {count} parts")),
            None if is_begun => {
                Remainder::parse(&message.body).map(|remainder| remainder.job).map_err(|error| error.to_string())
            }
            None => Job::parse(&message.body, properties.message_id.as_deref()).map_err(|error| error.to_string()),
        };
        let reason = text(header::REASON).unwrap_or_else(|| {
            let worn_out = properties.headers.get(header::LAST_DEATH).is_some_and(|why| why == header::DELIVERY_LIMIT);
            if worn_out { BROKER_DELIVERY_LIMIT.to_owned() } else { FOREIGN.to_owned() }
        });
        let product = job.as_ref().map(|job| job.group.product_code.to_string()).unwrap_or_default();
        let code = text(header::CODE).unwrap_or_else(|| reason.clone());
        let explanation = text(header::EXPLANATION).unwrap_or_else(|| match reason.as_str() {
            BROKER_DELIVERY_LIMIT => {
                "the jobs queue's delivery limit was reached before any worker gave it up".to_owned()
            }
            _ => "it bears no reason: bulkrelease didn't put it here".to_owned(),
        });
        let seconds = properties.timestamp.and_then(|seconds| i64::try_from(seconds).ok());
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
            died_at: text(header::LAST_FAILURE)
                .and_then(|text| text.parse().ok())
                .or_else(|| Timestamp::from_second(seconds?).ok()),
            reason,
            code,
            class: text(header::CLASS),
            product,
            explanation,
            part,
            job,
            is_begun,
        }
    }

    /// How many instance ids it is about; 0 where its body can't be read.
    pub fn ids(&self) -> u64 {
        self.job.as_ref().map_or(0, |job| job.ids.len() as u64)
    }

    /// Whether it counts as a letter: of one in several parts, the first does.
    pub fn is_counted(&self) -> bool {
        self.part.is_none_or(|(number, _)| number == 1)
    }
}

/// Tells letters apart: a digest of the body, the message's id and every header. Two that are the same in all of that are
/// the same letter, stored twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity([u8; 16]);

impl Identity {
    pub fn of(message: &Message) -> Self {
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        add(&message.body);
        add(message.properties.message_id.as_deref().unwrap_or_default().as_bytes());
        for (name, value) in &message.properties.headers {
            add(name.as_bytes());
            add(value.as_bytes());
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
    use super::*;
    use crate::contract::{DeadLetter, DeadReason, Properties};

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
        message.properties.headers.insert(header::LAST_DEATH.to_owned(), header::DELIVERY_LIMIT.to_owned());
        let worn_out = Letter::read(&message);
        assert_eq!((worn_out.reason.as_str(), worn_out.ids()), (BROKER_DELIVERY_LIMIT, 0));
        assert!(worn_out.job.is_err() && worn_out.died_at.is_none());
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
        for other in [dead("k", &["i-1"], "c", "e"), dead("j", &["i-2"], "c", "e"), dead("j", &["i-1"], "c", "f")] {
            assert_ne!(identity, Identity::of(&other));
        }
    }
}
