//! A few workers that hear each other's beacons, in steps of ten milliseconds.

use std::collections::VecDeque;
use std::time::Duration;

use super::*;
use crate::config::CallsPerSecond;
use crate::contract::{AccountName, Evidence, Verdict};
use crate::engine::Moment;

const STEP: Duration = Duration::from_millis(10);
const RATE: f64 = 10.0;

struct Worker {
    pace: Pace,
    me: Member,
    from: Moment,
    /// Calls that its waiting work is worth.
    need: u64,
    calls: u32,
    /// Its beacons reach everyone who is connected too and on the same side of the broker, itself included.
    connected: bool,
    side: u8,
}

struct Bus {
    now: Moment,
    workers: Vec<Worker>,
}

fn seconds(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

fn delays() -> Delays {
    let policy = DelayPolicy {
        initial_interval: Duration::from_millis(500),
        multiplier: 2.0,
        max_interval: Duration::from_secs(30),
    };
    Delays::new(policy, fastrand::Rng::with_seed(1))
}

fn settings(calls_per_second: CallsPerSecond) -> PaceSettings {
    PaceSettings {
        account: AccountName::default(),
        calls_per_second,
        burst: 1,
        max_in_flight_calls: 8,
        fleet: Some(Rhythm::default()),
    }
}

impl Bus {
    fn of(workers: u64) -> Self {
        let mut bus = Self { now: Moment::ZERO, workers: Vec::new() };
        (0..workers).for_each(|_| bus.join());
        bus
    }

    fn join(&mut self) {
        let born = self.workers.len() as u64;
        let me = Member { born, name: format!("w{born}") };
        let pace = Pace::new(settings(CallsPerSecond::Limited(RATE)), me.clone(), delays(), Moment::ZERO);
        self.workers.push(Worker { pace, me, from: self.now, need: 0, calls: 0, connected: true, side: 0 });
    }

    /// Lets time pass; the calls that each made in it.
    fn run(&mut self, lasts: f64) -> Vec<u32> {
        let end = self.now + seconds(lasts);
        self.workers.iter_mut().for_each(|worker| worker.calls = 0);
        while self.now < end {
            self.now += STEP;
            let mut sent = Vec::new();
            for worker in &mut self.workers {
                let own = self.now - worker.from;
                while worker.need > 0 && worker.pace.take(own).is_ok() {
                    worker.calls += 1;
                    worker.pace.learn(&Verdict::Released(Evidence::own("Success", "")), None, own);
                }
                if worker.need == 0 {
                    worker.pace.rest(own);
                }
                if worker.pace.beacon_at(own).is_some_and(|at| at <= own) {
                    let beacon = Beacon::new(worker.me.clone(), own, vec![worker.pace.beacon(worker.need, own)]);
                    sent.extend(worker.connected.then_some((beacon, worker.side)));
                }
            }
            for (beacon, side) in sent {
                self.spread(&beacon, side);
            }
        }
        self.workers.iter().map(|worker| worker.calls).collect()
    }

    fn spread(&mut self, beacon: &Beacon, side: u8) {
        for worker in self.workers.iter_mut().filter(|worker| worker.connected && worker.side == side) {
            worker.pace.hear(beacon, self.now - worker.from);
        }
    }
}

fn about(calls: u32, expected: f64) -> bool {
    (f64::from(calls) - expected).abs() <= 2.0
}

#[test]
fn a_newcomer_takes_nothing_before_it_has_listened_and_then_begins_without_a_burst() {
    let mut bus = Bus::of(1);
    bus.workers[0].need = 1000;
    assert_eq!(bus.run(5.9), [0]);
    let calls = bus.run(10.0);
    assert!(about(calls[0], 98.0), "{calls:?}");
    bus.join();
    bus.workers[1].need = 1000;
    let calls = bus.run(5.9);
    assert!(about(calls[0], 59.0) && calls[1] == 0, "{calls:?}");
    bus.run(3.0);
    let calls = bus.run(10.0);
    assert!(about(calls[0], 50.0) && about(calls[1], 50.0), "{calls:?}");
}

#[test]
fn a_worker_with_nothing_to_do_leaves_its_part_to_the_others_and_takes_it_back() {
    let mut bus = Bus::of(3);
    bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
    bus.run(10.0);
    bus.workers[1].need = 0;
    bus.run(2.5);
    let calls = bus.run(10.0);
    assert!(about(calls[0], 50.0) && calls[1] == 0 && about(calls[2], 50.0), "{calls:?}");
    bus.workers[1].need = 1000;
    bus.run(2.5);
    let calls = bus.run(9.0);
    assert!(calls.iter().all(|calls| about(*calls, 30.0)), "{calls:?}");
    assert!((bus.workers[1].pace.share() - 0.333).abs() < 0.1, "{}", bus.workers[1].pace.share());
}

#[test]
fn work_that_comes_to_an_idle_fleet_is_called_within_a_second() {
    let mut bus = Bus::of(8);
    bus.run(20.0);
    for worker in 0..8 {
        bus.workers[worker].need = 1;
        let mut waited = 0.0;
        while bus.workers[worker].calls == 0 {
            bus.run(0.01);
            waited += 0.01;
            assert!(waited < 1.0, "worker {worker}");
        }
        bus.workers[worker].need = 0;
        bus.run(3.0);
    }
}

#[test]
fn a_worker_that_is_gone_is_missed_for_an_expiry_and_no_longer() {
    for gone in [0, 1] {
        let mut bus = Bus::of(2);
        bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
        bus.run(20.0);
        bus.workers.remove(gone);
        bus.run(6.5);
        let calls = bus.run(10.0);
        assert!(about(calls[0], 100.0), "{calls:?}");
        assert_eq!(bus.workers[0].pace.workers(), 1);
    }
}

#[test]
fn what_was_dealt_outlives_whoever_dealt_it() {
    let mut bus = Bus::of(3);
    bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
    bus.run(20.0);
    bus.workers.remove(0);
    // Nobody knows yet that it is gone, and no call waits for that.
    let calls = bus.run(5.0);
    assert!(calls.iter().all(|calls| about(*calls, 50.0 / 3.0)), "{calls:?}");
    bus.run(1.0);
    let calls = bus.run(10.0);
    assert!(calls.iter().all(|calls| about(*calls, 50.0)), "{calls:?}");
}

#[test]
fn what_a_worker_had_coming_that_leaves_is_the_others_at_once() {
    for gone in [0, 1] {
        let mut bus = Bus::of(3);
        bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
        bus.run(20.0);
        let mut leaving = bus.workers.remove(gone);
        let beacon = Beacon::new(leaving.me.clone(), bus.now, vec![leaving.pace.farewell(bus.now)]);
        bus.spread(&beacon, 0);
        let calls: u32 = bus.run(3.0).iter().sum();
        assert!(about(calls, 30.0), "{calls}");
    }
}

#[test]
fn workers_that_were_parted_share_one_quota_as_soon_as_they_meet_again() {
    // The oldest is alone on its side, so it deals nothing out while the others do.
    let mut bus = Bus::of(3);
    bus.workers.iter_mut().for_each(|worker| worker.need = 10_000);
    bus.run(20.0);
    bus.workers[0].side = 1;
    bus.run(120.0);
    bus.workers[0].side = 0;
    bus.run(3.0);
    let calls = bus.run(9.0);
    assert!(calls.iter().all(|calls| about(*calls, 30.0)), "{calls:?}");
}

#[test]
fn nobody_with_work_waits_while_others_are_served_twice() {
    let mut bus = Bus::of(8);
    bus.run(8.0);
    bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
    bus.workers[5].need = 0;
    bus.run(3.0);
    let calls = bus.run(14.0);
    assert!((0..8).all(|worker| about(calls[worker], if worker == 5 { 0.0 } else { 20.0 })), "{calls:?}");
}

#[test]
fn a_worker_that_says_farewell_is_not_missed_at_all() {
    for gone in [0, 1] {
        let mut bus = Bus::of(2);
        bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
        bus.run(20.0);
        let mut leaving = bus.workers.remove(gone);
        let beacon = Beacon::new(leaving.me.clone(), bus.now, vec![leaving.pace.farewell(bus.now)]);
        bus.spread(&beacon, 0);
        let calls = bus.run(10.0);
        assert!(about(calls[0], 100.0), "{calls:?}");
    }
}

#[test]
fn a_worker_that_does_not_hear_itself_calls_at_what_would_be_its_part_with_one_more() {
    let mut bus = Bus::of(2);
    bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
    bus.run(20.0);
    for deaf in [0, 1] {
        bus.workers[deaf].connected = false;
        bus.run(10.0);
        let calls = bus.run(30.0);
        assert!(about(calls[deaf], 100.0), "{calls:?}");
        assert!(about(calls[1 - deaf], 300.0), "the other has taken all: {calls:?}");
        bus.workers[deaf].connected = true;
        bus.run(15.0);
        let calls = bus.run(10.0);
        assert!(about(calls[0], 50.0) && about(calls[1], 50.0), "{calls:?}");
    }
}

#[test]
fn a_worker_that_hears_nobody_keeps_to_what_the_account_lets_through() {
    let me = Member { born: 0, name: String::new() };
    let mut pace = Pace::new(settings(CallsPerSecond::Limited(RATE)), me, delays(), Moment::ZERO);
    // Of half the quota, which it takes, the account has less than half left.
    let (allowed, mut tokens, mut now, mut calls) = (2.0, 2.0_f64, seconds(7.0), Vec::new());
    while now < seconds(300.0) {
        now += STEP;
        tokens = (tokens + STEP.as_secs_f64() * allowed).min(2.0);
        if pace.take(now).is_ok() {
            let through = tokens >= 1.0;
            let evidence = Evidence::own("Code", "");
            let verdict = if through { Verdict::Released(evidence) } else { Verdict::Throttled(evidence) };
            tokens -= if through { 1.0 } else { 0.0 };
            pace.learn(&verdict, None, now);
            calls.push((now, through));
        }
    }
    let late: Vec<_> = calls.iter().filter(|(at, _)| *at > seconds(60.0)).collect();
    let throttled = late.iter().filter(|(_, through)| !through).count();
    assert!(late.len() as f64 >= 0.9 * 240.0 * allowed, "{}", late.len());
    assert!(throttled * 50 <= late.len(), "{throttled} of {}", late.len());
}

#[test]
fn all_together_never_call_more_than_one_quota_whoever_comes_and_goes() {
    let mut bus = Bus::of(5);
    let mut random = fastrand::Rng::with_seed(7);
    bus.run(8.0);
    let (mut calls, mut lowest, began) = (0.0, 0.0_f64, bus.now);
    for _ in 0..3000 {
        let worker = random.usize(0..5);
        bus.workers[worker].need = if random.bool() { 0 } else { random.u64(1..20) };
        calls += f64::from(bus.run(0.1).iter().sum::<u32>());
        let ahead = calls - (bus.now - began).as_secs_f64() * RATE;
        lowest = lowest.min(ahead);
        // What nobody needed is good for half a second, and one is saved.
        assert!(ahead - lowest <= RATE * 0.5 + 1.0 + 1e-6, "{} calls too many", ahead - lowest);
    }
}

#[test]
fn a_herd_that_is_throttled_lowers_the_rate_once_and_nothing_goes_before_the_pause_is_over() {
    let own = PaceSettings { fleet: None, ..settings(CallsPerSecond::Limited(RATE)) };
    let mut pace = Pace::new(own, Member { born: 0, name: String::new() }, delays(), Moment::ZERO);
    let mut now = Moment::ZERO;
    for _ in 0..8 {
        while let Err(Wait::Until(at)) = pace.take(now) {
            now = at;
        }
    }
    for _ in 0..8 {
        let throttled = Verdict::Throttled(Evidence::own("Throttling", ""));
        pace.learn(&throttled, Some(Duration::from_secs(2)), now);
    }
    assert!((0.8..1.0).contains(&(pace.rate() / RATE)), "{}", pace.rate());
    assert!(pace.take(now + seconds(1.999)).is_err());
    let after = now + seconds(2.2);
    assert!(pace.take(after).is_ok() && pace.take(after).is_err(), "one at a time");
}

#[test]
fn a_pause_that_one_worker_is_told_is_kept_by_all_of_the_account_and_by_none_for_longer() {
    let mut bus = Bus::of(3);
    bus.workers.iter_mut().for_each(|worker| worker.need = 1000);
    bus.run(20.0);
    let throttled = Verdict::Throttled(Evidence::own("Throttling", "wait"));
    let told_at = bus.now;
    bus.workers[1].pace.learn(&throttled, Some(seconds(30.0)), told_at);
    bus.run(0.2);
    assert_eq!(bus.run(29.7), [0, 0, 0]);
    // Each a little later than told.
    bus.run(3.5);
    assert!(bus.run(3.0).iter().all(|calls| *calls > 5));
}

#[test]
fn a_lone_worker_whose_calls_are_too_slow_for_its_quota_says_that_workers_are_what_is_missing() {
    const SLOTS: usize = 16;
    for (calls_per_second, useful) in [(CallsPerSecond::Limited(100.0), 7), (CallsPerSecond::Unlimited, 4)] {
        let own = PaceSettings { max_in_flight_calls: SLOTS, ..settings(calls_per_second) };
        let mut pace = Pace::new(own, Member { born: 0, name: String::new() }, delays(), Moment::ZERO);
        pace.alone(Moment::ZERO);
        let (mut under_way, mut now) = (VecDeque::new(), Moment::ZERO);
        let backlog = Backlog { calls: 1680, later: 0, cost: 1.0 };
        let (mut calls, mut hint) = (0, pace.hint(backlog, now));
        while now < seconds(60.0) {
            now += STEP;
            while under_way.front().is_some_and(|ends| *ends <= now) {
                under_way.pop_front();
                pace.learn(&Verdict::Released(Evidence::own("Success", "")), None, now);
            }
            while under_way.len() < SLOTS && pace.take(now).is_ok() {
                under_way.push_back(now + seconds(1.0));
                calls += 1;
            }
            if under_way.len() == SLOTS {
                pace.unable(now);
            }
            if pace.beacon_at(now).is_some_and(|at| at <= now) {
                let beacon = Beacon::new(Member { born: 0, name: String::new() }, now, vec![pace.beacon(1680, now)]);
                pace.hear(&beacon, now);
            }
            hint = pace.hint(backlog, now);
        }
        let drain = hint.drain.unwrap().as_secs();
        assert_eq!((hint.bound, hint.useful_workers), (Bound::Workers, useful), "{calls_per_second:?}");
        assert!((100..115).contains(&drain), "{calls_per_second:?}: {drain} s at 16 calls a second");
        if let CallsPerSecond::Limited(rate) = calls_per_second {
            let Permits { used, idle } = pace.permits();
            assert!(used == calls && (used + idle).abs_diff((rate * 60.0) as u64) <= 20, "{used} and {idle}");
        }
    }
}

#[test]
fn a_permit_that_is_saved_up_and_used_was_never_idle() {
    let own = PaceSettings { fleet: None, burst: 3, ..settings(CallsPerSecond::Limited(1.0)) };
    let mut pace = Pace::new(own, Member { born: 0, name: String::new() }, delays(), Moment::ZERO);
    for round in 1..=100_u32 {
        pace.rest(seconds(f64::from(round) * 5.0 - 4.9));
        let now = seconds(f64::from(round) * 5.0);
        assert_eq!(std::iter::from_fn(|| pace.take(now).ok()).count(), 3);
        (0..3).for_each(|_| pace.learn(&Verdict::Released(Evidence::own("Success", "")), None, now));
    }
    let Permits { used, idle } = pace.permits();
    assert!(used == 300 && idle.abs_diff(200) <= 15, "{used} and {idle}");
}

#[test]
fn settings_that_are_read_again_unchanged_forget_nothing_of_what_was_learned() {
    for configured in [CallsPerSecond::Limited(RATE), CallsPerSecond::Auto] {
        let own = PaceSettings { fleet: None, ..settings(configured) };
        let mut pace = Pace::new(own, Member { born: 0, name: String::new() }, delays(), Moment::ZERO);
        for second in 1..50_u32 {
            let now = seconds(f64::from(second) * 2.0);
            assert!(pace.take(now).is_ok());
            let throttled = second == 49;
            let evidence = Evidence::own("Code", "");
            let verdict = if throttled { Verdict::Throttled(evidence) } else { Verdict::Released(evidence) };
            pace.learn(&verdict, Some(Duration::ZERO), now);
        }
        let (learned, now) = (pace.quota(), seconds(100.0));
        let first = Pace::new(settings(configured), Member { born: 0, name: String::new() }, delays(), now).quota();
        assert_ne!(learned, first, "{configured:?}");
        pace.reset(configured, 1, now);
        assert_eq!(pace.quota(), learned, "{configured:?}");
        pace.reset(configured, 5, now);
        assert_eq!(pace.quota(), learned, "{configured:?}: the burst alone is another");
        pace.reset(CallsPerSecond::Limited(3.0), 5, now);
        assert_eq!(pace.quota(), 3.0);
    }
}

#[test]
fn a_beacon_that_knows_more_is_read_and_one_of_another_version_is_not() {
    let text = r#"{"Version":1,"From":{"Born":1,"Name":"w","Colour":"red"},"At":5,"Accounts":
        [{"Account":"default","Need":7,"Mood":"good"}],"Weather":[]}"#;
    let beacon = Beacon::from_bytes(text.as_bytes()).unwrap();
    assert_eq!((beacon.at, beacon.accounts[0].need), (5, 7));
    assert_eq!(Beacon::from_bytes(&beacon.to_bytes()).unwrap(), beacon);
    let newer = text.replacen('1', "2", 1);
    assert!(matches!(Beacon::from_bytes(newer.as_bytes()), Err(UnreadableBeacon::Newer(2))));
    assert!(matches!(Beacon::from_bytes(b"{}"), Err(UnreadableBeacon::Malformed(_))));
}

#[test]
fn without_a_limit_nobody_waits_for_anybody() {
    let mut pace =
        Pace::new(settings(CallsPerSecond::Unlimited), Member { born: 0, name: String::new() }, delays(), Moment::ZERO);
    assert!((0..100).all(|_| pace.take(Moment::ZERO).is_ok()));
    assert!(pace.beacon(3, Moment::ZERO).allots.is_none());
}
