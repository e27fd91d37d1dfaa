//! The pace, in virtual time: every permit used and none exceeded, alone and in a fleet. A few seeds of what
//! `cargo bench --bench pace` runs by the thousand.

mod scenarios;
mod world;

use std::time::Duration;

use scenarios::{Measured, alone, auto, fleet, seconds};
use world::{Batching, Cut, Life, World};

fn judge_alone(run: &Measured) {
    assert!(run.used >= 0.995 && run.throttled == 0.0 && run.above <= 0.001, "{run:?}");
    assert!((0..=run.extra_allowed).contains(&run.extra_calls), "{run:?}");
    assert!(run.makespan <= 1.02 && run.longest_wait <= 1.0, "{run:?}");
}

fn judge_fleet(run: &Measured) {
    assert!(run.used >= 0.97 && run.excess <= 0.01 && run.throttled <= 0.01, "{run:?}");
    assert!(run.extra_calls <= run.extra_allowed && run.makespan <= 1.02, "{run:?}");
}

#[test]
fn a_lone_worker_uses_every_permit_and_no_window_has_more_calls_than_its_quota() {
    for (rate, lasts) in [(3.0, 60), (10.0, 60), (100.0, 10)] {
        for seed in 0..2 {
            let measured = alone(seed, rate, lasts);
            println!("{rate} calls/s, seed {seed}: {measured:?}");
            judge_alone(&measured);
        }
    }
}

#[test]
fn a_fleet_uses_one_quota_through_crashes_joins_leaves_and_lost_beacons() {
    for (rate, workers, lasts) in [(3.0, 2, 600), (3.0, 8, 600), (3.0, 64, 600), (20.0, 8, 60)] {
        let measured = fleet(1, rate, workers, lasts);
        println!("{workers} workers, {rate} calls/s: {measured:?}");
        judge_fleet(&measured);
    }
}

#[test]
fn beacons_that_come_late_by_up_to_half_of_their_rhythm_cost_a_fleet_next_to_nothing() {
    let lives = (0..4).map(|worker| Life { from: Duration::from_millis(37 * worker), end: None }).collect();
    let world = World { delay: 1..500, lost: 10, lives, ..scenarios::fleet_world(1, 10.0, 4, 100) };
    let told = world.run();
    let last = told.sent.last().map_or(Duration::ZERO, |sent| sent.at);
    let (used, excess) = (told.used(10.0, seconds(7), last), told.excess(10.0, 1.0 + 10.0 * 0.5));
    println!("used {used:.4}, excess {excess:.4}");
    assert!(used >= 0.99 && excess <= 0.01);
}

#[test]
fn a_fleet_whose_bus_is_parted_for_a_while_shares_one_quota_as_soon_as_it_is_whole() {
    for deaf in [false, true] {
        let lives = (0..4).map(|worker| Life { from: Duration::from_millis(37 * worker), end: None }).collect();
        let cut = Cut { from: seconds(30), until: seconds(80), workers: 0..1, deaf };
        // Both sides call at the whole quota meanwhile; of what the server makes of that this is no test.
        let allowed = vec![(Duration::ZERO, 40.0)];
        let world = World { cuts: vec![cut], lives, allowed, ..scenarios::fleet_world(1, 10.0, 4, 250) };
        let told = world.run();
        let (from, last) = (seconds(90), told.sent.last().map_or(Duration::ZERO, |sent| sent.at));
        let used = told.used(10.0, from, last.min(seconds(120)));
        println!("deaf: {deaf}; used {used:.4}");
        assert!(used >= 0.97);
    }
}

#[test]
fn a_quota_that_nobody_tells_is_found_and_kept_to() {
    for (rate, workers, found, lasts) in [(3.0, 1, 600, 1000), (10.0, 1, 60, 200), (10.0, 4, 60, 200)] {
        let (off, throttled, told) = auto(1, rate, workers, found, lasts);
        let used = told.used(rate, seconds(found), seconds(lasts));
        println!("{rate} calls/s, {workers} workers: off by {off:.3}, throttled {throttled:.4}, used {used:.3}");
        assert!(throttled <= 0.01 && used >= 0.97 && off <= 0.05);
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
