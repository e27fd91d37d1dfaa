//! What waits for a permit, and whose turn it is. It must not know what a verdict is.
//!
//! Two kinds of lot wait: a pool of ids that may share a batch, and a course (a batch that was called before) that is due
//! again.
//! Full lots go first, oldest first; part-filled ones go when no full one waits, or once they waited `max_wait`, with at
//! most every n-th permit.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::{CallKey, Moment};
use crate::contract::{GroupKey, InstanceId, MAX_IDS_PER_CALL};

/// Why a batch was sealed when it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SealReason {
    /// It could take no more.
    Full,
    /// It waited for company long enough.
    Linger,
    /// Nothing else was under way.
    Idle,
    /// It waited `max_wait` behind full ones.
    Overdue,
    /// It was called before and could not be settled.
    Retry,
    /// It is part of a batch that was refused.
    Split,
}

impl SealReason {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Linger => "linger",
            Self::Idle => "idle",
            Self::Overdue => "overdue",
            Self::Retry => "retry",
            Self::Split => "split",
        }
    }
}

/// Ids that may share a batch: those of a group, and of these the told suspects apart from the fresh ones.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct PoolKey {
    pub group: Arc<GroupKey>,
    pub suspects: bool,
}

impl PoolKey {
    pub fn new(group: &Arc<GroupKey>, suspects: bool) -> Self {
        Self { group: Arc::clone(group), suspects }
    }
}

/// What a permit is spent on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lot {
    Course(CallKey),
    Pool(PoolKey),
}

#[derive(Debug, Default)]
struct Pool {
    ids: VecDeque<(InstanceId, Moment)>,
    /// Where the pool stands in the order: full or not, and since when its oldest id waits.
    place: Option<(bool, Moment)>,
}

#[derive(Debug)]
pub(super) struct Backlog {
    linger: Duration,
    max_wait: Duration,
    overdue_share: u32,
    pools: HashMap<PoolKey, Pool>,
    full: BTreeSet<(Moment, Lot)>,
    part_filled: BTreeSet<(Moment, Lot)>,
    /// Part-filled courses stand in `part_filled` too; they need not linger.
    part_filled_courses: BTreeSet<(Moment, CallKey)>,
    permits_since_overdue: u32,
}

impl Backlog {
    pub fn new(linger: Duration, max_wait: Duration, overdue_share: u32) -> Self {
        Self {
            linger,
            max_wait,
            overdue_share,
            pools: HashMap::new(),
            full: BTreeSet::new(),
            part_filled: BTreeSet::new(),
            part_filled_courses: BTreeSet::new(),
            permits_since_overdue: 0,
        }
    }

    /// Adds an id to a pool.
    pub fn push(&mut self, key: &PoolKey, id: InstanceId, now: Moment) {
        let pool = match self.pools.get_mut(key) {
            Some(pool) => pool,
            None => self.pools.entry(key.clone()).or_default(),
        };
        pool.ids.push_back((id, now));
        if matches!(pool.ids.len(), 1 | MAX_IDS_PER_CALL) {
            self.reorder(key);
        }
    }

    /// Takes the oldest id of a pool.
    pub fn pop(&mut self, key: &PoolKey) -> Option<(InstanceId, Moment)> {
        self.pools.get_mut(key)?.ids.pop_front()
    }

    /// Puts a pool in its place again after ids were taken out; forgets it when it is empty.
    pub fn reorder(&mut self, key: &PoolKey) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        let lot = Lot::Pool(key.clone());
        if let Some((full, since)) = pool.place.take() {
            if full { &mut self.full } else { &mut self.part_filled }.remove(&(since, lot.clone()));
        }
        match pool.ids.front() {
            None => drop(self.pools.remove(key)),
            Some((_, since)) => {
                let (full, since) = (pool.ids.len() >= MAX_IDS_PER_CALL, *since);
                pool.place = Some((full, since));
                if full { &mut self.full } else { &mut self.part_filled }.insert((since, lot));
            }
        }
    }

    /// Takes the ids out of a pool that nobody wants any more.
    pub fn sweep(&mut self, key: &PoolKey, wanted: impl Fn(&InstanceId) -> bool) -> Vec<InstanceId> {
        let Some(pool) = self.pools.get_mut(key) else { return Vec::new() };
        let (kept, unwanted): (Vec<_>, Vec<_>) = pool.ids.drain(..).partition(|(id, _)| wanted(id));
        pool.ids = kept.into();
        self.reorder(key);
        unwanted.into_iter().map(|(id, _)| id).collect()
    }

    /// A course is due: its next call carries `size` ids, the oldest of which waits since `since`.
    pub fn push_course(&mut self, key: CallKey, since: Moment, size: usize) {
        if size >= MAX_IDS_PER_CALL {
            self.full.insert((since, Lot::Course(key)));
        } else {
            self.part_filled.insert((since, Lot::Course(key)));
            self.part_filled_courses.insert((since, key));
        }
    }

    /// Whether a permit would be spent now. `idle`: no call is under way.
    pub fn ready(&self, now: Moment, idle: bool) -> bool {
        !self.full.is_empty()
            || !self.part_filled_courses.is_empty()
            || self.part_filled.first().is_some_and(|(since, _)| idle || *since + self.linger <= now)
    }

    /// When a lot that is not ready now will be, if only time is missing.
    pub fn ready_at(&self) -> Option<Moment> {
        self.part_filled.first().map(|(since, _)| *since + self.linger)
    }

    /// Chooses whose turn it is and takes a course out; a pool is left for `pop` and `reorder`. The reason is a pool's: what
    /// a course is called for it knows itself.
    pub fn choose(&mut self, now: Moment, idle: bool) -> Option<(Lot, SealReason)> {
        let oldest_part = self.part_filled.first();
        let overdue = oldest_part.is_some_and(|(since, _)| *since + self.max_wait <= now);
        self.permits_since_overdue = self.permits_since_overdue.saturating_add(1);
        if let Some((since, lot)) = self.full.first().cloned()
            && !(overdue && self.permits_since_overdue >= self.overdue_share)
        {
            self.take(since, &lot);
            return Some((lot, SealReason::Full));
        }
        let (since, lot) = match oldest_part {
            Some((since, lot)) if idle || *since + self.linger <= now => (*since, lot.clone()),
            _ => {
                let (since, key) = self.part_filled_courses.first().copied()?;
                (since, Lot::Course(key))
            }
        };
        let reason = if overdue {
            SealReason::Overdue
        } else if since + self.linger <= now {
            SealReason::Linger
        } else {
            SealReason::Idle
        };
        self.permits_since_overdue = 0;
        self.take(since, &lot);
        Some((lot, reason))
    }

    fn take(&mut self, since: Moment, lot: &Lot) {
        if let Lot::Course(key) = lot {
            self.full.remove(&(since, lot.clone()));
            self.part_filled.remove(&(since, lot.clone()));
            self.part_filled_courses.remove(&(since, *key));
        }
    }

    /// The calls that everything here is worth, if it left now.
    pub fn calls(&self) -> usize {
        let pools: usize = self.pools.values().map(|pool| pool.ids.len().div_ceil(MAX_IDS_PER_CALL)).sum();
        let full_courses = self.full.iter().filter(|(_, lot)| matches!(lot, Lot::Course(_))).count();
        pools + full_courses + self.part_filled_courses.len()
    }

    /// Since when the oldest fresh id or due course waits.
    pub fn oldest(&self) -> Option<Moment> {
        let full = self.full.first().map(|(since, _)| *since);
        let part = self.part_filled.first().map(|(since, _)| *since);
        full.into_iter().chain(part).min()
    }
}
