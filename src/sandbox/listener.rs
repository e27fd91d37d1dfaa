//! Takes connections and speaks HTTP/1 on them, as many at once as it has places, each with a time for its requests' heads.
//! It must not know what is asked or answered.

use std::pin::pin;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1::Builder;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::connection::Connection;

/// Connections at once; further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 4096;

/// For a request's head to arrive, and for a connection between two requests to be kept.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// Between two attempts to take a connection when the first failed: a lack of descriptors does not pass at once.
const PAUSE: Duration = Duration::from_secs(1);

/// Serves until it is told to stop, and then until all that is under way is answered.
pub(super) async fn serve(listener: TcpListener, routes: Router, stopping: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut failing = false;
    loop {
        tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            Some(ended) = connections.join_next() => report(ended),
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    failing = false;
                    connections.spawn(answer(stream, routes.clone(), stopping.clone()));
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(%error, "the sandbox can't take a connection; it tries again every second");
                    }
                    failing = true;
                    tokio::select! {
                        () = sleep(PAUSE) => {}
                        () = stopping.cancelled() => {}
                    }
                }
            },
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        report(ended);
    }
}

async fn answer(stream: TcpStream, routes: Router, stopping: CancellationToken) {
    let connection = Connection::new(stream);
    let service = TowerToHyperService::new(routes.layer(Extension(connection.reset())));
    let mut builder = Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    let mut serving = pin!(builder.serve_connection(TokioIo::new(connection), service));
    tokio::select! {
        // How a connection ends is its peer's affair, or a fault's.
        ended = serving.as_mut() => return ended.unwrap_or_default(),
        () = stopping.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    serving.await.ok();
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection of the sandbox ended in a panic");
    }
}
