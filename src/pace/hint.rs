//! What an operator or an autoscaler may know of a backlog: what holds it up, how long it takes, how many workers help.
//! Told from what was seen of late: which permits were used and which fell due in vain, and how many calls it took at a
//! time to use them.

use std::collections::VecDeque;
use std::time::Duration;

use crate::engine::Moment;

/// What keeps a backlog from going faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The permits are used, or what waits can't go yet: another worker changes nothing.
    Quota,
    /// Permits go unused while work waits, or there are more than anybody can use: more workers would.
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
    /// Until everything known is called, at today's rate; none where it can't be told: calls don't go at all, or none was
    /// answered yet where only that tells the rate.
    pub drain: Option<Duration>,
    /// How many workers make the most of the quota for what waits; 0 when nothing does.
    pub useful_workers: u32,
}

/// What waits, in calls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backlog {
    /// Worth a permit now.
    pub calls: u64,
    /// Worth one once their wait is over: for a retry, or for what a query says of them.
    pub later: u64,
    /// The calls that each comes to, with the retries and searches that follow it.
    pub cost: f64,
}

/// Permits since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Permits {
    pub used: u64,
    /// Fell due, and nothing was ready to use them or had a place beside the calls under way.
    pub idle: u64,
}

/// What "of late" means.
const LATELY: Duration = Duration::from_secs(30);

/// From this part of the permits on they count as used.
const USED_UP: f64 = 0.9;

/// Where there is no limit: from this part of the time on, spent with no place for another call, workers are too few.
const MOSTLY: f64 = 0.5;

/// What is seen in so many seconds, or of so many permits, is too little to go by.
const MOMENTARY: f64 = 1.0;
const FEW: f64 = 3.0;

/// How an account stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stand {
    /// Here, in the queues and with the others.
    pub backlog: Backlog,
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
    /// For how long work waited for a place beside the calls under way, in seconds.
    pub full: f64,
}

#[derive(Debug, Default)]
pub(super) struct Lately {
    seen: VecDeque<(Moment, Seen)>,
}

impl Lately {
    pub fn hint(&mut self, seen: Seen, stand: Stand, now: Moment) -> Hint {
        // A permit that falls due while nothing waits says nothing of the time in which something does.
        if stand.backlog.calls == 0 {
            self.seen.clear();
        }
        // The newest of the old ones stays, to count from.
        while self.seen.get(1).is_some_and(|(at, _)| *at + LATELY <= now) {
            self.seen.pop_front();
        }
        if self.seen.back().is_none_or(|(at, _)| *at + LATELY / 30 <= now) {
            self.seen.push_back((now, seen));
        }
        let (from, before) = self.seen.front().copied().unwrap_or((now, seen));
        judge(before, seen, now.saturating_sub(from), stand)
    }
}

