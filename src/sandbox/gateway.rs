//! The gateway's checks of a request, before any operation sees it, in its order (judged): what is asked for, whose key it
//! is, its token, its signature, its time. The nonce comes last, and is the caller's to check: it needs a memory.

use std::time::Duration;

use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use secrecy::ExposeSecret;

use super::accounts::{AccessKey, Keys};
use super::call::Action;
use super::nonces::CLOCK_WINDOW;
use super::refusal::Refusal;
use super::request::Request;
use crate::api::signature::{SignatureFault, v1, v3};

const VERSION: &str = "2017-12-14";

/// The longest nonce that is remembered. Those of the SDKs have 32 to 45 characters.
const MAX_NONCE_CHARACTERS: usize = 128;

/// How times are written.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%SZ";

/// Who sent a request, known to be true, and what for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Caller<'a> {
    /// The access key's place among all.
    pub key: usize,
    pub action: Action,
    pub nonce: &'a str,
}

/// When a request is checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// `None` takes requests of any time.
    pub now: Option<Timestamp>,
    /// How long the sandbox has run, for tokens that expire.
    pub running: Duration,
}

/// The two ways of signing: where each puts what.
enum Scheme<'a> {
    Acs3(v3::Authorization<'a>),
    Rpc,
}

/// Who sent this, if one of `keys` signed it for an operation that is served here.
pub(super) fn admit<'a>(request: &'a Request<'_>, keys: &Keys, moment: Moment) -> Result<Caller<'a>, Refusal> {
    let scheme = Scheme::of(request)?;
    let part = |header, parameter| match scheme {
        Scheme::Acs3(_) => request.header(header),
        Scheme::Rpc => request.parameter(parameter),
    };
    let action = part("x-acs-action", "Action").ok_or_else(|| Refusal::missing("Action"))?;
    let version = part("x-acs-version", "Version").ok_or_else(|| Refusal::missing("Version"))?;
    let action = operation(action, version, request.parameter("Format"))?;

    let id = match scheme {
        Scheme::Acs3(authorization) => authorization.access_key_id,
        Scheme::Rpc => request.parameter("AccessKeyId").ok_or_else(|| Refusal::missing("AccessKeyId"))?,
    };
    let key = keys.find(id).ok_or_else(|| {
        Refusal::new(StatusCode::NOT_FOUND, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
    })?;
    let credential = &keys.get(key).settings;
    if !credential.active {
        return Err(Refusal::inactive_key());
    }
    check_token(part("x-acs-security-token", "SecurityToken"), credential, keys, moment.running)?;

    let secret = credential.secret.expose_secret();
    match scheme {
        Scheme::Acs3(authorization) => {
            // Who could change what the body is read as could change the call.
            if request.has_form() && !authorization.covers("content-type") {
                let problem = "the header content-type is not signed, and the body is a form".to_owned();
                return Err(SignatureFault::Incomplete(problem).into());
            }
            request.signed().verify(&authorization, secret)?;
        }
        Scheme::Rpc => v1::verify(request.method, &request.parameters, secret).map_err(|fault| match fault {
            SignatureFault::Mismatch => mismatch(&v1::string_to_sign(request.method, &request.parameters)),
            other => other.into(),
        })?,
    }
    check_time(part("x-acs-date", "Timestamp"), moment.now)?;
    let nonce = part("x-acs-signature-nonce", "SignatureNonce")
        .ok_or_else(|| Refusal::from(SignatureFault::Incomplete("there is no nonce".to_owned())))?;
    if nonce.chars().count() > MAX_NONCE_CHARACTERS {
        return Err(Refusal::invalid("SignatureNonce"));
    }
    Ok(Caller { key, action, nonce })
}

impl<'a> Scheme<'a> {
    fn of(request: &'a Request<'_>) -> Result<Self, Refusal> {
        match request.header("authorization") {
            Some(value) if value.starts_with(v3::ALGORITHM) => {
                let unreadable = || SignatureFault::Incomplete("Authorization can't be read".to_owned());
                Ok(Self::Acs3(v3::Authorization::parse(value).ok_or_else(unreadable)?))
            }
            _ => Ok(Self::Rpc),
        }
    }
}

/// `InvalidVersion` and its wording were seen from the real gateway. Answers are JSON only: the real gateway speaks XML as
/// well, and to older clients that name no `Format` by default.
fn operation(action: &str, version: &str, format: Option<&str>) -> Result<Action, Refusal> {
    if version != VERSION {
        return Err(Refusal::bad_request("InvalidVersion", "Specified parameter Version is not valid."));
    }
    let action = Action::named(action).ok_or_else(Refusal::no_such_api)?;
    match format {
        Some(format) if !format.eq_ignore_ascii_case("JSON") => Err(Refusal::bad_request(
            "InvalidFormat",
            "Specified parameter Format is not valid: only JSON is supported.",
        )),
        _ => Ok(action),
    }
}

/// A temporary credential must come with its token, and no other with any.
fn check_token(token: Option<&str>, key: &AccessKey, keys: &Keys, running: Duration) -> Result<(), Refusal> {
    let refused = |code, message| Err(Refusal::bad_request(code, message));
    match (token, &key.security_token) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Refusal::missing("SecurityToken")),
        (Some(token), Some(own)) if own.expose_secret() == token => match key.expires_after {
            Some(expires_after) if running >= expires_after => Err(Refusal::expired_token()),
            _ => Ok(()),
        },
        (Some(token), _) if keys.knows_token(token) => {
            let message = "Specified SecurityToken mismatch with the AccessKey.";
            refused("InvalidSecurityToken.MismatchWithAccessKey", message)
        }
        (Some(_), _) => refused("InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed."),
    }
}

