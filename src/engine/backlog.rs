//! What waits for a permit, and whose turn it is. It must not know what a verdict is.
//!
//! Two kinds of lot wait: a pool of ids that may share a batch, and a course (a batch that was called before) that is due
//! again.
//! Full pools and courses go in the order of their turns. A course takes no company any more, so that it would gain nothing
//! by being put off behind fresh batches, and where permits are short no search would ever end. A part-filled pool may
//! still be joined: it goes when no full one waits, and then once it has lingered it has its turn among the courses.
//!
//! A pool that has waited `max_wait` all the same is overdue. At most every n-th permit goes to a part-filled one behind
//! others, and at most as many to a full one behind courses, since one search may cost as many calls as it has ids.
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
    /// It waited `max_wait` behind others.
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
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lot {
    Course(CallKey),
    /// A batch is sealed, for this reason.
    Pool(PoolKey, SealReason),
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
    /// Due courses, each with its turn.
    turns: HashMap<CallKey, Moment>,
    /// The same by their turns, with since when they wait.
    courses: BTreeMap<(Moment, CallKey), Moment>,
    /// Full pools by their turns, with since when their best ids wait.
    full: BTreeMap<(Moment, PoolKey), Moment>,
    part_filled: BTreeMap<(Moment, PoolKey), PartFilled>,
    /// Permits since a part-filled pool was served because it was overdue.
    since_part_filled: u32,
    /// Permits since a full pool was served.
    since_full: u32,
}

impl Backlog {
    pub fn new(linger: Duration, max_wait: Duration, overdue_share: u32) -> Self {
        Self {
            linger,
            max_wait,
            overdue_share,
            pushed: 0,
            pools: HashMap::new(),
            turns: HashMap::new(),
            courses: BTreeMap::new(),
            full: BTreeMap::new(),
            part_filled: BTreeMap::new(),
            since_part_filled: 0,
            since_full: 0,
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
            Some((true, turn)) => drop(self.full.remove(&(turn, key.clone()))),
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
            self.full.insert((*turn, key.clone()), *since);
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
        self.turns.insert(key, turn);
        self.courses.insert((turn, key), since);
    }

    /// Takes a course out, if it waits here.
    pub fn withdraw(&mut self, key: CallKey) {
        if let Some(turn) = self.turns.remove(&key) {
            self.courses.remove(&(turn, key));
        }
    }

    /// Whether a permit would be spent now. `idle`: no call is under way.
    pub fn ready(&self, now: Moment, idle: bool) -> bool {
        !self.courses.is_empty()
            || !self.full.is_empty()
            || self.part_filled.values().any(|pool| idle || pool.leaves_at <= now)
    }

    /// When a lot that is not ready now will be, if only time is missing.
    pub fn ready_at(&self) -> Option<Moment> {
        self.part_filled.values().map(|pool| pool.leaves_at).min()
    }

    /// Chooses whose turn it is and takes a course out; a pool is left for `pop` and `reorder`.
    pub fn choose(&mut self, now: Moment, idle: bool) -> Option<Lot> {
        for permits in [&mut self.since_part_filled, &mut self.since_full] {
            *permits = permits.saturating_add(1);
        }
        if self.since_part_filled >= self.overdue_share
            && let Some(pool) = self.overdue_part_filled(now)
        {
            self.since_part_filled = 0;
            return Some(Lot::Pool(pool, SealReason::Overdue));
        }
        let overdue = if self.since_full >= self.overdue_share { self.overdue_full(now) } else { None };
        let chosen = match overdue {
            Some(pool) => Lot::Pool(pool, SealReason::Full),
            None => self.in_turn(now, idle)?,
        };
        match chosen {
            Lot::Course(key) => self.withdraw(key),
            Lot::Pool(_, SealReason::Full) => self.since_full = 0,
            Lot::Pool(..) => {}
        }
        Some(chosen)
    }

    /// A part-filled pool that others are put before though it has waited `max_wait`.
    fn overdue_part_filled(&self, now: Moment) -> Option<PoolKey> {
        if self.full.is_empty() && self.courses.is_empty() {
            return None;
        }
        let overdue = self.part_filled.iter().find(|(_, pool)| pool.since + self.max_wait <= now);
        overdue.map(|((_, key), _)| key.clone())
    }

    /// The full pool whose turn is the first, if it has waited `max_wait`.
    fn overdue_full(&self, now: Moment) -> Option<PoolKey> {
        let first = self.full.first_key_value().filter(|(_, since)| **since + self.max_wait <= now);
        first.map(|((_, key), _)| key.clone())
    }

    fn in_turn(&self, now: Moment, idle: bool) -> Option<Lot> {
        let course = self.courses.keys().next();
        let pool = match self.full.keys().next() {
            Some(full) => Some((full, SealReason::Full)),
            None => self.part_filled.iter().find_map(|(place, pool)| {
                let lingered = pool.leaves_at <= now;
                let reason = if lingered { SealReason::Linger } else { SealReason::Idle };
                (lingered || idle && course.is_none()).then_some((place, reason))
            }),
        };
        match (course, pool) {
            (Some((turn, key)), Some(((pools, _), _))) if turn <= pools => Some(Lot::Course(*key)),
            (_, Some(((_, pool), reason))) => Some(Lot::Pool(pool.clone(), reason)),
            (Some((_, key)), None) => Some(Lot::Course(*key)),
            (None, None) => None,
        }
    }

    /// The calls that everything here is worth, if it left now.
    pub fn calls(&self) -> usize {
        let pools: usize = self.pools.values().map(|pool| pool.ids.len().div_ceil(MAX_IDS_PER_CALL)).sum();
        pools + self.courses.len()
    }

    /// Since when the oldest id or due course waits.
    pub fn oldest(&self) -> Option<Moment> {
        let full = self.full.values().chain(self.courses.values()).copied();
        full.chain(self.part_filled.values().map(|pool| pool.since)).min()
    }
}
