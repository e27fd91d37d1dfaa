//! The sandbox as a server: one task that listens, and one handler that reads, decides, waits and answers.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request as HttpRequest, State as Extract};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use axum::routing::{MethodFilter, get, on};
use axum::serve::ListenerExt;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::answer::{Refusal, json, render};
use super::call::Call;
use super::ledger::{Counts, Ledger};
use super::request::{Request, host};
use super::settings::SandboxSettings;
use super::state::{Decision, State};

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

struct Shared {
    settings: SandboxSettings,
    state: Mutex<State>,
    /// How many calls were decided.
    calls: watch::Sender<u64>,
    stopping: CancellationToken,
}

impl Sandbox {
    /// Binds and serves.
    pub async fn start(settings: SandboxSettings) -> io::Result<Self> {
        settings.check().map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        let listener = TcpListener::bind(settings.listen).await?;
        let address = listener.local_addr()?;
        let stopping = CancellationToken::new();
        let shared = Arc::new(Shared {
            state: Mutex::new(State::new(&settings, Instant::now())),
            settings,
            calls: watch::Sender::new(0),
            stopping: stopping.clone(),
        });
        let mut routes = Router::new().route("/", on(MethodFilter::POST.or(MethodFilter::GET), answer_call));
        if shared.settings.admin {
            routes = routes.route("/_sandbox/counts", get(show_counts)).route("/_sandbox/ledger", get(show_ledger));
        }
        let routes = routes.fallback(no_such_api).with_state(Arc::clone(&shared));
        let listener = listener.tap_io(|stream| {
            // Only costs speed where it fails.
            stream.set_nodelay(true).ok();
        });
        let server = axum::serve(listener, routes).with_graceful_shutdown(stopping.clone().cancelled_owned());
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

    /// Waits until this many calls have taken effect, answered or not.
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
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, head: &Parts, body: &[u8]) -> Decision {
        let now = self.settings.check_clock.then(Timestamp::now);
        let known = Request::read(head, body).and_then(|request| {
            let caller = request.caller(&self.settings.access_keys, now)?;
            let (call, unfit) = Call::read(request.parameters());
            let mut state = self.state();
            let decision = state.decide(&self.settings, &caller, call, unfit, Instant::now());
            self.calls.send_replace(state.ledger.counts.calls);
            Ok(decision)
        });
        known.unwrap_or_else(|refusal| {
            self.state().ledger.counts.unauthentic += 1;
            Decision { answer: Err(refusal), delay: self.settings.latency }
        })
    }
}

async fn answer_call(Extract(shared): Extract<Arc<Shared>>, request: HttpRequest) -> Response {
    let (head, body) = request.into_parts();
    let Ok(Ok(body)) = timeout(PATIENCE, to_bytes(body, MAX_BODY_BYTES)).await else {
        let refusal = Refusal::bad_request("InvalidParameter", "The body is too large, too slow or cut off.");
        return render(&Err(refusal), host(&head.headers));
    };
    let Decision { answer, delay } = shared.decide(&head, &body);
    if !delay.is_zero() {
        tokio::select! {
            () = sleep(delay) => {}
            () = shared.stopping.cancelled() => {}
        }
    }
    render(&answer, host(&head.headers))
}

async fn no_such_api(request: HttpRequest) -> Response {
    let refusal = Refusal::new(
        StatusCode::NOT_FOUND,
        "InvalidApi.NotFound",
        "Specified api is not found, please check your url and method.",
    );
    render(&Err(refusal), host(request.headers()))
}

async fn show_counts(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let counts = shared.state().ledger.counts.clone();
    json(StatusCode::OK, &counts)
}

async fn show_ledger(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let ledger = shared.state().ledger.clone();
    json(StatusCode::OK, &ledger)
}