/// Times are written `2026-01-31T23:59:59Z`, and must be near ours.
fn check_time(time: Option<&str>, now: Option<Timestamp>) -> Result<(), Refusal> {
    let time = time.ok_or_else(|| Refusal::missing("Timestamp"))?;
    // Written out again it must be the same: what is parsed alone may be written in other ways.
    let well_formed = |read: &DateTime| read.strftime(TIME_FORMAT).to_string() == time;
    let read = DateTime::strptime(TIME_FORMAT, time).ok().filter(well_formed);
    let time = read.and_then(|read| TimeZone::UTC.to_timestamp(read).ok()).ok_or_else(|| {
        Refusal::bad_request("InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")
    })?;
    match now {
        Some(now) if now.duration_since(time).unsigned_abs() > CLOCK_WINDOW => {
            Err(Refusal::bad_request("InvalidTimeStamp.Expired", "Specified time stamp or date value is expired."))
        }
        _ => Ok(()),
    }
}

/// A refused RPC signature, with what should have been signed, as the real gateway tells it. The legacy SDK compares it with
/// what it did sign, to tell a wrong secret from a mistake of its own, and falls over where it is missing.
fn mismatch(string_to_sign: &str) -> Refusal {
    let refusal = Refusal::from(SignatureFault::Mismatch);
    let message = format!("{} server string to sign is:{string_to_sign}", refusal.message);
    Refusal { message: message.into(), ..refusal }
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
    use super::super::settings::SandboxSettings;
    use super::*;

    fn code(result: Result<impl Sized, Refusal>) -> Option<String> {
        result.err().map(|refusal| refusal.code.into_owned())
    }

    #[test]
    fn a_request_is_good_for_a_quarter_of_an_hour_to_either_side() {
        let code = |time, now: &str| code(check_time(Some(time), Some(now.parse().unwrap())));
        let noon = "2026-01-31T12:00:00Z";
        assert_eq!(code(noon, "2026-01-31T12:15:00Z"), None);
        assert_eq!(code(noon, "2026-01-31T11:45:00Z"), None);
        assert_eq!(code(noon, "2026-01-31T12:15:01Z").as_deref(), Some("InvalidTimeStamp.Expired"));
        assert_eq!(code(noon, "2026-01-31T11:44:59Z").as_deref(), Some("InvalidTimeStamp.Expired"));
        for odd in [
            "x",
            "2026-01-31 12:00:00",
            "2026-01-31T12:00:00+00",
            "2026-13-31T12:00:00Z",
            "2026-01-31t12:00:00Z",
            "2026-01-31T12:00:00z",
            "2026-01-31 12:00:00Z",
            "20260131T120000.000Z",
            "+2026-1-31T12:00:00Z",
            "2026-01-31T12:00:60Z",
            "2026-01-31T12:00.00Z",
            "2026-02-30T12:00:00Z",
        ] {
            assert_eq!(code(odd, noon).as_deref(), Some("InvalidTimeStamp.Format"), "{odd}");
        }
        assert_eq!(check_time(Some("2001-01-31T12:00:00Z"), None), Ok(()));
    }

    #[test]
    fn only_two_operations_of_one_version_are_served_in_json() {
        let code = |action, version, format| code(operation(action, version, format));
        assert_eq!(code("ReleaseInstance", VERSION, None), None);
        assert_eq!(code("QueryAvailableInstances", VERSION, Some("json")), None);
        assert_eq!(code("QueryOrders", VERSION, None).as_deref(), Some("InvalidApi.NotFound"));
        assert_eq!(code("releaseinstance", VERSION, None).as_deref(), Some("InvalidApi.NotFound"));
        assert_eq!(code("ReleaseInstance", "2017-12-15", None).as_deref(), Some("InvalidVersion"));
        assert_eq!(code("ReleaseInstance", VERSION, Some("XML")).as_deref(), Some("InvalidFormat"));
    }

    #[test]
    fn a_token_must_be_the_keys_own_and_not_have_expired() {
        let key = |id: &str, token: Option<&str>| AccessKey {
            security_token: token.map(Into::into),
            expires_after: token.map(|_| Duration::from_secs(60)),
            ..format!("{id}:s").parse().unwrap()
        };
        let access_keys = vec![key("plain", None), key("one", Some("token-1")), key("two", Some("token-2"))];
        let settings = SandboxSettings { access_keys, ..SandboxSettings::default() };
        let keys = Keys::new(&settings);
        let code = |token, index: usize, seconds| {
            code(check_token(token, &settings.access_keys[index], &keys, Duration::from_secs(seconds)))
        };
        let expected = |code: &str| Some(code.to_owned());
        assert_eq!(code(None, 0, 0), None);
        assert_eq!(code(Some("token-1"), 1, 59), None);
        assert_eq!(code(Some("token-1"), 1, 60), expected("InvalidSecurityToken.Expired"));
        assert_eq!(code(None, 1, 0), expected("MissingSecurityToken"));
        assert_eq!(code(Some("token"), 1, 0), expected("InvalidSecurityToken.Malformed"));
        assert_eq!(code(Some("token"), 0, 0), expected("InvalidSecurityToken.Malformed"));
        assert_eq!(code(Some("token-2"), 1, 0), expected("InvalidSecurityToken.MismatchWithAccessKey"));
        assert_eq!(code(Some("token-2"), 0, 0), expected("InvalidSecurityToken.MismatchWithAccessKey"));
    }
}
