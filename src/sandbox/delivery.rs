//! How an answer fares on the wire: whole, spoilt, or as something else.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::answer::{Envelope, Reply};
use super::connection::Reset;
use super::refusal::Refusal;

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");

/// Into how many pieces a slow body falls.
const PIECES: usize = 10;

/// What a caller gets.
pub(super) enum Answer {
    /// The API's JSON.
    Whole(Reply),
    /// The API's JSON, spoilt on its way.
    Spoilt(Reply, Spoil),
    /// What is not the API's.
    Foreign(Foreign),
}

/// How JSON is spoilt.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoil {
    /// Half of it, and the end of the connection.
    Half,
    /// All of it, in so much time.
    Slow(Duration),
    /// It is called plain text.
    CalledText,
}

/// What proxies, portals and dying servers send.
#[derive(Debug, Clone, Copy)]
pub(super) enum Foreign {
    Reset,
    Empty,
    Html,
    HtmlError,
    Redirect,
}

impl Answer {
    pub(super) fn refused(refusal: Refusal) -> Self {
        Self::Whole(Reply::Refused(refusal))
    }

    /// What it says, if it is the API's.
    pub(super) fn reply(&self) -> Option<&Reply> {
        match self {
            Self::Whole(reply) | Self::Spoilt(reply, _) => Some(reply),
            Self::Foreign(_) => None,
        }
    }
}

/// A whole answer.
pub(super) fn whole(envelope: Envelope) -> Response {
    let mut response = with_content(envelope.status, JSON, Body::from(envelope.body));
    if let Some(wait) = envelope.retry_after.and_then(|wait| HeaderValue::try_from(wait).ok()) {
        response.headers_mut().insert("x-acs-retry-after", wait);
    }
    response
}

/// An answer whose JSON is spoilt.
pub(super) fn spoilt(envelope: Envelope, spoil: Spoil, stopping: &CancellationToken) -> Response {
    match spoil {
        Spoil::Half => {
            let half = envelope.body.len() / 2;
            promising(envelope, |body| half_of(body.slice(..half)))
        }
        Spoil::Slow(time) => {
            let (pause, stopping) = (time / PIECES as u32, stopping.clone());
            promising(envelope, |body| in_pieces(body, pause, stopping))
        }
        Spoil::CalledText => {
            let mut response = whole(envelope);
            response.headers_mut().insert(CONTENT_TYPE, PLAIN);
            response
        }
    }
}

/// What comes in place of JSON.
pub(super) fn foreign(foreign: Foreign, reset: &Reset) -> Response {
    match foreign {
        Foreign::Html => with_content(StatusCode::OK, HTML, "<html><body>Sign in to continue</body></html>"),
        Foreign::HtmlError => {
            with_content(StatusCode::BAD_GATEWAY, HTML, "<html><body><h1>502 Bad Gateway</h1></body></html>")
        }
        Foreign::Redirect => {
            let mut response = with_content(StatusCode::FOUND, HTML, "<html><body>302 Found</body></html>");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
            response
        }
        Foreign::Reset => {
            reset.ask();
            Response::new(Body::empty())
        }
        Foreign::Empty => Response::new(Body::empty()),
    }
}

fn with_content(status: StatusCode, kind: HeaderValue, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// An answer whose headers promise the whole body, whatever then comes of it.
fn promising(envelope: Envelope, body: impl FnOnce(Bytes) -> Body) -> Response {
    let length = envelope.body.len();
    let mut response = whole(Envelope { body: Vec::new(), ..envelope.clone() });
    *response.body_mut() = body(envelope.body.into());
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    response
}

fn half_of(half: Bytes) -> Body {
    Body::from_stream(stream::unfold(Some(half), |half| async move {
        if let Some(half) = half {
            return Some((Ok(half), None));
        }
        // What is there is sent while we stand back; only then the connection ends.
        tokio::task::yield_now().await;
        Some((Err(io::Error::from(io::ErrorKind::UnexpectedEof)), None))
    }))
}

fn in_pieces(body: Bytes, pause: Duration, stopping: CancellationToken) -> Body {
    let piece = body.len().div_ceil(PIECES).max(1);
    Body::from_stream(stream::unfold(body, move |mut rest| {
        let stopping = stopping.clone();
        async move {
            if rest.is_empty() {
                return None;
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
            let next = rest.split_to(piece.min(rest.len()));
            Some((Ok::<_, io::Error>(next), rest))
        }
    }))
}
