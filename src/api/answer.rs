//! From an HTTP answer, whatever its shape, to the one verdict. It must not know how the answer was fetched.

use std::time::Duration;

use serde_json::{Map, Value};

use super::ErrorTable;
use crate::config::ErrorClass;
use crate::contract::{Class, Evidence, LONGEST_PAUSE, Verdict};

/// What a call came to.
#[derive(Debug, Clone)]
pub struct Answer {
    pub verdict: Verdict,
    /// How long the server wants the account to pause.
    pub pause: Option<Duration>,
}

/// An answer as it came over the wire.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub status: u16,
    /// `x-acs-retry-after`, in milliseconds.
    pub retry_after_milliseconds: Option<&'a str>,
    /// `Retry-After`, in seconds.
    pub retry_after_seconds: Option<&'a str>,
    pub body: &'a [u8],
    /// Whether the body ended as its headers promised.
    pub whole: bool,
}

/// Reads the answer to a release.
pub(super) fn read(raw: Raw<'_>, table: &ErrorTable) -> Answer {
    let pause = pause(raw);
    let Some(envelope) = envelope(raw) else {
        return Answer { verdict: without_envelope(raw), pause };
    };
    let evidence = evidence(&envelope);
    let released = truth(envelope.get("Data").and_then(|data| data.get("ReleaseResult")));
    let verdict = match (succeeded(raw, &envelope), released) {
        // The vendor's own sample pairs an error code with success: the code alone is never trusted.
        (true, Some(true)) => Verdict::of(Class::Released, evidence),
        (true, _) => Verdict::of(Class::Unknown, evidence),
        (false, _) => refused(raw.status, evidence, table, pause.is_some()),
    };
    Answer { verdict, pause }
}

/// The answer as the API's JSON object; `None` if its body is empty, cut short, or something else.
pub(super) fn envelope(raw: Raw<'_>) -> Option<Map<String, Value>> {
    if raw.whole { serde_json::from_slice(raw.body).ok() } else { None }
}

/// Whether the API says, twice, that it did what was asked.
pub(super) fn succeeded(raw: Raw<'_>, envelope: &Map<String, Value>) -> bool {
    raw.status == 200 && truth(envelope.get("Success")) == Some(true)
}

pub(super) fn evidence(envelope: &Map<String, Value>) -> Evidence {
    let field = |name: &str| envelope.get(name).map(text).filter(|text| !text.is_empty());
    Evidence {
        class: None,
        code: field("Code").map(|code| bounded(&code, 128)),
        message: field("Message").map(without_secrets),
        request_id: field("RequestId").map(|id| bounded(&id, 64)),
    }
}

fn truth(value: Option<&Value>) -> Option<bool> {
    value.and_then(Value::as_bool)
}

/// What an answer that is no success means.
pub(super) fn refused(status: u16, evidence: Evidence, table: &ErrorTable, paused: bool) -> Verdict {
    let Some(code) = evidence.code.as_deref() else {
        return without_code(status, evidence);
    };
    let class = match table.class(code) {
        Some(ErrorClass::Unknown) => Class::Unknown,
        Some(ErrorClass::Throttled) => Class::Throttled,
        Some(ErrorClass::Transient) => Class::Transient,
        // Whatever the code, a 5xx doesn't say that nothing was done.
        _ if status >= 500 => Class::Unknown,
        _ if paused => Class::Throttled,
        Some(ErrorClass::Account) => Class::Account,
        Some(ErrorClass::Request) => Class::Request,
        Some(ErrorClass::Instance) => Class::Instance,
        Some(ErrorClass::Gone) => Class::Gone,
        None if matches!(code, "200" | "Success" | "OK") => Class::Unknown,
        None => Class::Unlisted,
    };
    Verdict::of(class, evidence)
}

/// The body is empty, cut short, or no JSON.
pub(super) fn without_envelope(raw: Raw<'_>) -> Verdict {
    let problem = if raw.whole { "its body is not the API's" } else { "its body was cut short" };
    let words = format!("the answer had status {} and {problem}", raw.status);
    let evidence = Evidence::words(&format!("Http{}", raw.status), words);
    if raw.whole { without_code(raw.status, evidence) } else { Verdict::of(Class::Unknown, evidence) }
}

/// The API names a code with every refusal. Where there is none, something else may have answered in its place.
fn without_code(status: u16, evidence: Evidence) -> Verdict {
    let class = match status {
        429 => Class::Throttled,
        // A proxy, a captive portal, a wrong endpoint: nothing that the ids are to blame for, and nothing that releases.
        300..=399 | 401 | 403 | 404 | 405 | 407 | 421 => Class::Account,
        _ => Class::Unknown,
    };
    Verdict::of(class, evidence)
}

/// A refused signature is answered with what the server would have signed: with a temporary credential its token too.
fn without_secrets(mut message: String) -> String {
    let signed = ["server StringToSign", "server CanonicalRequest", "server string to sign"];
    if let Some(end) = signed.iter().filter_map(|words| message.find(words)).min() {
        message.truncate(end);
        message.push_str("(what the server would have signed is left out)");
    }
    message
}

