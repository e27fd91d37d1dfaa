//! What has happened: every call of a known caller, and every instance released. Tests and the demo judge by it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::answer::{SUCCESS, THROTTLED};
use super::call::Call;
use super::faults::Fault;
use super::inventory::Released;

/// A sandbox's ledger at one moment.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ledger {
    pub counts: Counts,
    /// In the order of their arrival: a call's number is its place here.
    pub calls: Vec<CallRecord>,
    /// Each released id with the number of the call that released it.
    pub released: Released,
}

/// How often what happened. `calls` is the sum of `accepted`, `throttled`, `refused` and `faults`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Counts {
    pub calls: u64,
    pub accepted: u64,
    pub throttled: u64,
    pub refused: u64,
    pub faults: BTreeMap<Fault, u64>,
    pub ids_released: u64,
    /// Calls that no careful client makes: above 100 ids, or with an id that is empty or there twice.
    pub violations: u64,
    /// Requests of nobody known: not signed, badly signed, or replayed. They are no calls.
    pub unauthentic: u64,
}

/// One call.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct CallRecord {
    /// Since the sandbox started.
    #[serde(rename = "AtMilliseconds", serialize_with = "milliseconds")]
    pub at: Duration,
    pub access_key: Arc<str>,
    #[serde(flatten)]
    pub call: Arc<Call>,
    /// The code that it was answered with, or would have been had the caller waited: `Success`, or the error's.
    pub answer: &'static str,
    pub fault: Option<Fault>,
    /// How many instances it released: with a ghost, or where calls are not atomic, in spite of its answer.
    pub released: usize,
}

impl Ledger {
    /// The ids released.
    pub fn released_ids(&self) -> BTreeSet<&str> {
        self.released.keys().map(AsRef::as_ref).collect()
    }

    /// In how many calls each id stood, whatever they were answered.
    pub fn times_asked(&self) -> HashMap<&str, u64> {
        let mut times = HashMap::new();
        for id in self.calls.iter().flat_map(|record| &record.call.instance_ids) {
            *times.entry(id.as_ref()).or_default() += 1;
        }
        times
    }

    /// Writes a call down and counts it.
    pub(super) fn record(&mut self, record: CallRecord, violation: bool) {
        let counts = &mut self.counts;
        counts.calls += 1;
        counts.violations += u64::from(violation);
        counts.ids_released += record.released as u64;
        match (record.fault, record.answer) {
            (Some(fault), _) => *counts.faults.entry(fault).or_default() += 1,
            (None, SUCCESS) => counts.accepted += 1,
            (None, THROTTLED) => counts.throttled += 1,
            (None, _) => counts.refused += 1,
        }
        self.calls.push(record);
    }
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1000.0)
}
