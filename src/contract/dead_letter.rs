//! A dead letter: what was given up on, with its reason, ready to be sent again.
//!
//! The body is a job itself (or, if it never parsed, the original bytes), so any tool that moves messages can replay it;
//! why it died stands in the headers.

use jiff::Timestamp;

use super::message::header;
use super::{Class, JOBS, MAX_BODY_BYTES, Message, Properties, fingerprint};

/// AMQP's `type` of a dead letter.
pub const KIND: &str = "release.dead.v1";

/// The reason of a letter that no worker wrote: the broker itself moved the message, because the jobs queue's delivery limit
/// was reached. It has no other header of a dead letter than this reason and the last failure's time.
pub const BROKER_DELIVERY_LIMIT: &str = "BrokerDeliveryLimit";

/// Headers must fit into one AMQP frame (128 KiB by default) whatever an API answers.
const MAX_HEADER_CHARS: usize = 1024;

/// Why ids were given up on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DeadReason {
    /// The body is no job.
    Malformed,
    /// The job can't be done as it stands, or with these settings.
    Invalid,
    /// The API refused the ids.
    Rejected,
    /// Retries or the split budget ran out.
    Unresolved,
    /// The job was delivered so often that it may be what stops the workers.
    DeliveredTooOften,
}

impl DeadReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "Malformed",
            Self::Invalid => "Invalid",
            Self::Rejected => "Rejected",
            Self::Unresolved => "Unresolved",
            Self::DeliveredTooOften => "DeliveredTooOften",
        }
    }
}

/// A dead letter before it becomes messages.
#[derive(Debug, Clone)]
pub struct DeadLetter {
    /// A job narrowed to the ids given up on, or the original bytes.
    pub body: Vec<u8>,
    pub reason: DeadReason,
    /// What the API's answer means for a batch; `None` where the reason is our own.
    pub class: Option<Class>,
    pub code: Option<String>,
    pub explanation: String,
    pub request_id: Option<String>,
    /// For the fingerprint; empty if the body never parsed.
    pub product: String,
    pub attempts: u32,
    pub first_failure: Timestamp,
    pub last_failure: Timestamp,
    pub worker: String,
}

impl DeadLetter {
    /// The code, or else the reason: what the letter is told apart by.
    fn code(&self) -> &str {
        self.code.as_deref().unwrap_or(self.reason.as_str())
    }

    /// The same for all letters that differ only in ids, numbers and times.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.code(), &self.product, &self.explanation)
    }

    /// The messages to publish: one, or numbered parts where one would be too large. `original` are the job's properties.
    pub fn into_messages(self, original: &Properties) -> Vec<Message> {
        let mut headers = original.headers.clone();
        headers.retain(|name, _| header::stays_with_the_job(name));
        let mut set = |name: &str, value: &str| {
            headers.insert(name.to_owned(), value.chars().take(MAX_HEADER_CHARS).collect());
        };
        set(header::REASON, self.reason.as_str());
        set(header::CODE, self.code());
        if let Some(class) = self.class {
            set(header::CLASS, class.as_str());
        }
        set(header::EXPLANATION, &self.explanation);
        set(header::FINGERPRINT, &self.fingerprint());
        set(header::ATTEMPTS, &self.attempts.to_string());
        set(header::FIRST_FAILURE, &self.first_failure.to_string());
        set(header::LAST_FAILURE, &self.last_failure.to_string());
        set(header::WORKER, &self.worker);
        set(header::ORIGIN, JOBS);
        if let Some(request_id) = &self.request_id {
            set(header::REQUEST_ID, request_id);
        }
        // Every other body is a job by now, whatever it was, and names its suspects.
        if self.reason == DeadReason::Malformed {
            if let Some(kind) = &original.kind {
                set(header::TYPE, kind);
            }
            if let Some(worn_out) = original.headers.get(header::WORN_OUT) {
                set(header::WORN_OUT, worn_out);
            }
        }
        let properties = Properties {
            message_id: original.message_id.clone(),
            correlation_id: original.correlation_id.clone(),
            reply_to: original.reply_to.clone(),
            kind: Some(KIND.to_owned()),
            timestamp: Some(self.last_failure.as_second().max(0).unsigned_abs()),
            headers,
        };
        if self.body.len() <= MAX_BODY_BYTES {
            return vec![Message { body: self.body, properties }];
        }
        let parts = self.body.chunks(MAX_BODY_BYTES);
        let count = parts.len();
        parts
            .enumerate()
            .map(|(index, part)| {
                let mut properties = properties.clone();
                properties.headers.insert(header::PART.to_owned(), format!("{}/{count}", index + 1));
                Message { body: part.to_vec(), properties }
            })
            .collect()
    }
}

#[cfg(test)]
impl DeadLetter {
    /// Of a body that a worker could not read, for the tests of whoever meets such a letter.
    pub fn malformed(body: Vec<u8>) -> Self {
        Self {
            body,
            reason: DeadReason::Malformed,
            class: None,
            code: None,
            explanation: "too large".to_owned(),
            request_id: None,
            product: String::new(),
            attempts: 0,
            first_failure: Timestamp::UNIX_EPOCH,
            last_failure: Timestamp::UNIX_EPOCH,
            worker: "w".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(bytes: usize) -> DeadLetter {
        let body = (0..bytes).map(|i| i as u8).collect();
        DeadLetter { explanation: "é".repeat(5000), ..DeadLetter::malformed(body) }
    }

    #[test]
    fn a_body_too_large_for_the_broker_travels_in_numbered_parts() {
        let whole = letter(33 * 1024 * 1024);
        let parts = whole.clone().into_messages(&Properties::default());
        assert_eq!(
            parts.iter().map(|p| p.properties.headers[header::PART].as_str()).collect::<Vec<_>>(),
            ["1/3", "2/3", "3/3"]
        );
        assert!(parts.iter().all(|part| part.body.len() <= MAX_BODY_BYTES));
        assert_eq!(parts.into_iter().flat_map(|part| part.body).collect::<Vec<_>>(), whole.body);
    }

    #[test]
    fn a_body_that_is_kept_as_it_came_keeps_its_type_for_a_replay() {
        let original = Properties { kind: Some("release.remainder.v1".to_owned()), ..Properties::default() };
        for (reason, kept) in [(DeadReason::Malformed, Some("release.remainder.v1")), (DeadReason::Unresolved, None)] {
            let messages = DeadLetter { reason, ..letter(10) }.into_messages(&original);
            assert_eq!(messages[0].properties.headers.get(header::TYPE).map(String::as_str), kept);
            assert_eq!(messages[0].properties.kind.as_deref(), Some(KIND));
        }
    }

    #[test]
    fn headers_stay_short_whatever_the_reason_says() {
        let messages = letter(10).into_messages(&Properties::default());
        assert_eq!(messages.len(), 1);
        assert!(messages[0].properties.headers.values().all(|value| value.chars().count() <= MAX_HEADER_CHARS));
    }
}
