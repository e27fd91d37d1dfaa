//! What waits for a permit, and whose turn it is. It must not know what a verdict is.
//!
//! Two kinds of lot wait: a pool of ids that may share a batch, and a course (a batch that was called before) that is due
//! again.
//! Full lots go first, in the order of their turns; part-filled ones go when no full one waits, or once they waited
//! `max_wait`, with at most every n-th permit. A course takes no company any more, so it counts as full whatever its size:
//! put off behind fresh batches it would gain nothing, and where permits are short no search would ever end.
//!
//! A turn is when a job first came, and later by a head start for each step that its priority is below the highest. So
//! whoever comes later than that never goes before an id, whatever its priority: nobody waits for ever. A pool, and a
//! batch, has the turn of its best id.

use std::collections::{BTreeMap, HashMap, HashSet};
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

/// An id that waits in a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Waiting {
    pub id: InstanceId,
    /// Since when, in this process.
    pub since: Moment,
    pub turn: Moment,
}

#[derive(Debug, Default)]
struct Pool {
    /// By their turns; of equal ones the first that came goes first.
    ids: BTreeMap<(Moment, u64), (InstanceId, Moment)>,
    /// Where the pool stands in the order: full or not, and its turn.
    place: Option<(bool, Moment)>,
}

/// A pool that is not full.
#[derive(Debug, Clone, Copy)]
struct PartFilled {
    since: Moment,
    /// From when on it may leave.
    leaves_at: Moment,
}

#[derive(Debug)]
pub(super) struct Backlog {
    linger: Duration,
    max_wait: Duration,
    overdue_share: u32,
    pushed: u64,
    pools: HashMap<PoolKey, Pool>,
    /// The turns of due courses.
    courses: HashMap<CallKey, Moment>,
    /// Full lots by their turns, with how long they wait.
    full: BTreeMap<(Moment, Lot), Moment>,
    part_filled: BTreeMap<(Moment, PoolKey), PartFilled>,
    permits_since_overdue: u32,
}

impl Backlog {
    pub fn new(linger: Duration, max_wait: Duration, overdue_share: u32) -> Self {
        Self {
            linger,
            max_wait,
            overdue_share,
            pushed: 0,
            pools: HashMap::new(),
            courses: HashMap::new(),
            full: BTreeMap::new(),
            part_filled: BTreeMap::new(),
            permits_since_overdue: 0,
        }
    }

    /// Adds an id to a pool.
    pub fn push(&mut self, key: &PoolKey, Waiting { id, since, turn }: Waiting) {
        let pool = match self.pools.get_mut(key) {
            Some(pool) => pool,
            None => self.pools.entry(key.clone()).or_default(),
        };
        self.pushed += 1;
        pool.ids.insert((turn, self.pushed), (id, since));
        let first = pool.place.is_none_or(|(_, best)| turn < best);
        if first || pool.ids.len() == MAX_IDS_PER_CALL {
            self.reorder(key);
        }
    }

    /// Takes the id out of a pool whose turn it is.
    pub fn pop(&mut self, key: &PoolKey) -> Option<Waiting> {
        let ((turn, _), (id, since)) = self.pools.get_mut(key)?.ids.pop_first()?;
        Some(Waiting { id, since, turn })
    }

