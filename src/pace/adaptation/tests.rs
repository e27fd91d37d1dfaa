//! What is believed of a quota, against an account that allows so much.

use super::*;

/// What an account allows: a second's worth at once, and nothing of it at first.
struct Bucket {
    quota: f64,
    tokens: f64,
    at: Moment,
}

impl Bucket {
    fn empty(quota: f64, at: Moment) -> Self {
        Self { quota, tokens: 0.0, at }
    }

    fn lets(&mut self, now: Moment) -> bool {
        self.tokens = (self.tokens + (now - self.at).as_secs_f64() * self.quota).min(self.quota.max(1.0));
        self.at = now;
        let through = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(through));
        through
    }
}

fn limited(rate: f64) -> Adaptation {
    Adaptation::new(CallsPerSecond::Limited(rate)).unwrap()
}

/// Calls at the rate that is believed, all of them taken.
fn calls(adaptation: &mut Adaptation, count: u32, now: &mut Moment) {
    for _ in 0..count {
        *now += Duration::from_secs_f64(1.0 / adaptation.rate());
        adaptation.observe(1, 0, 1.0, Duration::ZERO, *now);
    }
}

#[test]
fn what_is_configured_is_never_exceeded_and_reached_again_after_a_throttled_call() {
    let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
    calls(&mut adaptation, 200, &mut now);
    assert_eq!(adaptation.rate(), 10.0);
    adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
    assert!((adaptation.rate() - 9.7).abs() < 1e-9, "{}", adaptation.rate());
    calls(&mut adaptation, 1000, &mut now);
    assert_eq!(adaptation.rate(), 10.0);
}

#[test]
fn one_throttled_call_lowers_what_another_worker_believed_by_a_small_step() {
    let mut adaptation = limited(10.0);
    adaptation.adopt(10.0);
    adaptation.observe(0, 1, 1.0, Duration::from_secs(2), Duration::from_secs(9));
    assert!((adaptation.rate() - 9.7).abs() < 1e-9, "{}", adaptation.rate());
}

#[test]
fn a_rate_that_nobody_uses_does_not_rise() {
    let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
    adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
    let lowered = adaptation.rate();
    for _ in 0..1000 {
        now += Duration::from_secs(1);
        adaptation.observe(2, 0, 1.0, Duration::ZERO, now);
    }
    assert_eq!(adaptation.rate(), lowered);
}

#[test]
fn time_without_calls_is_no_measure() {
    for pause in [3, 30, 300] {
        let (mut adaptation, mut now) = (limited(10.0), Moment::ZERO);
        for _ in 0..5 {
            calls(&mut adaptation, 3, &mut now);
            now += Duration::from_secs(pause);
            adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
        }
        // A step each, and none of them deeper than where nothing is known.
        assert!(adaptation.rate() >= 10.0 * BLIND.powi(5), "{}", adaptation.rate());
    }
}

#[test]
fn what_is_throttled_before_a_step_is_heard_of_lowers_the_rate_no_further() {
    let mut adaptation = limited(10.0);
    for millisecond in 0..20 {
        adaptation.observe(0, 1, 1.0, Duration::from_secs(2), Duration::from_millis(millisecond * 100));
    }
    assert!((adaptation.rate() - 8.5).abs() < 1e-9, "{}", adaptation.rate());
}

#[test]
fn a_quota_that_falls_to_a_fifth_is_found_within_twenty_throttled_calls() {
    let (mut adaptation, mut now, mut throttled) = (limited(10.0), Moment::ZERO, 0);
    calls(&mut adaptation, 200, &mut now);
    let mut bucket = Bucket::empty(2.0, now);
    for _ in 0..600 {
        now += Duration::from_secs_f64(1.0 / adaptation.rate());
        if bucket.lets(now) {
            adaptation.observe(1, 0, 1.0, Duration::ZERO, now);
        } else {
            throttled += 1;
            adaptation.observe(0, 1, 1.0, Duration::ZERO, now);
        }
    }
    assert!((1.9..=2.1).contains(&adaptation.rate()), "{}", adaptation.rate());
    assert!(throttled <= 20, "{throttled}");
}