/// Whatever the API writes goes into results, dead letters and logs, for every id of a batch.
fn bounded(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

pub(super) fn pause(raw: Raw<'_>) -> Option<Duration> {
    let number =
        |text: Option<&str>| text.and_then(|text| text.trim().parse::<u64>().ok()).filter(|number| *number > 0);
    let milliseconds = number(raw.retry_after_milliseconds).map(Duration::from_millis);
    let seconds = || number(raw.retry_after_seconds).map(Duration::from_secs);
    milliseconds.or_else(seconds).map(|pause| pause.min(LONGEST_PAUSE))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn class(status: u16, body: &str, whole: bool, retry_after: Option<&str>) -> &'static str {
        let raw = Raw {
            status,
            retry_after_milliseconds: retry_after,
            retry_after_seconds: None,
            body: body.as_bytes(),
            whole,
        };
        read(raw, &ErrorTable::new(&BTreeMap::new())).verdict.class().as_str()
    }

    #[test]
    fn only_an_answer_that_says_so_three_times_is_a_release() {
        let released =
            r#"{"Code":"Invalid_Product_Code","Success":true,"Data":{"ReleaseResult":true},"RequestId":"A"}"#;
        assert_eq!(class(200, released, true, None), "released");
        for (status, body, expected) in [
            (200, r#"{"Code":"Success","Success":true,"Data":{"ReleaseResult":false}}"#, "unknown"),
            (200, r#"{"Code":"Success","Success":true}"#, "unknown"),
            (200, r#"{"Code":"Success","Success":false,"Data":{"ReleaseResult":true}}"#, "unknown"),
            (200, r#"{"Code":"RESOURCE_NOT_FOUND","Success":false}"#, "gone"),
            (200, r#"{"Code":"SYSTEM.CONCURRENT_OPERATE","Success":false}"#, "transient"),
            (200, "{}", "unknown"),
            (200, "", "unknown"),
            (200, "<html>", "unknown"),
            (204, "", "unknown"),
            (400, r#"{"Code":"InvalidOwner","Data":"","Success":"false"}"#, "instance"),
            (200, "[]", "unknown"),
            (302, released, "unknown"),
            (302, "", "account"),
            (400, released, "request"),
        ] {
            assert_ne!(class(status, body, true, None), "released");
            if body != released {
                assert_eq!(class(status, body, true, None), expected, "{status} {body}");
            }
        }
        assert_eq!(class(200, released, false, None), "unknown");
    }

    #[test]
    fn an_error_is_judged_by_its_code_and_then_by_its_status() {
        let body = |code: &str| format!(r#"{{"RequestId":"A","HostId":"h","Code":"{code}","Message":"m"}}"#);
        for (status, code, expected) in [
            (400, "Throttling.User", "throttled"),
            (503, "ServiceUnavailable", "transient"),
            (500, "InternalError", "unknown"),
            (500, "InvalidOwner", "unknown"),
            (400, "InvalidOwner", "instance"),
            (400, "ResourceNotExists", "gone"),
            (404, "InvalidAccessKeyId.NotFound", "account"),
            (404, "InvalidApi.NotFound", "account"),
            (400, "MissingParameter", "request"),
            (400, "Mystery", "unlisted"),
        ] {
            assert_eq!(class(status, &body(code), true, None), expected, "{status} {code}");
        }
        for (status, expected) in
            [(404, "account"), (429, "throttled"), (403, "account"), (502, "unknown"), (400, "unknown")]
        {
            assert_eq!(class(status, "", true, None), expected, "bare {status}");
        }
        assert_eq!(class(400, &body("InvalidOwner"), false, None), "unknown");
    }

    #[test]
    fn what_the_server_would_have_signed_is_never_shown() {
        let body = r#"{"Code":"SignatureDoesNotMatch","Message":"Not matched. server StringToSign is [ACS3] server CanonicalRequest is [x-acs-security-token:SECRET]"}"#;
        let raw = Raw {
            status: 400,
            retry_after_milliseconds: None,
            retry_after_seconds: None,
            body: body.as_bytes(),
            whole: true,
        };
        let answer = read(raw, &ErrorTable::new(&BTreeMap::new()));
        let message = answer.verdict.evidence().message.clone().unwrap();
        assert!(message.starts_with("Not matched.") && !message.contains("SECRET"), "{message}");
    }

    #[test]
    fn a_pause_asked_for_is_kept_within_bounds_and_makes_an_error_a_throttle() {
        let with = |milliseconds: Option<&str>, seconds: Option<&str>| {
            pause(Raw {
                status: 400,
                retry_after_milliseconds: milliseconds,
                retry_after_seconds: seconds,
                body: b"",
                whole: true,
            })
        };
        assert_eq!(with(Some("250"), None), Some(Duration::from_millis(250)));
        assert_eq!(with(None, Some("2")), Some(Duration::from_secs(2)));
        assert_eq!(with(Some("99999999999"), None), Some(LONGEST_PAUSE));
        for junk in ["0", "-5", "soon", "", "1.5"] {
            assert_eq!(with(Some(junk), None), None, "{junk}");
        }
        assert_eq!(class(400, r#"{"Code":"Mystery"}"#, true, Some("100")), "throttled");
        assert_eq!(class(500, r#"{"Code":"Mystery"}"#, true, Some("100")), "unknown");
    }
}
