//! What a call says of its batch as a whole: the API never says it of a single id.

use std::sync::Arc;

use super::Evidence;

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

impl Verdict {
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

    /// The word used in metrics and logs.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Released(_) => "released",
            Self::Throttled(_) => "throttled",
            Self::Transient(_) => "transient",
            Self::Unknown(_) => "unknown",
            Self::Account(_) => "account",
            Self::Refused(Refusal::Request, _) => "request",
            Self::Refused(Refusal::Instance, _) => "instance",
            Self::Refused(Refusal::Gone, _) => "gone",
            Self::Refused(Refusal::Unlisted, _) => "unlisted",
        }
    }
}