/// Calls at the rate that is believed, for so long, of which `lets` says whether one goes through. Those that were throttled.
fn calls_for(
    adaptation: &mut Adaptation,
    seconds: f64,
    now: &mut Moment,
    mut lets: impl FnMut(Moment) -> bool,
) -> (u32, u32) {
    let (end, mut calls, mut throttled) = (*now + Duration::from_secs_f64(seconds), 0, 0);
    while *now < end {
        *now += Duration::from_secs_f64(1.0 / adaptation.rate());
        let through = lets(*now);
        calls += 1;
        throttled += u32::from(!through);
        adaptation.observe(u64::from(through), u64::from(!through), 1.0, Duration::ZERO, *now);
    }
    (calls, throttled)
}

#[test]
fn a_few_calls_that_are_throttled_whatever_the_rate_do_not_drive_it_down() {
    for (quota, per_mille, least) in [(60.0, 2, 0.9), (60.0, 4, 0.6), (10.0, 2, 0.95), (10.0, 4, 0.9), (3.0, 4, 0.85)] {
        let (mut adaptation, mut now) = (limited(quota * 4.0), Moment::ZERO);
        let mut random = fastrand::Rng::with_seed(1);
        let mut bucket = Bucket::empty(quota, now);
        let mut lets = |now| bucket.lets(now) && random.u32(0..1000) >= per_mille;
        calls_for(&mut adaptation, 600.0, &mut now, &mut lets);
        let (calls, throttled) = calls_for(&mut adaptation, 3000.0, &mut now, &mut lets);
        let part = f64::from(calls - throttled) / 3000.0 / quota;
        println!("{quota} calls/s, {per_mille} of 1000 throttled: {part:.3} of it taken");
        assert!(part >= least, "{quota} {per_mille}: {part}");
    }
}

#[test]
fn a_minute_in_which_hardly_any_call_is_let_through_is_over_soon_after_it_is() {
    for (rate, through) in [(3.0, 0), (3.0, 10), (10.0, 0), (10.0, 5), (100.0, 1)] {
        let (mut adaptation, mut now) = (limited(rate), Moment::ZERO);
        let mut random = fastrand::Rng::with_seed(1);
        calls(&mut adaptation, 200, &mut now);
        calls_for(&mut adaptation, 60.0, &mut now, |_| random.u32(0..100) < through);
        let lowest = adaptation.rate();
        calls_for(&mut adaptation, 300.0, &mut now, |_| true);
        println!("{rate} calls/s, {through} % let through: fell to {lowest:.3}, then {:.2}", adaptation.rate());
        assert!(adaptation.rate() >= rate * 0.8, "{} of {rate}, after {lowest}", adaptation.rate());
    }
}

#[test]
fn a_quota_that_falls_to_a_thirtieth_is_kept_to_and_the_old_one_is_not_looked_for_again_and_again() {
    for part in [1.0 / 5.0, 1.0 / 30.0] {
        let (mut adaptation, mut now) = (limited(30.0), Moment::ZERO);
        calls(&mut adaptation, 200, &mut now);
        let quota = 30.0 * part;
        let mut bucket = Bucket::empty(quota, now);
        let (_, at_first) = calls_for(&mut adaptation, 60.0, &mut now, |now| bucket.lets(now));
        let (later, throttled) = calls_for(&mut adaptation, 1200.0, &mut now, |now| bucket.lets(now));
        println!("to {part:.3}: {at_first} throttled at first, later {throttled} of {later}; {:.3}", adaptation.rate());
        assert!(at_first <= 60 && throttled * 33 <= later, "{at_first}, {throttled} of {later}");
        assert!((adaptation.rate() / quota - 1.0).abs() < 0.1, "{}", adaptation.rate());
    }
}
