//! Everything that was found, was not looked at, or is well.

use serde::Serialize;

use super::{Code, Finding, NotChecked, Severity};

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Report {
    /// The worst first.
    pub findings: Vec<Finding>,
    pub not_checked: Vec<NotChecked>,
    /// What was looked at, and what it is.
    pub checked: Vec<String>,
}

/// The whole in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// Nothing that matters was found, and all that can be looked at was.
    Sound,
    /// Something matters.
    Findings,
    /// Nothing that matters was found, but not all that can be looked at was.
    Unchecked,
}

impl Report {
    pub fn soundness(&self) -> Soundness {
        if self.findings.iter().any(|finding| finding.code.severity() != Severity::Note) {
            Soundness::Findings
        } else if self.not_checked.iter().any(|missed| missed.mend.is_some()) {
            Soundness::Unchecked
        } else {
            Soundness::Sound
        }
    }

    pub(super) fn find(&mut self, code: Code, subject: impl Into<String>, found: impl Into<String>, mend: String) {
        self.findings.push(Finding { code, subject: subject.into(), found: found.into(), mend });
    }

    pub(super) fn miss(&mut self, subject: impl Into<String>, because: impl Into<String>, mend: Option<&str>) {
        let (subject, because, mend) = (subject.into(), because.into(), mend.map(str::to_owned));
        self.not_checked.push(NotChecked { subject, because, mend });
    }

    pub(super) fn check(&mut self, what: impl Into<String>) {
        self.checked.push(what.into());
    }

    pub(super) fn sorted(mut self) -> Self {
        self.findings.sort_by_key(|finding| finding.code.severity());
        self
    }
}
