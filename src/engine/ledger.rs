//! What every admitted job is still owed. Keyed by admission, never by the job's name: producers reuse names.

use std::collections::{BTreeSet, HashMap};

use super::Moment;
use crate::contract::{InstanceId, InstanceOutcome};

/// Names one admission of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey(pub(super) u64);

/// A job whose every id has an outcome.
#[derive(Debug)]
pub struct FinishedJob {
    pub key: JobKey,
    /// In the job's own order.
    pub outcomes: Vec<(InstanceId, InstanceOutcome)>,
    /// The most calls that any one id took part in.
    pub attempts: u32,
    /// When a call with one of its ids first failed or was refused.
    pub first_failure: Option<Moment>,
}

#[derive(Debug)]
pub(super) struct Entry {
    ids: Vec<InstanceId>,
    outcomes: Vec<Option<InstanceOutcome>>,
    open: usize,
    attempts: u32,
    first_failure: Option<Moment>,
    pub expires_at: Option<Moment>,
    /// A call with one of its ids was made.
    pub begun: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    entries: HashMap<JobKey, Entry>,
    /// When the `NotAfter` of which job must be looked at.
    expiries: BTreeSet<(Moment, JobKey)>,
    finished: Vec<FinishedJob>,
}

impl Ledger {
    pub fn open(&mut self, ids: Vec<InstanceId>, expires_at: Option<Moment>) -> JobKey {
        self.next += 1;
        let key = JobKey(self.next);
        let open = ids.len();
        let entry =
            Entry { outcomes: vec![None; open], ids, open, attempts: 0, first_failure: None, expires_at, begun: false };
        self.entries.insert(key, entry);
        self.expiries.extend(expires_at.map(|at| (at, key)));
        key
    }

    /// Jobs whose `NotAfter` has passed, each once.
    pub fn take_expired(&mut self, now: Moment) -> Vec<JobKey> {
        let mut expired = Vec::new();
        while let Some((at, key)) = self.expiries.first().copied()
            && at <= now
        {
            self.expiries.pop_first();
            expired.push(key);
        }
        expired
    }

    /// Has an expired job looked at once more.
    pub fn expire_again(&mut self, key: JobKey, at: Moment) {
        self.expiries.insert((at, key));
    }

    pub fn next_expiry(&self) -> Option<Moment> {
        self.expiries.first().map(|(at, _)| *at)
    }

    pub fn get(&self, key: JobKey) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub fn get_mut(&mut self, key: JobKey) -> Option<&mut Entry> {
        self.entries.get_mut(&key)
    }

    pub fn keys(&self) -> impl Iterator<Item = (JobKey, &Entry)> {
        self.entries.iter().map(|(key, entry)| (*key, entry))
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ids of a job that have no outcome yet, with their places.
    pub fn open_ids(&self, key: JobKey) -> Vec<(usize, InstanceId)> {
        let Some(entry) = self.entries.get(&key) else { return Vec::new() };
        let open = entry.outcomes.iter().enumerate().filter(|(_, outcome)| outcome.is_none());
        open.map(|(slot, _)| (slot, entry.ids[slot].clone())).collect()
    }

    /// Gives one id of a job its outcome; the first one given stands.
    pub fn settle(&mut self, key: JobKey, slot: usize, outcome: InstanceOutcome, calls: u32, failed: Option<Moment>) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if entry.outcomes[slot].is_some() {
            return;
        }
        entry.outcomes[slot] = Some(outcome);
        entry.open -= 1;
        entry.attempts = entry.attempts.max(calls);
        entry.first_failure = entry.first_failure.into_iter().chain(failed).min();
        if entry.open == 0 {
            self.finish(key);
        }
    }

    fn finish(&mut self, key: JobKey) {
        let Some(entry) = self.remove(key) else { return };
        let outcomes = entry.ids.into_iter().zip(entry.outcomes).filter_map(|(id, outcome)| Some((id, outcome?)));
        self.finished.push(FinishedJob {
            key,
            outcomes: outcomes.collect(),
            attempts: entry.attempts,
            first_failure: entry.first_failure,
        });
    }

    /// Forgets a job: it is somebody else's now.
    pub fn forget(&mut self, key: JobKey) {
        self.remove(key);
    }

    fn remove(&mut self, key: JobKey) -> Option<Entry> {
        let entry = self.entries.remove(&key)?;
        // An expiry that was put off stays and finds nobody: it is a second away at most.
        if let Some(at) = entry.expires_at {
            self.expiries.remove(&(at, key));
        }
        Some(entry)
    }

    pub fn take_finished(&mut self) -> Vec<FinishedJob> {
        std::mem::take(&mut self.finished)
    }
}
