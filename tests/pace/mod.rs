//! The pace, in virtual time: every permit used and none exceeded, alone and in a fleet. A few seeds of what
//! `cargo bench --bench pace` runs by the thousand.

mod scenarios;
mod world;

use std::time::Duration;

use scenarios::{alone, auto, fleet, seconds};
use world::{Batching, World};

#[test]
fn a_lone_worker_uses_every_permit_and_no_window_has_more_calls_than_its_quota() {
    for (rate, lasts) in [(3.0, 60), (10.0, 60), (100.0, 10)] {
        for seed in 0..2 {
            let measured = alone(seed, rate, lasts);
            println!("{rate} calls/s, seed {seed}: {measured:?}");
            measured.judge_alone();
        }
    }
}

#[test]
fn a_fleet_uses_one_quota_through_crashes_joins_leaves_and_lost_beacons() {
    for (rate, workers, lasts) in [(3.0, 2, 600), (3.0, 8, 600), (3.0, 64, 600), (20.0, 8, 60)] {
        let measured = fleet(1, rate, workers, lasts);
        println!("{workers} workers, {rate} calls/s: {measured:?}");
        measured.judge_fleet();
    }
}

#[test]
fn a_quota_that_nobody_tells_is_found_and_kept_to() {
    for (rate, workers, found, lasts) in [(3.0, 1, 600, 1000), (10.0, 1, 60, 200), (10.0, 4, 60, 200)] {
        let (off, throttled, told) = auto(1, rate, workers, found, lasts);
        let used = told.used(rate, seconds(found), seconds(lasts));
        println!("{rate} calls/s, {workers} workers: off by {off:.3}, throttled {throttled:.4}, used {used:.3}");
        assert!(throttled <= 0.01 && used >= 0.97);
        // A fleet hears of a step a beacon or two later, and so oscillates a little more: docs/pace.md says how much.
        assert!(off <= 0.05 || workers > 1);
    }
}

#[test]
fn strangers_who_take_half_of_the_quota_are_made_room_for() {
    let allowed = vec![(Duration::ZERO, 10.0), (seconds(120), 5.0), (seconds(300), 10.0)];
    let world = World { allowed, ..World::new(1, 10.0, seconds(600)).backlog(700_000, 200) };
    let told = world.run();
    let used = |rate, from, until| told.used(rate, from, until);
    let told = [
        used(10.0, seconds(1), seconds(120)),
        used(5.0, seconds(130), seconds(300)),
        used(10.0, seconds(400), seconds(600)),
    ];
    println!("used before, beside and after them: {told:?}");
    assert!(told[0] >= 0.995 && told[1] >= 0.97 && told[2] >= 0.97);
}

#[test]
fn batches_by_permit_cost_fewer_calls_than_batches_by_size_or_time() {
    let stream = || World::new(1, 3.0, seconds(10_000)).stream(90.0, 20, seconds(300));
    let ours = stream().run();
    let theirs = World { batching: Batching::BySizeOrTime(Duration::from_secs(1)), ..stream() }.run();
    let ids = |told: &world::Told| told.sent.iter().map(|sent| sent.batch.ids).sum::<usize>();
    println!("{} calls and {} calls", ours.calls(), theirs.calls());
    assert_eq!(ids(&ours), ids(&theirs));
    assert!(ours.calls() < theirs.calls() && ours.percentile(0.99) < theirs.percentile(0.99));
}
