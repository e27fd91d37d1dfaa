//! One search for an access key, for whoever wants to know where it would come from.

use std::time::Duration;

use super::keeper::Seek;
use super::search::Search;
use super::surroundings::Surroundings;
use super::{Credential, CredentialError};
use crate::config::CredentialSource;

/// The source that answered, and its answer.
#[derive(Debug, Clone)]
pub struct Answering {
    /// For people: `environment`, a file's path.
    pub source: String,
    pub credential: Credential,
    /// `None`: it does not expire, or the source doesn't know when.
    pub good_for: Option<Duration>,
}

/// Searches as a worker does, once. Has a bound, as each source has; asks for temporary keys where the source has them.
pub async fn inquire(source: &CredentialSource, surroundings: Surroundings) -> Result<Answering, CredentialError> {
    let mut search = Search::new(source, surroundings);
    let look = search.look();
    let (_, fresh) = search.ask(look).await?;
    Ok(Answering { source: search.deciding(), credential: fresh.credential, good_for: fresh.good_for })
}
