//! What an operator or an autoscaler may know of a backlog: what holds it up, how long it takes, how many workers help.
//! Told from what was seen of late: which permits were used and which fell due in vain, and how many calls it took at a
//! time to use them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::Moment;

/// What keeps a backlog from going faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The permits are used, or calls can't go: another worker changes nothing.
    Quota,
    /// Permits go unused while work waits: more workers would use them.
    Workers,
    /// Nothing waits.
    Nothing,
}

impl Bound {
    pub const ALL: [Self; 3] = [Self::Quota, Self::Workers, Self::Nothing];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quota => "quota",
            Self::Workers => "workers",
            Self::Nothing => "nothing",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    pub bound: Bound,
    /// Until everything known is called, at today's rate; none where it can't be told: calls don't go at all.
    pub drain: Option<Duration>,
    /// How many workers make the most of the quota for what waits; 0 when nothing does.
    pub useful_workers: u32,
}

/// Permits since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permits {
    pub used: u64,
    /// Fell due while nothing was ready to use them.
    pub idle: u64,
}

/// What "of late" means.
const LATELY: Duration = Duration::from_secs(30);

/// From this part of the permits on they count as used.
const USED_UP: f64 = 0.9;

/// How an account stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// Calls that wait, here, in the queue and with the others.
    pub calls: u64,
    /// Calls a second that the account takes.
    pub quota: f64,
    /// Calls can go at all.
    pub open: bool,
    pub workers: usize,
    /// What a worker has under way at most.
    pub at_a_time: usize,
}

/// What was seen at a moment, all since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub used: u64,
    /// Permits that fell due while nothing was ready to use them, parts included.
    pub idle: f64,
    /// The calls' time, in seconds.
    pub calling: f64,
    pub answered: u64,
}

#[derive(Debug, Default)]
pub(super) struct Lately {
    seen: VecDeque<(Moment, Seen)>,
}

impl Lately {
    pub fn hint(&mut self, seen: Seen, stand: Stand, now: Moment) -> Hint {
        // The newest of the old ones stays, to count from.
        while self.seen.get(1).is_some_and(|(at, _)| *at + LATELY <= now) {
            self.seen.pop_front();
        }
        if self.seen.back().is_none_or(|(at, _)| *at + LATELY / 30 <= now) {
            self.seen.push_back((now, seen));
        }
        let before = self.seen.front().map_or(seen, |(_, seen)| *seen);
        judge(before, seen, stand)
    }
}

fn judge(before: Seen, seen: Seen, stand: Stand) -> Hint {
    if stand.calls == 0 {
        return Hint { bound: Bound::Nothing, drain: Some(Duration::ZERO), useful_workers: 0 };
    }
    let used = (seen.used - before.used) as f64;
    let idle = seen.idle - before.idle;
    let use_of_permits = if used + idle < 1.0 { 1.0 } else { used / (used + idle) };
    let bound = if !stand.open || use_of_permits >= USED_UP { Bound::Quota } else { Bound::Workers };
    let useful = match bound {
        Bound::Workers => stand.workers as f64 / use_of_permits.max(0.01),
        _ => {
            let answered = (seen.answered - before.answered).max(1) as f64;
            let under_way = stand.quota * (seen.calling - before.calling) / answered;
            (under_way / stand.at_a_time as f64).min(stand.workers as f64)
        }
    };
    let drain = stand.calls as f64 / (stand.quota * use_of_permits);
    Hint {
        bound,
        drain: if stand.open { Duration::try_from_secs_f64(drain).ok() } else { None },
        useful_workers: (useful.ceil() as u32).clamp(1, u32::try_from(stand.calls).unwrap_or(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAND: Stand = Stand { calls: 600, quota: 10.0, open: true, workers: 4, at_a_time: 8 };

    fn seen(used: u64, idle: f64, seconds_a_call: f64) -> Seen {
        Seen { used, idle, calling: used as f64 * seconds_a_call, answered: used }
    }

    #[test]
    fn a_backlog_whose_permits_are_used_is_bound_by_the_quota_and_needs_no_more_workers() {
        // 10 calls a second of 2 s each are 20 at a time: three workers of 8.
        let hint = judge(Seen::default(), seen(300, 0.0, 2.0), STAND);
        assert_eq!(hint, Hint { bound: Bound::Quota, drain: Some(Duration::from_secs(60)), useful_workers: 3 });
        let slow = judge(Seen::default(), seen(300, 0.0, 60.0), STAND);
        assert_eq!(slow.useful_workers, 4);
    }

    #[test]
    fn a_backlog_beside_which_permits_go_unused_is_bound_by_the_workers() {
        let hint = judge(Seen::default(), seen(100, 200.0, 2.0), STAND);
        assert_eq!((hint.bound, hint.useful_workers), (Bound::Workers, 12));
        assert_eq!(hint.drain.unwrap().as_secs(), 180);
    }

    #[test]
    fn a_few_calls_need_no_more_workers_than_calls_and_nothing_needs_none() {
        let few = judge(Seen::default(), seen(100, 200.0, 2.0), Stand { calls: 2, ..STAND });
        assert_eq!(few.useful_workers, 2);
        let nothing = judge(Seen::default(), seen(100, 200.0, 2.0), Stand { calls: 0, ..STAND });
        assert_eq!((nothing.bound, nothing.useful_workers), (Bound::Nothing, 0));
    }

    #[test]
    fn while_calls_can_not_go_no_time_is_told() {
        let hint = judge(Seen::default(), seen(0, 0.0, 0.0), Stand { open: false, ..STAND });
        assert_eq!((hint.bound, hint.drain), (Bound::Quota, None));
    }

    #[test]
    fn what_was_long_ago_counts_no_more() {
        let mut lately = Lately::default();
        let mut hint = lately.hint(Seen::default(), STAND, Duration::ZERO);
        for second in 1..=100 {
            let used = if second <= 50 { 0 } else { (second - 50) * 10 };
            let idle = 10.0 * second.min(50) as f64;
            hint = lately.hint(seen(used, idle, 1.0), STAND, Duration::from_secs(second));
        }
        assert_eq!(hint.bound, Bound::Quota);
    }
}
