//! What became of one instance id.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Class;

/// What became of one id. Every id of a job ends in exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// Released by a call of ours.
    Released,
    /// It was gone before any call of ours could have released it.
    AlreadyGone,
    /// Not called, on purpose: protected, or the job was not acceptable.
    Refused,
    /// The API refused this id.
    Rejected,
    /// Not settled: retries or the split budget ran out. It may be released or not.
    Unresolved,
    /// Not called: the job's `NotAfter` passed first.
    Expired,
    /// Not called: the job asked what would be done.
    DryRun,
}

impl Outcome {
    pub const ALL: [Self; 7] = [
        Self::Released,
        Self::AlreadyGone,
        Self::Refused,
        Self::Rejected,
        Self::Unresolved,
        Self::Expired,
        Self::DryRun,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Released => "Released",
            Self::AlreadyGone => "AlreadyGone",
            Self::Refused => "Refused",
            Self::Rejected => "Rejected",
            Self::Unresolved => "Unresolved",
            Self::Expired => "Expired",
            Self::DryRun => "DryRun",
        }
    }
}

/// What an outcome rests on: the answer of the API, or our own reason. Shared by all ids of a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// What the API's answer means for a batch; `None` where the reason is our own.
    pub class: Option<Class>,
    pub code: Option<String>,
    /// Whole, as the API wrote it: what it names is looked for in it. `brief` is what is shown.
    pub message: Option<String>,
    /// The API's `RequestId`, which the vendor's support asks for.
    pub request_id: Option<String>,
}

/// Enough of a message for people; it stands in results once for every id.
const BRIEF_CHARACTERS: usize = 300;

impl Evidence {
    /// The message as it goes into results, dead letters and logs.
    pub fn brief(&self) -> Option<String> {
        self.message.as_ref().map(|message| message.chars().take(BRIEF_CHARACTERS).collect())
    }

    /// A code and words of our own.
    pub fn words(code: &str, message: impl Into<String>) -> Self {
        Self { code: Some(code.to_owned()), message: Some(message.into()), ..Self::default() }
    }

    /// A reason of our own.
    pub fn own(code: &str, message: impl Into<String>) -> Arc<Self> {
        Arc::new(Self::words(code, message))
    }
}

/// An outcome with what it rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceOutcome {
    pub outcome: Outcome,
    /// Set on `Released`: no call said so of this id, but it is gone and a call of ours may have landed.
    pub presumed: bool,
    /// Whether a call may have released the id without our being told. A replay must know.
    pub suspect: bool,
    pub evidence: Arc<Evidence>,
}

impl InstanceOutcome {
    /// An outcome that a call, or we ourselves, said outright.
    pub fn new(outcome: Outcome, suspect: bool, evidence: &Arc<Evidence>) -> Self {
        Self { outcome, presumed: false, suspect, evidence: Arc::clone(evidence) }
    }
}