    /// Gives ids of a pool a better turn, because somebody wants them sooner.
    pub fn hasten(&mut self, key: &PoolKey, ids: &HashSet<InstanceId>, turn: Moment) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        let places: Vec<_> = pool.ids.iter().filter(|(_, (id, _))| ids.contains(id)).map(|(place, _)| *place).collect();
        for place in places {
            if let Some(waiting) = pool.ids.remove(&place) {
                pool.ids.insert((turn.min(place.0), place.1), waiting);
            }
        }
        self.reorder(key);
    }

    /// Puts a pool in its place again after ids were taken out; forgets it when it is empty.
    pub fn reorder(&mut self, key: &PoolKey) {
        let Some(pool) = self.pools.get_mut(key) else { return };
        match pool.place.take() {
            Some((true, turn)) => drop(self.full.remove(&(turn, Lot::Pool(key.clone())))),
            Some((false, turn)) => drop(self.part_filled.remove(&(turn, key.clone()))),
            None => {}
        }
        let Some(((turn, _), (_, since))) = pool.ids.first_key_value() else {
            self.pools.remove(key);
            return;
        };
        let full = pool.ids.len() >= MAX_IDS_PER_CALL;
        pool.place = Some((full, *turn));
        if full {
            self.full.insert((*turn, Lot::Pool(key.clone())), *since);
        } else {
            let since = pool.ids.values().map(|(_, since)| *since).min().unwrap_or(*since);
            self.part_filled.insert((*turn, key.clone()), PartFilled { since, leaves_at: since + self.linger });
        }
    }

    /// Takes the ids out of a pool that nobody wants any more.
    pub fn sweep(&mut self, key: &PoolKey, wanted: impl Fn(&InstanceId) -> bool) -> Vec<InstanceId> {
        let Some(pool) = self.pools.get_mut(key) else { return Vec::new() };
        let (kept, unwanted): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut pool.ids).into_iter().partition(|(_, (id, _))| wanted(id));
        pool.ids = kept;
        self.reorder(key);
        unwanted.into_values().map(|(id, _)| id).collect()
    }

    /// A course is due; the oldest of its ids waits since `since`.
    pub fn push_course(&mut self, key: CallKey, since: Moment, turn: Moment) {
        self.courses.insert(key, turn);
        self.full.insert((turn, Lot::Course(key)), since);
    }

    /// Takes a course out, if it waits here.
    pub fn withdraw(&mut self, key: CallKey) {
        if let Some(turn) = self.courses.remove(&key) {
            self.full.remove(&(turn, Lot::Course(key)));
        }
    }

    /// Whether a permit would be spent now. `idle`: no call is under way.
    pub fn ready(&self, now: Moment, idle: bool) -> bool {
        !self.full.is_empty() || self.part_filled.values().any(|lot| idle || lot.leaves_at <= now)
    }

    /// When a lot that is not ready now will be, if only time is missing.
    pub fn ready_at(&self) -> Option<Moment> {
        self.part_filled.values().map(|lot| lot.leaves_at).min()
    }

    /// Chooses whose turn it is and takes a course out; a pool is left for `pop` and `reorder`. The reason is a pool's: what
    /// a course is called for it knows itself.
    pub fn choose(&mut self, now: Moment, idle: bool) -> Option<(Lot, SealReason)> {
        self.permits_since_overdue = self.permits_since_overdue.saturating_add(1);
        let full = self.full.first_key_value().map(|((_, lot), _)| lot.clone());
        let part_filled = |may_go: &dyn Fn(&PartFilled) -> bool| {
            let found = self.part_filled.iter().find(|(_, one)| may_go(one));
            found.map(|((_, pool), one)| (Lot::Pool(pool.clone()), one.leaves_at))
        };
        let overdue = part_filled(&|one| one.since + self.max_wait <= now);
        let chosen = match (full, overdue) {
            (Some(_), Some((lot, _))) if self.permits_since_overdue >= self.overdue_share => (lot, SealReason::Overdue),
            (Some(lot), _) => (lot, SealReason::Full),
            (None, _) => {
                let (lot, leaves_at) = part_filled(&|one| idle || one.leaves_at <= now)?;
                (lot, if leaves_at <= now { SealReason::Linger } else { SealReason::Idle })
            }
        };
        if chosen.1 != SealReason::Full {
            self.permits_since_overdue = 0;
        }
        if let Lot::Course(key) = chosen.0 {
            self.withdraw(key);
        }
        Some(chosen)
    }

    /// The calls that everything here is worth, if it left now.
    pub fn calls(&self) -> usize {
        let pools: usize = self.pools.values().map(|pool| pool.ids.len().div_ceil(MAX_IDS_PER_CALL)).sum();
        pools + self.courses.len()
    }

    /// Since when the oldest id or due course waits.
    pub fn oldest(&self) -> Option<Moment> {
        self.full.values().copied().chain(self.part_filled.values().map(|lot| lot.since)).min()
    }
}
