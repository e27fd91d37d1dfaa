//! What to do about what died: a line for each reason, and for what the API refused, for each class of its codes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::letter::{FOREIGN, Letter};
use crate::api::ErrorTable;
use crate::config::ErrorClass;
use crate::contract::{BROKER_DELIVERY_LIMIT, DeadReason};

/// By reason; the first line whose code begins like the letter's counts.
const BY_REASON: [(&str, &str, &str); 11] = [
    ("Malformed", "", "no worker can read it: ask its producer for a correct job, then discard this"),
    ("Invalid", "UnknownAccount", "set accounts.NAME.endpoint in the workers' settings and replay, or retarget"),
    ("Invalid", "TooManyIds", "raise worker.max_ids_per_job and replay, or export it and enqueue smaller jobs"),
    ("Invalid", "", "mend the settings that it names and replay, or discard it and enqueue a correct job"),
    ("DeliveredTooOften", "", "it may crash the workers: read their logs first, then replay one of them"),
    (BROKER_DELIVERY_LIMIT, "", "it may crash the workers: read their logs first, then replay one of them"),
    (FOREIGN, "", "find out who publishes to release.dead; export it if it is worth keeping, then discard it"),
    (
        "Unresolved",
        "Protected",
        "a call may have released the ids before they were protected; no replay calls them: look in the console, then discard it",
    ),
    (
        "Unresolved",
        "NotAfter",
        "a call may have released the ids before their time was over; no replay calls them: look in the console, enqueue what is \
         there and still to go, then discard it",
    ),
    (
        "Unresolved",
        "NeverSettled",
        "permits were too few to find out what calls had released: replay when less is waiting, or set accounts.NAME.read_back",
    ),
    (
        "Unresolved",
        "",
        "look whether the API is well again, then replay: the ids may be released already, which does no harm",
    ),
];

/// Of what no worker could read and this program can.
const READABLE: &str = "this program can read it: raise worker.max_message_bytes or upgrade the workers, then replay";

/// Asked for every letter of a look.
static TABLE: LazyLock<ErrorTable> = LazyLock::new(|| ErrorTable::new(&BTreeMap::new()));

/// Words of `Class` and of `ErrorClass`, which are the same.
fn by_class(class: &str) -> &'static str {
    match class {
        "throttled" => "lower accounts.NAME.calls_per_second, then replay",
        "transient" | "unknown" => "look whether the API is well again, then replay",
        "account" => "mend the account's key, rights or clock, then replay",
        "request" => "the request is wrong for every id: discard it and enqueue a correct job",
        "instance" => {
            "look at the instances in the console: replay when their state is mended, retarget if they are another account's"
        }
        "gone" => "the ids are gone already: discard it",
        _ => "look the code up in the vendor's documentation; add it to accounts.NAME.error_classes, then replay",
    }
}

fn word(class: ErrorClass) -> &'static str {
    match class {
        ErrorClass::Throttled => "throttled",
        ErrorClass::Transient => "transient",
        ErrorClass::Unknown => "unknown",
        ErrorClass::Account => "account",
        ErrorClass::Request => "request",
        ErrorClass::Instance => "instance",
        ErrorClass::Gone => "gone",
    }
}

/// What to do about a letter.
pub fn advice(letter: &Letter) -> &'static str {
    if letter.reason == DeadReason::Malformed.as_str() && letter.job.is_ok() {
        return READABLE;
    }
    by_cause(&letter.reason, &letter.code, letter.class.as_deref())
}

/// Of letters with this reason, code and, where the worker knew it, class.
fn by_cause(reason: &str, code: &str, class: Option<&str>) -> &'static str {
    let listed = BY_REASON.iter().find(|(listed, prefix, _)| *listed == reason && code.starts_with(prefix));
    match listed {
        Some((_, _, line)) => line,
        None => by_class(class.unwrap_or_else(|| TABLE.class(code).map_or("", word))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::header;
    use crate::dead::letter::tests::dead;

    #[test]
    fn every_reason_and_class_has_advice_and_the_code_decides_where_it_says_more() {
        let cases = [
            ("Malformed", "Malformed", "producer"),
            ("Invalid", "UnknownAccount", "endpoint"),
            ("Invalid", "SomethingNew", "settings"),
            ("DeliveredTooOften", "DeliveredTooOften", "logs"),
            (BROKER_DELIVERY_LIMIT, BROKER_DELIVERY_LIMIT, "logs"),
            (FOREIGN, "", "who publishes"),
            ("Unresolved", "InternalError", "well again"),
            ("Unresolved", "Protected", "no replay"),
            ("Unresolved", "NotAfter", "enqueue"),
            ("Unresolved", "NeverSettled", "read_back"),
            ("Rejected", "InvalidOwner", "retarget"),
            ("Rejected", "ProductNotSupported", "correct job"),
            ("Rejected", "NoSuchCode", "error_classes"),
        ];
        for (reason, code, words) in cases {
            let line = by_cause(reason, code, None);
            assert!(line.contains(words), "{reason} {code}: {line}");
        }
        assert!(
            by_cause("Rejected", "InvalidOwner", Some("account")).contains("rights"),
            "the worker knows its own table"
        );
    }

    #[test]
    fn what_a_worker_could_not_read_and_this_program_can_is_not_to_be_discarded() {
        let mut letter = dead("j", &["i-1"], "Malformed", "too large");
        letter.properties.headers.insert(header::REASON.to_owned(), "Malformed".to_owned());
        assert!(advice(&Letter::read(&letter)).contains("max_message_bytes"));
        letter.body = b"garbage".to_vec();
        assert!(advice(&Letter::read(&letter)).contains("producer"));
    }
}
