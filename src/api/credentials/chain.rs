//! One account's access key, for whoever signs: a fixed one, or what the keeper holds.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::keeper::{Keeper, State};
use super::search::Search;
use super::surroundings::Surroundings;
use super::{Credential, CredentialError, Lack};
use crate::config::CredentialSource;

/// An account's key, kept fresh as long as this lives.
pub struct Chain(Kept);

enum Kept {
    Fixed(Credential),
    Searched {
        source: CredentialSource,
        state: watch::Receiver<State>,
        refused: Arc<Notify>,
        /// Ends the keeper with the chain.
        _keeper: AbortOnDropHandle<()>,
    },
}

impl Chain {
    /// The sources of this process. To be called within a tokio runtime, where the key is kept fresh. Returns at once: what
    /// stands in the environment or a file is there then, what needs the network comes.
    pub fn new(source: &CredentialSource) -> Self {
        Self::within(source, Surroundings::own())
    }

    /// The same in other surroundings.
    pub fn within(source: &CredentialSource, surroundings: Surroundings) -> Self {
        let refused = Arc::new(Notify::new());
        let (keeper, state) = Keeper::new(Search::new(source, surroundings), Arc::clone(&refused));
        let keeper = AbortOnDropHandle::new(tokio::spawn(keeper.run()));
        Self(Kept::Searched { source: source.clone(), state, refused, _keeper: keeper })
    }

    /// Always the same credential, for rehearsals.
    pub fn fixed(credential: Credential) -> Self {
        Self(Kept::Fixed(credential))
    }

    /// The credential to sign with now. Waits only while the very first search is under way, which has a bound.
    pub async fn current(&self) -> Result<Credential, CredentialError> {
        let state = match &self.0 {
            Kept::Fixed(credential) => return Ok(credential.clone()),
            Kept::Searched { state, .. } => state,
        };
        let mut state = state.clone();
        let known = state.wait_for(|state| !matches!(state, State::Searching)).await;
        match known.map(|state| state.clone()) {
            Ok(State::Holding(credential)) => Ok(credential),
            Ok(State::Missing(error)) => Err(error),
            Ok(State::Searching) | Err(_) => Err(CredentialError {
                tried: vec![Lack {
                    source: "the search".to_owned(),
                    problem: "ended in a defect of bulkrelease: please report it".to_owned(),
                }],
            }),
        }
    }

    /// Why there is no credential, if that is so; not while the first search is under way.
    pub fn problem(&self) -> Option<CredentialError> {
        match &self.0 {
            Kept::Fixed(_) => None,
            Kept::Searched { state, .. } => match &*state.borrow() {
                State::Missing(error) => Some(error.clone()),
                State::Searching | State::Holding(_) => None,
            },
        }
    }

    /// Has the sources searched again, in the background: to be called when the API refused the present credential.
    pub fn refresh(&self) {
        if let Kept::Searched { refused, .. } = &self.0 {
            refused.notify_one();
        }
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kept::Fixed(credential) => f.debug_tuple("Chain").field(credential).finish(),
            Kept::Searched { source, .. } => f.debug_tuple("Chain").field(source).finish(),
        }
    }
}
