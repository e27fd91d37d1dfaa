//! Reads a temporary key out of an answer. STS wraps it (`{"Credentials": {...}}`, Python `provider/oidc.py`); the metadata
//! service and a credentials URI answer with `Code` beside it, which must be `Success` (Python `provider/uri.py`).
//!
//! Nothing of an answer but its code and request id is ever shown: a refused signature quotes the request, token and all.

use jiff::Timestamp;
use serde::Deserialize;

use super::Credential;
use super::http::Answer;
use super::search::Fresh;

/// No `Debug`: it holds secrets.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Session {
    code: Option<String>,
    access_key_id: Option<String>,
    access_key_secret: Option<String>,
    security_token: Option<String>,
    expiration: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wrapped {
    credentials: Session,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Refusal {
    code: String,
    request_id: String,
}

/// An answer of STS.
pub fn wrapped(answer: &Answer, now: Timestamp) -> Result<Fresh, String> {
    granted(answer)?;
    parse::<Wrapped>(&answer.body)?.credentials.fresh(now)
}

/// An answer of the metadata service or a credentials URI.
pub fn successful(answer: &Answer, now: Timestamp) -> Result<Fresh, String> {
    granted(answer)?;
    let session: Session = parse(&answer.body)?;
    match session.code.as_deref() {
        Some("Success") => session.fresh(now),
        Some(code) => Err(format!("the answer's Code is {}", word(code))),
        None => Err("the answer has no Code".to_owned()),
    }
}

fn granted(answer: &Answer) -> Result<(), String> {
    if answer.status == 200 {
        return Ok(());
    }
    let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
    let (code, request) = (word(&refusal.code), word(&refusal.request_id));
    Err(format!("was refused with status {}, code {code}, request {request}", answer.status))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    // The parser's own message may quote what it found.
    serde_json::from_slice(body)
        .map_err(|error| format!("the answer holds no key (line {}, column {})", error.line(), error.column()))
}

/// A code or an id: anything else is none.
fn word(text: &str) -> &str {
    let plain =
        (1..=80).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if plain { text } else { "unknown" }
}

impl Session {
    fn fresh(self, now: Timestamp) -> Result<Fresh, String> {
        let lacking = |name: &str| format!("the answer has no {name}");
        let expiration = self.expiration.ok_or_else(|| lacking("Expiration"))?;
        let expires: Timestamp = expiration.parse().map_err(|_| "the answer's Expiration is no time".to_owned())?;
        let good_for = std::time::Duration::try_from(expires.duration_since(now)).unwrap_or_default();
        if good_for.is_zero() {
            return Err(format!("the answer's key expired at {expires}"));
        }
        let text = |value: Option<String>, name| value.filter(|text| !text.is_empty()).ok_or_else(|| lacking(name));
        Ok(Fresh {
            credential: Credential {
                access_key_id: text(self.access_key_id, "AccessKeyId")?,
                access_key_secret: text(self.access_key_secret, "AccessKeySecret")?.into(),
                security_token: Some(text(self.security_token, "SecurityToken")?.into()),
            },
            good_for: Some(good_for),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: &str =
        r#""AccessKeyId":"id","AccessKeySecret":"hush","SecurityToken":"hush","Expiration":"2030-01-01T01:00:00Z""#;

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    fn answer(status: u16, body: impl Into<Vec<u8>>) -> Answer {
        Answer { status, body: body.into() }
    }

    #[test]
    fn a_key_is_read_with_how_long_it_is_good_for() {
        let plain = successful(&answer(200, format!(r#"{{"Code":"Success",{KEY},"LastUpdated":"x"}}"#)), now());
        let sts = wrapped(&answer(200, format!(r#"{{"RequestId":"r","Credentials":{{{KEY}}}}}"#)), now());
        for fresh in [plain, sts] {
            let fresh = fresh.unwrap_or_else(|problem| panic!("{problem}"));
            assert_eq!(fresh.credential.access_key_id, "id");
            assert_eq!(fresh.good_for, Some(Duration::from_secs(3600)));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason_and_without_what_it_holds() {
        let changed = |from: &str, to: &str| format!(r#"{{"Code":"Success",{}}}"#, KEY.replace(from, to));
        let cases = [
            (200, String::new(), "holds no key"),
            (200, "hush".to_owned(), "holds no key"),
            (200, "[]".to_owned(), "has no Code"),
            (200, "null".to_owned(), "holds no key"),
            (200, format!("{{{KEY}}}"), "has no Code"),
            (200, format!(r#"{{"Code":"Failed",{KEY}}}"#), "Code is Failed"),
            (200, format!(r#"{{"Code":"hush hush",{KEY}}}"#), "Code is unknown"),
            (200, changed("\"AccessKeyId\"", "\"accessKeyId\""), "has no AccessKeyId"),
            (200, changed("\"id\"", "\"\""), "has no AccessKeyId"),
            (200, changed("AccessKeySecret", "Other"), "has no AccessKeySecret"),
            (200, changed("SecurityToken", "Other"), "has no SecurityToken"),
            (200, changed("Expiration", "Other"), "has no Expiration"),
            (200, changed("\"hush\"", "7"), "holds no key"),
            (200, changed("\"hush\"", "null"), "has no AccessKeySecret"),
            (200, changed("\"id\"", "{}"), "holds no key"),
            (200, changed("2030-01-01T01:00:00Z", "hush"), "Expiration is no time"),
            (200, changed("2030-01-01T01:00:00Z", "2030-01-01T00:00:00Z"), "expired at 2030-01-01T00:00:00Z"),
            (200, changed("2030-01-01T01:00:00Z", "1999-01-01T00:00:00Z"), "expired at 1999"),
            (
                403,
                r#"{"Code":"NoPermission","RequestId":"r-1","Message":"hush"}"#.to_owned(),
                "NoPermission, request r-1",
            ),
            (500, "<html>hush</html>".to_owned(), "status 500, code unknown"),
            (302, String::new(), "status 302"),
        ];
        for (status, body, expected) in cases {
            let Err(problem) = successful(&answer(status, body.clone()), now()) else { panic!("{body} was taken") };
            assert!(problem.contains(expected) && !problem.contains("hush"), "{body}: {problem}");
        }
    }

    #[test]
    fn sts_must_wrap_the_key() {
        for body in [format!(r#"{{"Code":"Success",{KEY}}}"#), r#"{"Credentials":null}"#.to_owned(), "{}".to_owned()] {
            assert!(wrapped(&answer(200, body), now()).is_err());
        }
        let Err(problem) = wrapped(&answer(200, r#"{"Credentials":{}}"#), now()) else { panic!("it was taken") };
        assert_eq!(problem, "the answer has no Expiration");
    }
}
