//! What a call says of its batch as a whole: the API never says it of a single id.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Evidence, InstanceId};

/// A server may ask for a pause; no pause is longer than this, whatever it asks.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// The one verdict of a call. Whoever classifies an answer (`api`) chooses; whoever decides (`engine`) obeys.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// Every id of the batch is released.
    Released(Arc<Evidence>),
    /// Nothing was done, because the quota is spent. Costs no attempt.
    Throttled(Arc<Evidence>),
    /// Nothing was done; a later try may succeed.
    Transient(Arc<Evidence>),
    /// The call may or may not have landed. Never treated as "not done".
    Unknown(Arc<Evidence>),
    /// Nothing was done, because of the account: credential, permission, site, clock. Costs no attempt.
    Account(Arc<Evidence>),
    /// The API refused the batch.
    Refused(Refusal, Arc<Evidence>),
}

/// Why the API refused a batch, as far as its one code tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The request is wrong for every id: splitting can't help.
    Request,
    /// Some id of the batch is at fault.
    Instance,
    /// Some id of the batch is already gone.
    Gone,
    /// A code that the error table doesn't list: it may be either.
    Unlisted,
}

/// The kinds of verdict, as metrics, logs and dead letters name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Released,
    Throttled,
    Transient,
    Unknown,
    Account,
    Request,
    Instance,
    Gone,
    Unlisted,
}

impl Class {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Unknown => "unknown",
            Self::Account => "account",
            Self::Request => "request",
            Self::Instance => "instance",
            Self::Gone => "gone",
            Self::Unlisted => "unlisted",
        }
    }
}

impl Verdict {
    /// The verdict of a class; the evidence says so from here on.
    pub fn of(class: Class, evidence: Evidence) -> Self {
        let evidence = Arc::new(Evidence { class: Some(class), ..evidence });
        match class {
            Class::Released => Self::Released(evidence),
            Class::Throttled => Self::Throttled(evidence),
            Class::Transient => Self::Transient(evidence),
            Class::Unknown => Self::Unknown(evidence),
            Class::Account => Self::Account(evidence),
            Class::Request => Self::Refused(Refusal::Request, evidence),
            Class::Instance => Self::Refused(Refusal::Instance, evidence),
            Class::Gone => Self::Refused(Refusal::Gone, evidence),
            Class::Unlisted => Self::Refused(Refusal::Unlisted, evidence),
        }
    }

    pub fn evidence(&self) -> &Arc<Evidence> {
        match self {
            Self::Released(evidence)
            | Self::Throttled(evidence)
            | Self::Transient(evidence)
            | Self::Unknown(evidence)
            | Self::Account(evidence)
            | Self::Refused(_, evidence) => evidence,
        }
    }

    pub fn class(&self) -> Class {
        match self {
            Self::Released(_) => Class::Released,
            Self::Throttled(_) => Class::Throttled,
            Self::Transient(_) => Class::Transient,
            Self::Unknown(_) => Class::Unknown,
            Self::Account(_) => Class::Account,
            Self::Refused(Refusal::Request, _) => Class::Request,
            Self::Refused(Refusal::Instance, _) => Class::Instance,
            Self::Refused(Refusal::Gone, _) => Class::Gone,
            Self::Refused(Refusal::Unlisted, _) => Class::Unlisted,
        }
    }
}

/// What a query for suspects came to.
#[derive(Debug, Clone)]
pub enum ReadBack {
    /// The account lists these, and none else of those asked about.
    Listed { ids: HashSet<InstanceId>, evidence: Arc<Evidence> },
    /// It tells nothing, with what a call would have made of the answer.
    Failed(Verdict),
}
