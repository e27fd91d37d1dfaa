//! Something that answers as it is told to, at a time of its own.

use std::net::SocketAddr;

use axum::Router;
use axum::http::{StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

/// A server that is gone with its test.
pub struct Answering {
    pub address: SocketAddr,
    _serving: AbortOnDropHandle<()>,
}

impl Answering {
    /// Gives every request this body, by a clock that is so many minutes ahead.
    pub async fn start(status: u16, body: &'static str, minutes_ahead: i64) -> Self {
        let answer = move || async move {
            let now = Timestamp::now() + SignedDuration::from_mins(minutes_ahead);
            let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            (StatusCode::from_u16(status).expect("a status"), [(header::DATE, date)], body)
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let router = Router::new().fallback(answer);
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { address, _serving: AbortOnDropHandle::new(serving) }
    }
}
