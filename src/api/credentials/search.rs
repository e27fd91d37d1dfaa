//! The order of the sources, and which of them decides.
//!
//! A source that is not there is passed over; one that is there but broken ends the search, where the vendor's packages
//! would try the next: what is released with another account's key can't be undone. For the same reason a process never
//! changes the source once one gave a key (the packages' `reuse_last_provider`).

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::instance::{self, Instance};
use super::sts::Assume;
use super::surroundings::Surroundings;
use super::{Credential, CredentialError, Lack};
use super::{environment, ini, oidc, profile, uri};
use crate::config::CredentialSource;

/// What a source holds, as far as it can be told without the network. No `Debug`: it holds secrets.
#[derive(PartialEq)]
pub enum Found {
    Key(Credential),
    /// A temporary key is to be had there.
    Ask(Ask),
}

#[derive(PartialEq)]
pub enum Ask {
    Assume(Assume),
    Instance(Instance),
    Uri(Url),
}

/// Why a source gives no key.
#[derive(Debug, PartialEq)]
pub enum Miss {
    /// It is not there: another may be.
    Absent(String),
    /// It is there, and does not work.
    Broken(String),
}

/// A key, and how long it is good for, if it expires.
pub struct Fresh {
    pub credential: Credential,
    pub good_for: Option<Duration>,
}

/// What the sources hold up to the one that decides.
pub struct Look(pub Vec<Looked>);

pub struct Looked {
    pub source: Source,
    /// For people: the file's path, if it is one.
    pub name: String,
    pub found: Result<Found, Miss>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    Environment,
    Oidc,
    /// The setting's name for the profile, if it gives one.
    Profile(Option<String>),
    Ini(Option<String>),
    Instance,
    Uri,
}

pub struct Search {
    sources: Vec<Source>,
    surroundings: Surroundings,
}

impl Search {
    pub fn new(source: &CredentialSource, surroundings: Surroundings) -> Self {
        let sources = match source {
            CredentialSource::Default => vec![
                Source::Environment,
                Source::Oidc,
                Source::Profile(None),
                Source::Ini(None),
                Source::Instance,
                Source::Uri,
            ],
            CredentialSource::Environment => vec![Source::Environment],
            CredentialSource::Oidc => vec![Source::Oidc],
            CredentialSource::Profile(name) => vec![Source::Profile(Some(name.clone()))],
            CredentialSource::Ini(name) => vec![Source::Ini(Some(name.clone()))],
            CredentialSource::Ecs => vec![Source::Instance],
            CredentialSource::Uri => vec![Source::Uri],
        };
        Self { sources, surroundings }
    }

    /// The name of the first source; after a search that gave a key it is the only one.
    pub fn deciding(&self) -> String {
        self.sources.first().map(|source| self.name(source)).unwrap_or_default()
    }

    fn at(&self, source: &Source) -> Result<Found, Miss> {
        match source {
            Source::Environment => environment::look(&self.surroundings),
            Source::Oidc => oidc::look(&self.surroundings),
            Source::Profile(name) => profile::look(&self.surroundings, name.as_deref()),
            Source::Ini(name) => ini::look(&self.surroundings, name.as_deref()),
            Source::Instance => instance::look(&self.surroundings),
            Source::Uri => uri::look(&self.surroundings),
        }
    }

    fn name(&self, source: &Source) -> String {
        let file = |path: Result<std::path::PathBuf, String>, default: &str| match path {
            Ok(path) => path.display().to_string(),
            Err(_) => format!("~/{default}"),
        };
        match source {
            Source::Environment => "environment".to_owned(),
            Source::Oidc => "OIDC".to_owned(),
            Source::Profile(_) => file(profile::path(&self.surroundings), profile::DEFAULT_FILE),
            Source::Ini(_) => file(ini::path(&self.surroundings), ini::DEFAULT_FILE),
            Source::Instance => "ECS instance role".to_owned(),
            Source::Uri => "credentials URI".to_owned(),
        }
    }
}

impl super::keeper::Seek for Search {
    fn look(&self) -> Look {
        let mut looked = Vec::new();
        for source in &self.sources {
            let found = self.at(source);
            let goes_on = match &found {
                Ok(Found::Ask(Ask::Instance(instance))) => instance.role.is_none(),
                Ok(_) | Err(Miss::Broken(_)) => false,
                Err(Miss::Absent(_)) => true,
            };
            looked.push(Looked { source: source.clone(), name: self.name(source), found });
            if !goes_on {
                break;
            }
        }
        Look(looked)
    }

    async fn ask(&mut self, look: Look) -> Result<(Found, Fresh), CredentialError> {
        let mut tried = Vec::new();
        for Looked { source, name, found } in look.0 {
            let miss = match found {
                Ok(found) => match found.ask(Timestamp::now).await {
                    Ok(fresh) => {
                        self.sources = vec![source];
                        return Ok((found, fresh));
                    }
                    Err(miss) => miss,
                },
                Err(miss) => miss,
            };
            let last = matches!(miss, Miss::Broken(_));
            tried.push(Lack { source: name, problem: miss.problem().to_owned() });
            if last {
                break;
            }
        }
        Err(CredentialError { tried })
    }
}

impl Found {
    async fn ask(&self, now: impl Fn() -> Timestamp) -> Result<Fresh, Miss> {
        match self {
            Self::Key(credential) => Ok(Fresh { credential: credential.clone(), good_for: None }),
            Self::Ask(Ask::Assume(role)) => role.ask(now).await,
            Self::Ask(Ask::Instance(instance)) => instance.ask(now).await,
            Self::Ask(Ask::Uri(url)) => uri::ask(url, now).await,
        }
    }
}

impl Miss {
    /// Of a source that somebody named: that it is not there is a mistake, not a reason to look elsewhere.
    pub fn of_what_is_named(self, is_named: bool) -> Self {
        match self {
            Self::Absent(problem) if is_named => Self::Broken(problem),
            miss => miss,
        }
    }

    pub fn problem(&self) -> &str {
        match self {
            Self::Absent(problem) | Self::Broken(problem) => problem,
        }
    }
}

impl Look {
    /// What decides, unless only asking can tell.
    pub fn found(&self) -> Option<&Found> {
        self.0.iter().find_map(|looked| looked.found.as_ref().ok())
    }

    /// What each source lacked.
    pub fn error(&self) -> CredentialError {
        let lack = |looked: &Looked| {
            let problem = looked.found.as_ref().err()?.problem().to_owned();
            Some(Lack { source: looked.name.clone(), problem })
        };
        CredentialError { tried: self.0.iter().filter_map(lack).collect() }
    }
}
