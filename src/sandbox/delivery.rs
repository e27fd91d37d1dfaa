//! How an answer fares on the wire: whole, or spoilt as a fault demands.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::answer::Envelope;
use super::connection::Reset;
use super::faults::{FaultAnswer, FaultRule};

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
const PLAIN: HeaderValue = HeaderValue::from_static("text/plain");

/// Into how many pieces a slow body falls.
const PIECES: usize = 10;

/// A whole answer.
pub(super) fn whole(envelope: Envelope) -> Response {
    let mut response = with_content(envelope.status, JSON, Body::from(envelope.body));
    if let Some(wait) = envelope.retry_after {
        let millis = u64::try_from(wait.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
        response.headers_mut().insert("x-acs-retry-after", HeaderValue::from(millis));
    }
    response
}

/// An answer whose JSON a fault keeps, in whatever state.
pub(super) fn spoilt(envelope: Envelope, fault: &FaultRule, stopping: &CancellationToken) -> Response {
    match fault.answer {
        FaultAnswer::Truncated => {
            let half = envelope.body.len() / 2;
            promising(envelope, |body| half_of(body.slice(..half)))
        }
        FaultAnswer::SlowBody => {
            let (pause, stopping) = (fault.hang_for / PIECES as u32, stopping.clone());
            promising(envelope, |body| in_pieces(body, pause, stopping))
        }
        FaultAnswer::WrongContentType => {
            let mut response = whole(envelope);
            response.headers_mut().insert(CONTENT_TYPE, PLAIN);
            response
        }
        _ => whole(envelope),
    }
}

/// What a fault sends in place of JSON.
pub(super) fn foreign(answer: FaultAnswer, reset: &Reset) -> Response {
    match answer {
        FaultAnswer::Html => with_content(StatusCode::OK, HTML, "<html><body>Sign in to continue</body></html>"),
        FaultAnswer::HtmlError => {
            with_content(StatusCode::BAD_GATEWAY, HTML, "<html><body><h1>502 Bad Gateway</h1></body></html>")
        }
        FaultAnswer::Redirect => {
            let mut response = with_content(StatusCode::FOUND, HTML, "<html><body>302 Found</body></html>");
            response.headers_mut().insert(LOCATION, HeaderValue::from_static("/elsewhere"));
            response
        }
        FaultAnswer::Reset => {
            reset.ask();
            Response::new(Body::empty())
        }
        _ => Response::new(Body::empty()),
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
