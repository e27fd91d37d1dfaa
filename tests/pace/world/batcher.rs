//! What others do: a batch is sealed when it has 100 ids, or so long after its first, and then waits for a permit. So work
//! Broadway's `batch_size` and `batch_timeout`, Redpanda Connect's `batching.count` and `period`, and celery-batches'
//! `flush_every` and `flush_interval`, each with a rate limit behind it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bulkrelease::engine::Moment;

use super::heart::Sealed;

#[derive(Debug, Default)]
struct Batch {
    group: usize,
    /// Ids by job.
    parts: Vec<(usize, u64)>,
    ids: u64,
    since: Moment,
}

#[derive(Debug)]
pub struct Batcher {
    time: Duration,
    filling: BTreeMap<usize, Batch>,
    sealed: VecDeque<Batch>,
    called: HashMap<u64, Batch>,
    owed: HashMap<usize, u64>,
    finished: Vec<usize>,
}

impl Batcher {
    pub fn new(time: Duration) -> Self {
        Self {
            time,
            filling: BTreeMap::new(),
            sealed: VecDeque::new(),
            called: HashMap::new(),
            owed: HashMap::new(),
            finished: Vec::new(),
        }
    }

    pub fn admit(&mut self, job: usize, group: usize, ids: u64, now: Moment) {
        self.flush(now);
        self.owed.insert(job, ids);
        let mut left = ids;
        while left > 0 {
            let batch = self.filling.entry(group).or_insert_with(|| Batch { group, since: now, ..Batch::default() });
            let part = left.min(100 - batch.ids);
            batch.parts.push((job, part));
            batch.ids += part;
            left -= part;
            if batch.ids == 100 {
                self.sealed.extend(self.filling.remove(&group));
            }
        }
    }

    fn flush(&mut self, now: Moment) {
        let due: Vec<_> =
            self.filling.iter().filter(|(_, batch)| batch.since + self.time <= now).map(|(group, _)| *group).collect();
        for group in due {
            self.sealed.extend(self.filling.remove(&group));
        }
    }

    pub fn ready(&mut self, now: Moment) -> bool {
        self.flush(now);
        !self.sealed.is_empty()
    }

    pub fn seal(&mut self, key: u64, now: Moment) -> Option<Sealed> {
        let batch = self.sealed.pop_front()?;
        let sealed = Sealed { group: batch.group, ids: batch.ids as usize, waited: now.saturating_sub(batch.since) };
        self.called.insert(key, batch);
        Some(sealed)
    }

    pub fn verdict(&mut self, key: u64, released: bool) {
        let Some(batch) = self.called.remove(&key) else { return };
        if !released {
            return self.sealed.push_front(batch);
        }
        for (job, ids) in batch.parts {
            let owed = self.owed.get_mut(&job).expect("a job that is called is owed");
            *owed -= ids;
            if *owed == 0 {
                self.owed.remove(&job);
                self.finished.push(job);
            }
        }
    }

    pub fn finished(&mut self) -> Vec<usize> {
        std::mem::take(&mut self.finished)
    }

    pub fn waiting_calls(&self) -> u64 {
        self.sealed.len() as u64
    }

    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        self.filling.values().map(|batch| batch.since + self.time).filter(|at| *at > now).min()
    }
}
