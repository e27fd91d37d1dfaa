//! The sandbox as a server: one task that listens, and one handler that reads, decides, waits and answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, FromRequest, Request as HttpRequest, State as Extract};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::Envelope;
use super::call::Call;
use super::connection::Reset;
use super::delivery::Answer;
use super::gateway::{Moment, admit};
use super::ledger::{Counts, Ledger};
use super::refusal::Refusal;
use super::request::{Request, host};
use super::settings::{InvalidSettings, SandboxSettings};
use super::state::{Decision, Fixed, State};
use super::{admin, delivery, listener};

/// A form with 100 of the longest ids has a tenth of this.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// For a body to arrive, and for the last answers to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running sandbox. It stops when it is dropped; [`Sandbox::stop`] waits for that.
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
    stopping: DropGuard,
}

/// Why a sandbox doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Settings(#[from] InvalidSettings),
    #[error("listen {address} can't be had: {source}")]
    Listen { address: SocketAddr, source: io::Error },
}

/// What every request works on.
pub(super) struct Shared {
    pub fixed: Fixed,
    state: Mutex<State>,
    started: Instant,
    /// How many calls to release were decided.
    calls: watch::Sender<u64>,
    stopping: CancellationToken,
}

impl Sandbox {
    /// Binds and serves.
    pub async fn start(settings: SandboxSettings) -> Result<Self, StartError> {
        let fixed = Fixed::new(settings)?;
        let listen = fixed.settings.listen;
        let failed = |source| StartError::Listen { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (stopping, started) = (CancellationToken::new(), Instant::now());
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(&fixed, started, Timestamp::now())),
            fixed,
            started,
            calls: watch::Sender::new(0),
            stopping: stopping.clone(),
        });
        let mut routes = Router::new().route("/", any(answer_call));
        if shared.fixed.settings.admin {
            routes = routes.nest("/_sandbox", admin::routes());
        }
        let routes = routes.fallback(no_such_api).with_state(Arc::clone(&shared));
        let task = tokio::spawn(listener::serve(listener, routes, stopping.clone()));
        Ok(Self { address, shared, task, stopping: stopping.drop_guard() })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened until now: a copy of everything.
    pub fn ledger(&self) -> Ledger {
        self.shared.state().ledger.clone()
    }

    /// How often what happened until now.
    pub fn counts(&self) -> Counts {
        self.shared.state().ledger.counts.clone()
    }

    /// Waits until this many calls to release have taken effect, answered or not.
    pub async fn until_calls(&self, count: u64) {
        let mut calls = self.shared.calls.subscribe();
        // The sender lives as long as `self` does, so this can't fail.
        calls.wait_for(|calls| *calls >= count).await.ok();
    }

    /// Serves until `end`, or until it can't go on.
    pub async fn serve_until(mut self, end: impl Future<Output = ()>) -> io::Result<()> {
        tokio::select! {
            ended = &mut self.task => Ok(ended?),
            () = end => self.stop().await,
        }
    }

    /// Takes no more connections, answers what is under way (at once, if it hangs), and ends.
    pub async fn stop(self) -> io::Result<()> {
        let Self { mut task, stopping, .. } = self;
        drop(stopping);
        match timeout(PATIENCE, &mut task).await {
            Ok(ended) => Ok(ended?),
            // A client that never finishes its request may not keep us.
            Err(_) => {
                task.abort();
                Ok(())
            }
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As if the sandbox had just started, but for the tokens that have expired.
    pub(super) fn reset(&self) {
        let mut state = self.state();
        *state = State::new(&self.fixed, Instant::now(), Timestamp::now());
        self.calls.send_replace(0);
    }

    fn decide(&self, head: &Parts, body: &[u8]) -> Result<Decision, Refusal> {
        let now = self.fixed.settings.check_clock.then(Timestamp::now);
        let moment = Moment { now, running: self.started.elapsed() };
        let request = Request::read(head, body)?;
        let caller = admit(&request, &self.fixed.keys, moment)?;
        let call = Call::read(caller.action, &request.parameters);
        let mut state = self.state();
        let decision = state.decide(&self.fixed, &caller, call, Instant::now());
        self.calls.send_replace(state.ledger.counts.calls);
        Ok(decision)
    }

    fn turn_away(&self, refusal: Refusal) -> Decision {
        self.state().turn_away(&self.fixed.settings, refusal)
    }

    /// Answers as decided, when it is time.
    async fn answer(&self, decision: Decision, headers: &HeaderMap, reset: &Reset) -> Response {
        let Decision { request_id, answer, delay } = decision;
        if !delay.is_zero() {
            tokio::select! {
                () = sleep(delay) => {}
                () = self.stopping.cancelled() => {}
            }
        }
        let envelope = |reply| Envelope::of(&reply, request_id, host(headers));
        match answer {
            Answer::Whole(reply) => delivery::whole(envelope(reply)),
            Answer::Spoilt(reply, spoil) => delivery::spoilt(envelope(reply), spoil, &self.stopping),
            Answer::Foreign(foreign) => delivery::foreign(foreign, reset),
        }
    }
}

async fn answer_call(
    Extract(shared): Extract<Arc<Shared>>,
    Extension(reset): Extension<Reset>,
    request: HttpRequest,
) -> Response {
    let (head, body) = request.into_parts();
    let decided = match (&head.method, whole_body(body).await) {
        (&Method::POST | &Method::GET, Ok(body)) => shared.decide(&head, &body),
        (&Method::POST | &Method::GET, Err(refusal)) => Err(refusal),
        _ => Err(Refusal::unsupported_method()),
    };
    let decision = decided.unwrap_or_else(|refusal| shared.turn_away(refusal));
    shared.answer(decision, &head.headers, &reset).await
}

async fn no_such_api(
    Extract(shared): Extract<Arc<Shared>>,
    Extension(reset): Extension<Reset>,
    headers: HeaderMap,
) -> Response {
    let decision = shared.turn_away(Refusal::no_such_api());
    shared.answer(decision, &headers, &reset).await
}

/// A request's body, if it is of a decent size and arrives in time.
pub(super) async fn whole_body(body: Body) -> Result<Bytes, Refusal> {
    let mut request = HttpRequest::new(body);
    DefaultBodyLimit::max(MAX_BODY_BYTES).apply(&mut request);
    match timeout(PATIENCE, Bytes::from_request(request, &())).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => Err(Refusal::too_large()),
        Ok(Err(_)) | Err(_) => Err(Refusal::incomplete_body()),
    }
}
