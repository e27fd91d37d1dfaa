//! The task that keeps one account's key: refreshed ahead of its expiry, a rotated one noticed, a failing source tried
//! again at growing intervals while the present key stays in use. It never holds up whoever signs: they read what was
//! published last.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};

use super::search::{Found, Fresh, Look};
use super::{Credential, CredentialError};

/// How often the local sources are looked at for a change.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A temporary key is replaced so long before it expires (the vendor's packages: 3 to 15 minutes), or at half its life.
const AHEAD: Duration = Duration::from_secs(15 * 60);
/// And at the latest after this time, as the Python package does for an instance's role: it may have been rotated.
const ASK_EVERY: Duration = Duration::from_secs(60 * 60);
/// Between two searches, however many refused calls ask for one.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Where keys come from.
pub trait Seek: Send + Sync + 'static {
    /// What stands in the surroundings now. Quick: small local files at most.
    fn look(&self) -> Look;
    /// Gets the key, over the network if need be, with a bound on how long that takes.
    fn ask(&mut self, look: Look) -> impl Future<Output = Result<(Found, Fresh), CredentialError>> + Send;
}

/// What is known of the key.
#[derive(Clone)]
pub enum State {
    /// The first search is under way.
    Searching,
    Missing(CredentialError),
    Holding(Credential),
}

pub struct Keeper<S> {
    seek: S,
    published: watch::Sender<State>,
    refused: Arc<Notify>,
    held: Option<Held>,
    /// Searches in a row that gave no key.
    failures: u32,
    asked_at: Instant,
}

struct Held {
    from: Found,
    refresh_at: Option<Instant>,
    expires_at: Option<Instant>,
}

impl<S: Seek> Keeper<S> {
    /// A keeper, to be run, and where it publishes. A notice on `refused` makes it search again.
    pub fn new(seek: S, refused: Arc<Notify>) -> (Self, watch::Receiver<State>) {
        let look = seek.look();
        let state = match look.found() {
            Some(Found::Key(credential)) => State::Holding(credential.clone()),
            Some(Found::Ask(_)) => State::Searching,
            None => State::Missing(look.error()),
        };
        let (published, state) = watch::channel(state);
        (Self { seek, published, refused, held: None, failures: 0, asked_at: Instant::now() }, state)
    }

    /// Runs until it is dropped.
    pub async fn run(mut self) {
        let mut wanted = true;
        loop {
            self.step(wanted, Instant::now()).await;
            let wakes_at = self.wakes_at(Instant::now());
            wanted = tokio::select! {
                () = sleep_until(wakes_at) => false,
                () = self.refused.notified() => true,
            };
            if wanted {
                sleep_until(self.asked_at + LEAST_PAUSE).await;
            }
        }
    }

    /// When to come again, if nobody asks for it before.
    fn wakes_at(&self, now: Instant) -> Instant {
        if self.failures == 0 {
            let next = now + LOOK_EVERY;
            return self.held.as_ref().and_then(|held| held.refresh_at).map_or(next, |due| due.min(next));
        }
        let next = self.asked_at + pause(self.failures);
        // The end of a key that nothing replaced is a moment of its own.
        let end = self.held.as_ref().and_then(|held| held.expires_at).filter(|end| *end > now);
        end.map_or(next, |end| end.min(next))
    }

    /// Looks, and asks if there is a reason to: a first key, a change, a key that grows old, a failure, or a wish.
    async fn step(&mut self, wanted: bool, now: Instant) {
        let look = self.seek.look();
        let same = self.held.as_ref().is_some_and(|held| look.found() == Some(&held.from));
        let due = self.held.as_ref().and_then(|held| held.refresh_at).is_some_and(|at| at <= now);
        if same && !due && !wanted && self.failures == 0 {
            return;
        }
        // Counted from here, a key's life ends a little early rather than late.
        self.asked_at = now;
        match self.seek.ask(look).await {
            Ok((from, fresh)) => self.hold(from, fresh),
            Err(error) => self.go_without(error),
        }
    }

    fn hold(&mut self, from: Found, Fresh { credential, good_for }: Fresh) {
        self.failures = 0;
        let expires_at = good_for.and_then(|life| self.asked_at.checked_add(life));
        let refresh_at = good_for.map(|life| self.asked_at + refresh_after(life));
        self.held = Some(Held { from, refresh_at, expires_at });
        tracing::debug!(access_key_id = credential.access_key_id, ?good_for, "an access key was read");
        self.published.send_if_modified(|state| {
            if matches!(state, State::Holding(present) if *present == credential) {
                return false;
            }
            tracing::info!(
                access_key_id = credential.access_key_id,
                ?good_for,
                "calls are signed with this access key"
            );
            *state = State::Holding(credential);
            true
        });
    }

    fn go_without(&mut self, error: CredentialError) {
        self.failures = self.failures.saturating_add(1);
        let again_in = pause(self.failures);
        let good = self.held.as_ref().is_some_and(|held| held.expires_at.is_none_or(|at| at > self.asked_at));
        if good {
            tracing::warn!(%error, ?again_in, "the access key can't be refreshed: the present one stays in use");
        } else {
            tracing::warn!(%error, ?again_in, "there is no access key");
            self.published.send_replace(State::Missing(error));
        }
    }
}

/// When a key of this life is to be replaced.
fn refresh_after(life: Duration) -> Duration {
    (life - AHEAD.min(life / 2)).clamp(LEAST_PAUSE, ASK_EVERY)
}

fn pause(failures: u32) -> Duration {
    LEAST_PAUSE.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
