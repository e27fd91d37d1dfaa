//! A request as it stands on the wire: its parts, decoded once, and the caller that signed it.

use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use secrecy::ExposeSecret;

use super::answer::Refusal;
use super::nonces::CLOCK_WINDOW;
use super::settings::AccessKey;
use crate::api::signature::{Parameter, SignatureFault, decode, v1, v3};

const ACTION: &str = "ReleaseInstance";
const VERSION: &str = "2017-12-14";

/// What stands on the wire.
pub(super) struct Request<'a> {
    method: &'a str,
    headers: Vec<(&'a str, &'a str)>,
    /// Those of the query, then those of a form body.
    parameters: Vec<Parameter<'a>>,
    in_query: usize,
    body: &'a [u8],
}

/// Who sent a request, known to be true.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller<'a> {
    /// The access key's place in the settings.
    pub account: usize,
    pub nonce: &'a str,
}

impl<'a> Request<'a> {
    pub(super) fn read(head: &'a Parts, body: &'a [u8]) -> Result<Self, Refusal> {
        let headers = head.headers.iter().map(|(name, value)| {
            let value = std::str::from_utf8(value.as_bytes());
            value
                .map(|value| (name.as_str(), value))
                .map_err(|_| Refusal::bad_request("IncompleteSignature", format!("The header {name} is not UTF-8.")))
        });
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        let mut parameters: Vec<_> = decode(head.uri.query().unwrap_or_default().as_bytes()).collect();
        let in_query = parameters.len();
        if is_form(&head.headers) {
            parameters.extend(decode(body));
        }
        Ok(Self { method: head.method.as_str(), headers, parameters, in_query, body })
    }

    pub(super) fn parameters(&self) -> &[Parameter<'a>] {
        &self.parameters
    }

    /// Who sent this, if one of `keys` signed it for the operation that is served here. Without `now`, at any time.
    pub(super) fn caller(&self, keys: &[AccessKey], now: Option<Timestamp>) -> Result<Caller<'_>, Refusal> {
        let key = |id: &str| {
            let found = keys.iter().enumerate().find(|(_, key)| key.id == id);
            found.ok_or_else(|| {
                Refusal::new(StatusCode::NOT_FOUND, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
            })
        };
        let (account, [action, version, nonce, time]) = match self.header("authorization") {
            Some(value) if value.starts_with(v3::ALGORITHM) => {
                let authorization =
                    v3::Authorization::parse(value).ok_or_else(|| incomplete("Authorization can't be read"))?;
                let (account, key) = key(authorization.access_key_id)?;
                let signed = v3::Request {
                    method: self.method,
                    parameters: &self.parameters[..self.in_query],
                    headers: &self.headers,
                    body: self.body,
                };
                signed.verify(&authorization, key.secret.expose_secret())?;
                let names = ["x-acs-action", "x-acs-version", "x-acs-signature-nonce", "x-acs-date"];
                (account, names.map(|name| self.header(name)))
            }
            _ => {
                let id = self.parameter("AccessKeyId").ok_or_else(|| incomplete("the request is not signed"))?;
                let (account, key) = key(id)?;
                v1::verify(self.method, &self.parameters, key.secret.expose_secret())?;
                let names = ["Action", "Version", "SignatureNonce", "Timestamp"];
                (account, names.map(|name| self.parameter(name)))
            }
        };
        check_time(time, now)?;
        let nonce = nonce.filter(|nonce| !nonce.is_empty()).ok_or_else(|| incomplete("there is no nonce"))?;
        if (action, version) != (Some(ACTION), Some(VERSION)) {
            return Err(Refusal::new(
                StatusCode::NOT_FOUND,
                "InvalidApi.NotFound",
                "Specified api is not found, please check your url and method.",
            ));
        }
        Ok(Caller { account, nonce })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_ref())
    }
}

/// The host that the client meant to ask.
pub(super) fn host(headers: &HeaderMap) -> &str {
    headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

/// Times are written `2026-01-31T23:59:59Z`, and must be near ours.
fn check_time(time: Option<&str>, now: Option<Timestamp>) -> Result<(), Refusal> {
    let time = time
        .filter(|text| text.len() == 20 && text.ends_with('Z'))
        .and_then(|text| text.parse::<Timestamp>().ok())
        .ok_or_else(|| {
            Refusal::bad_request("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
        })?;
    match now {
        Some(now) if now.duration_since(time).unsigned_abs() > CLOCK_WINDOW => {
            Err(Refusal::bad_request("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."))
        }
        _ => Ok(()),
    }
}

fn incomplete(what: &str) -> Refusal {
    SignatureFault::Incomplete(what.to_owned()).into()
}

impl From<SignatureFault> for Refusal {
    fn from(fault: SignatureFault) -> Self {
        match fault {
            SignatureFault::Incomplete(_) => Self::bad_request("IncompleteSignature", fault.to_string()),
            SignatureFault::Body | SignatureFault::Mismatch => {
                Self::bad_request("SignatureDoesNotMatch", "Specified signature is not matched with our calculation.")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_good_for_a_quarter_of_an_hour_to_either_side() {
        let code = |time, now: &str| check_time(Some(time), Some(now.parse().unwrap())).err().map(|it| it.code);
        let noon = "2026-01-31T12:00:00Z";
        assert_eq!(code(noon, "2026-01-31T12:15:00Z"), None);
        assert_eq!(code(noon, "2026-01-31T11:45:00Z"), None);
        assert_eq!(code(noon, "2026-01-31T12:15:01Z"), Some("InvalidTimeStamp.Expired"));
        assert_eq!(code(noon, "2026-01-31T11:44:59Z"), Some("InvalidTimeStamp.Expired"));
        for odd in ["", "2026-01-31 12:00:00", "2026-01-31T12:00:00+00", "2026-13-31T12:00:00Z"] {
            assert_eq!(code(odd, noon), Some("InvalidTimeStamp.Format"), "{odd}");
        }
        assert_eq!(check_time(Some("2001-01-31T12:00:00Z"), None), Ok(()));
    }
}