fn judge(before: Seen, seen: Seen, lasted: Duration, stand: Stand) -> Hint {
    let Backlog { calls, later, cost } = stand.backlog;
    if calls + later == 0 {
        return Hint { bound: Bound::Nothing, drain: Some(Duration::ZERO), useful_workers: 0 };
    }
    let (lasted, at_a_time) = (lasted.as_secs_f64(), stand.at_a_time as f64);
    let unlimited = stand.quota.is_infinite();
    let used = (seen.used - before.used) as f64;
    let due = used + seen.idle - before.idle;
    let use_of_permits = if calls == 0 || lasted < MOMENTARY || due < FEW { 1.0 } else { used / due };
    let too_few = if unlimited {
        lasted >= MOMENTARY && seen.full - before.full >= MOSTLY * lasted
    } else {
        use_of_permits < USED_UP
    };
    let bound = if stand.open && calls > 0 && too_few { Bound::Workers } else { Bound::Quota };
    // The last ones tell best how long a call takes; where there are none yet, all do.
    let since = if seen.answered > before.answered { before } else { Seen::default() };
    let (calling, answered) = (seen.calling - since.calling, (seen.answered - since.answered) as f64);
    let rate = if unlimited { at_a_time * answered / calling } else { stand.quota * use_of_permits };
    let drain = (calls + later) as f64 * cost / rate;
    let useful = match bound {
        // Another worker that would have less to do than that is not worth its start.
        Bound::Workers if unlimited && drain.is_finite() => {
            (calls as f64 / at_a_time).min(drain / LATELY.as_secs_f64())
        }
        Bound::Workers => stand.workers as f64 / use_of_permits.max(0.01),
        _ => (stand.quota * calling / answered.max(1.0) / at_a_time).min(stand.workers as f64),
    };
    Hint {
        bound,
        drain: if stand.open { Duration::try_from_secs_f64(drain).ok() } else { None },
        useful_workers: (useful.ceil() as u32).clamp(1, u32::try_from(calls.max(1)).unwrap_or(u32::MAX)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKLOG: Backlog = Backlog { calls: 600, later: 0, cost: 1.0 };
    const STAND: Stand = Stand { backlog: BACKLOG, quota: 10.0, open: true, workers: 4, at_a_time: 8 };
    const NOTHING: Backlog = Backlog { calls: 0, ..BACKLOG };

    fn seen(used: u64, idle: f64, seconds_a_call: f64) -> Seen {
        Seen { used, idle, calling: used as f64 * seconds_a_call, answered: used, full: 0.0 }
    }

    fn judge(seen: Seen, stand: Stand) -> Hint {
        super::judge(Seen::default(), seen, LATELY, stand)
    }

    #[test]
    fn a_backlog_whose_permits_are_used_is_bound_by_the_quota_and_needs_no_more_workers() {
        // 10 calls a second of 2 s each are 20 at a time: three workers of 8.
        let hint = judge(seen(300, 0.0, 2.0), STAND);
        assert_eq!(hint, Hint { bound: Bound::Quota, drain: Some(Duration::from_secs(60)), useful_workers: 3 });
        let slow = judge(seen(300, 0.0, 60.0), STAND);
        assert_eq!(slow.useful_workers, 4);
    }

    #[test]
    fn a_backlog_beside_which_permits_go_unused_is_bound_by_the_workers() {
        let hint = judge(seen(100, 200.0, 2.0), STAND);
        assert_eq!((hint.bound, hint.useful_workers), (Bound::Workers, 12));
        assert_eq!(hint.drain.unwrap().as_secs(), 180);
    }

    #[test]
    fn a_few_calls_need_no_more_workers_than_calls_and_nothing_needs_none() {
        let few = judge(seen(100, 200.0, 2.0), Stand { backlog: Backlog { calls: 2, ..BACKLOG }, ..STAND });
        assert_eq!(few.useful_workers, 2);
        let nothing = judge(seen(100, 200.0, 2.0), Stand { backlog: NOTHING, ..STAND });
        assert_eq!((nothing.bound, nothing.useful_workers), (Bound::Nothing, 0));
    }

    #[test]
    fn while_calls_can_not_go_no_time_is_told() {
        let hint = judge(seen(0, 0.0, 0.0), Stand { open: false, ..STAND });
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

    #[test]
    fn permits_that_nobody_wanted_while_nothing_waited_do_not_count_when_work_comes() {
        let (mut lately, mut idle) = (Lately::default(), 0.0);
        let mut hint = |half_seconds: u32, backlog, used| {
            idle += if used == 0 { 5.0 } else { 0.0 };
            lately.hint(seen(used, idle, 1.0), Stand { backlog, ..STAND }, Duration::from_millis(500) * half_seconds)
        };
        for half_seconds in 0..120 {
            assert_eq!(hint(half_seconds, NOTHING, 0).bound, Bound::Nothing);
        }
        for half_seconds in 120..180 {
            let used = u64::from(half_seconds - 120) * 5 + 1;
            let told = hint(half_seconds, BACKLOG, used);
            assert_eq!((told.bound, told.drain.unwrap().as_secs()), (Bound::Quota, 60), "{half_seconds}");
        }
    }

    #[test]
    fn what_only_waits_for_its_retry_is_told_of_and_needs_no_further_worker() {
        let later = Backlog { calls: 0, later: 600, cost: 1.0 };
        let hint = judge(seen(0, 300.0, 0.0), Stand { backlog: later, ..STAND });
        assert_eq!((hint.bound, hint.useful_workers), (Bound::Quota, 1));
        assert!(hint.drain.unwrap() >= Duration::from_secs(60));
    }

    #[test]
    fn a_backlog_whose_batches_cost_many_calls_takes_as_many_times_as_long() {
        let costly = Backlog { cost: 15.0, ..BACKLOG };
        let hint = judge(seen(300, 0.0, 2.0), Stand { backlog: costly, ..STAND });
        assert_eq!((hint.bound, hint.drain.unwrap().as_secs(), hint.useful_workers), (Bound::Quota, 900, 3));
    }

    #[test]
    fn without_a_limit_it_is_the_workers_that_are_too_few_once_each_call_waits_for_a_place() {
        // 8 at a time of 2 s each are 4 a second.
        let saturated = Seen { full: 29.0, ..seen(120, 0.0, 2.0) };
        let stand = Stand { quota: f64::INFINITY, workers: 1, ..STAND };
        let hint = judge(saturated, stand);
        assert_eq!(hint, Hint { bound: Bound::Workers, drain: Some(Duration::from_secs(150)), useful_workers: 5 });
        let few = judge(saturated, Stand { backlog: Backlog { calls: 9, ..BACKLOG }, ..stand });
        assert_eq!(few.useful_workers, 1, "what is over in a moment needs nobody else");
        let ample = judge(seen(120, 0.0, 2.0), stand);
        assert_eq!((ample.bound, ample.useful_workers), (Bound::Quota, 1));
        assert_eq!(judge(seen(0, 0.0, 0.0), stand).drain, None, "no call was answered yet");
    }
}
