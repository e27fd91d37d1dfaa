//! What has happened: every call of a known caller, and every instance released. Tests and the demo judge by it. It grows
//! with every call until it is reset: a ledger that forgets is none.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::answer::SUCCESS;
use super::call::{Action, Call};
use super::faults::FaultAnswer;
use super::inventory::Released;
use super::refusal::THROTTLED;

/// A sandbox's ledger at one moment.
#[derive(Debug, Clone)]
pub struct Ledger {
    /// When it began: at the sandbox's start, or its last reset.
    pub since: Timestamp,
    pub counts: Counts,
    /// In the order of their arrival: a call's number is its place here.
    pub calls: Vec<Arc<CallRecord>>,
    /// Each released id with the number of the call that released it.
    pub released: Released,
    /// The released ids in their order.
    pub releases: Vec<Arc<str>>,
}

/// How often what happened. `calls` is the sum of `accepted`, `throttled`, `refused` and `faults`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    /// Calls of `ReleaseInstance`.
    pub calls: u64,
    pub accepted: u64,
    pub throttled: u64,
    pub refused: u64,
    pub faults: BTreeMap<FaultAnswer, u64>,
    pub ids_released: u64,
    /// Calls that no careful client makes, whatever they were answered: above 100 ids, or with an id that is empty, there
    /// twice, or has white space or control characters.
    pub violations: u64,
    /// Calls of `QueryAvailableInstances`, whatever they were answered.
    pub queries: u64,
    /// Requests of nobody known: not signed, badly signed, replayed, for what isn't served, or too large or too slow to be
    /// read. They are no calls.
    pub unauthentic: u64,
}

/// One call. It keeps at most the first 101 ids that the call carried, so that no request costs much for ever;
/// [`Call::id_count`] counts them all.
#[derive(Debug)]
pub struct CallRecord {
    /// Since the ledger began.
    pub at: Duration,
    pub request_id: Uuid,
    pub account: Arc<str>,
    pub access_key: Arc<str>,
    pub call: Call,
    /// The code that it was answered with, or would have been had the caller waited: `Success`, or the error's. `None`
    /// where the answer has none.
    pub code: Option<String>,
    pub fault: Option<FaultAnswer>,
    /// What it released: with a fault, or where calls are not atomic, in spite of its answer.
    pub released: Vec<Arc<str>>,
}

impl CallRecord {
    pub fn action(&self) -> Action {
        self.call.action
    }
}

impl Ledger {
    pub(super) fn new(since: Timestamp) -> Self {
        let (counts, released) = (Counts::default(), Released::new());
        Self { since, counts, calls: Vec::new(), released, releases: Vec::new() }
    }

    /// The ids released.
    pub fn released_ids(&self) -> BTreeSet<&str> {
        self.released.keys().map(AsRef::as_ref).collect()
    }

    /// In how many calls to release it each id stood, whatever they were answered.
    pub fn times_asked(&self) -> HashMap<&str, u64> {
        let mut times = HashMap::new();
        let calls = self.calls.iter().filter(|record| record.action() == Action::ReleaseInstance);
        for id in calls.flat_map(|record| &record.call.instance_ids) {
            *times.entry(id.as_ref()).or_default() += 1;
        }
        times
    }

    /// Writes a call down and counts it. Its ids are in `released` already.
    pub(super) fn record(&mut self, record: CallRecord, violation: bool) {
        let counts = &mut self.counts;
        counts.violations += u64::from(violation);
        counts.ids_released += record.released.len() as u64;
        match (record.action(), record.fault, record.code.as_deref()) {
            (Action::QueryAvailableInstances, _, _) => counts.queries += 1,
            (Action::ReleaseInstance, Some(fault), _) => *counts.faults.entry(fault).or_default() += 1,
            (Action::ReleaseInstance, None, Some(SUCCESS)) => counts.accepted += 1,
            (Action::ReleaseInstance, None, Some(THROTTLED)) => counts.throttled += 1,
            (Action::ReleaseInstance, None, _) => counts.refused += 1,
        }
        counts.calls += u64::from(record.action() == Action::ReleaseInstance);
        self.releases.extend(record.released.iter().cloned());
        self.calls.push(Arc::new(record));
    }
}
