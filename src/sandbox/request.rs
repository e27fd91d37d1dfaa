//! A request as it stands on the wire: its parts, decoded once.

use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use percent_encoding::percent_decode;

use super::refusal::Refusal;
use crate::api::signature::{Parameter, decode, v3};

/// What stands on the wire.
pub(super) struct Request<'a> {
    pub method: &'a str,
    pub headers: Vec<(&'a str, &'a str)>,
    /// Those of the query, then those of a form body.
    pub parameters: Vec<Parameter<'a>>,
    in_query: usize,
    has_form: bool,
    body: &'a [u8],
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
        let mut parameters: Vec<_> = decoded(head.uri.query().unwrap_or_default().as_bytes())?.collect();
        let in_query = parameters.len();
        let has_form = !body.is_empty() && is_form(&head.headers);
        if has_form {
            parameters.extend(decoded(body)?);
        }
        Ok(Self { method: head.method.as_str(), headers, parameters, in_query, has_form, body })
    }

    /// Whether its body was read as parameters.
    pub(super) fn has_form(&self) -> bool {
        self.has_form
    }

    /// What an ACS3 signature covers.
    pub(super) fn signed(&self) -> v3::Request<'_> {
        v3::Request {
            method: self.method,
            parameters: &self.parameters[..self.in_query],
            headers: &self.headers,
            body: self.body,
        }
    }

    /// A header that is there and says something.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        found.filter(|value| !value.is_empty())
    }

    /// A parameter that is there and says something.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_ref());
        found.filter(|value| !value.is_empty())
    }
}

/// The parameters of a query or a form, if they are UTF-8: others would be read as what nobody wrote.
fn decoded(wire: &[u8]) -> Result<impl Iterator<Item = Parameter<'_>>, Refusal> {
    match percent_decode(wire).decode_utf8() {
        Ok(_) => Ok(decode(wire)),
        Err(_) => Err(Refusal::bad_request("InvalidParameter", "A parameter is not UTF-8.")),
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
