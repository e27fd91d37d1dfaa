//! The sandbox as a server: one task that listens, and one handler that reads, decides, waits and answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Request as HttpRequest, State as Extract};
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

use super::answer::{Envelope, Reply};
use super::call::Call;
use super::connection::{Connections, Reset};
use super::gateway::{Moment, admit};
use super::ledger::{Counts, Ledger};
use super::refusal::Refusal;
use super::request::{Request, host};
use super::settings::{InvalidSettings, SandboxSettings};
use super::state::{Decision, Fixed, State};
use super::{admin, delivery};

/// A form with 100 of the longest ids has a tenth of this.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// For a body to arrive, and for the last answers to leave.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running sandbox. It stops when it is dropped; [`Sandbox::stop`] waits for that.
pub struct Sandbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<io::Result<()>>,
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
        let mut routes = Router::new().route("/", on(MethodFilter::POST.or(MethodFilter::GET), answer_call));
        if shared.fixed.settings.admin {
            routes = routes.nest("/_sandbox", admin::routes());
        }
        let service =
            routes.fallback(no_such_api).with_state(Arc::clone(&shared)).into_make_service_with_connect_info::<Reset>();
        let server =
            axum::serve(Connections(listener), service).with_graceful_shutdown(stopping.clone().cancelled_owned());
        let task = tokio::spawn(async move { server.await });
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
            ended = &mut self.task => ended?,
            () = end => self.stop().await,
        }
    }

    /// Takes no more connections, answers what is under way (at once, if it hangs), and ends.
    pub async fn stop(self) -> io::Result<()> {
        let Self { mut task, stopping, .. } = self;
        drop(stopping);
        match timeout(PATIENCE, &mut task).await {
            Ok(ended) => ended?,
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
        *self.state() = State::new(&self.fixed, Instant::now(), Timestamp::now());
        self.calls.send_replace(0);
    }

    fn decide(&self, head: &Parts, body: &[u8]) -> Decision {
        let settings = &self.fixed.settings;
        let now = settings.check_clock.then(Timestamp::now);
        let moment = Moment { now, running: self.started.elapsed() };
        let decided = Request::read(head, body).and_then(|request| {
            let caller = admit(&request, &self.fixed.keys, moment)?;
            let call = Call::read(caller.action, &request.parameters);
            let mut state = self.state();
            let decision = state.decide(&self.fixed, &caller, call, Instant::now());
            self.calls.send_replace(state.ledger.counts.calls);
            Ok(decision)
        });
        decided.unwrap_or_else(|refusal| self.state().turn_away(settings, refusal))
    }
}

async fn answer_call(
    Extract(shared): Extract<Arc<Shared>>,
    ConnectInfo(reset): ConnectInfo<Reset>,
    request: HttpRequest,
) -> Response {
    let (head, body) = request.into_parts();
    let Ok(Ok(body)) = timeout(PATIENCE, to_bytes(body, MAX_BODY_BYTES)).await else {
        let refusal = Refusal::bad_request("InvalidParameter", "The body is too large, too slow or cut off.");
        return refused(refusal, host(&head.headers));
    };
    let Decision { request_id, reply, fault, delay } = shared.decide(&head, &body);
    if !delay.is_zero() {
        tokio::select! {
            () = sleep(delay) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
    let envelope = reply.map(|reply| Envelope::of(&reply, request_id, host(&head.headers)));
    match (envelope, fault) {
        (Some(envelope), Some(fault)) => delivery::spoilt(envelope, &fault, &shared.stopping),
        (Some(envelope), None) => delivery::whole(envelope),
        (None, Some(fault)) => delivery::foreign(fault.answer, &reset),
        (None, None) => refused(Refusal::internal_error(), host(&head.headers)),
    }
}

async fn no_such_api(request: HttpRequest) -> Response {
    refused(Refusal::no_such_api(), host(request.headers()))
}

fn refused(refusal: Refusal, host: &str) -> Response {
    delivery::whole(Envelope::of(&Reply::Refused(refusal), Uuid::new_v4(), host))
}
