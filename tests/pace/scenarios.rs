//! The worlds that a claim is held against, and what is measured in each.

use std::time::Duration;

use bulkrelease::config::CallsPerSecond;
use bulkrelease::engine::Moment;
use bulkrelease::pace::{CAUGHT_UP, Rhythm};

use super::world::{End, Life, MAX_WAIT, OVERDUE_SHARE, Told, World};

pub fn seconds(seconds: u64) -> Moment {
    Duration::from_secs(seconds)
}

/// What a run came to, as far as it is judged.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Of the permits, while work waits.
    pub used: f64,
    /// Calls beyond what the quota allows, as a part of all.
    pub excess: f64,
    pub throttled: f64,
    /// The most calls that any window had above its rate, the burst and what may be caught up on.
    pub above: f64,
    /// Above the fewest, and how many may be.
    pub extra_calls: i64,
    pub extra_allowed: i64,
    /// Of the least time that so many calls take.
    pub makespan: f64,
    /// Of what the group's batch may wait for its turn.
    pub longest_wait: f64,
}

/// A lone worker at a fixed quota, with a backlog that takes so long.
pub fn alone(seed: u64, rate: f64, lasts: u64) -> Measured {
    let ids = (rate * lasts as f64 * 100.0) as u64;
    measure_alone(World::new(seed, rate, seconds(lasts * 3)).backlog(ids, 200), rate)
}

/// Any backlog of a lone worker at a fixed quota.
pub fn measure_alone(world: World, rate: f64) -> Measured {
    let (fewest, groups, jobs, seed, until) = (world.fewest(), world.groups, world.jobs.len(), world.seed, world.until);
    let told = world.run();
    assert_eq!(told.latencies.len(), jobs, "seed {seed}: jobs without an end");
    let last = told.sent.last().map_or(Duration::ZERO, |sent| sent.at);
    Measured {
        used: told.calls() as f64 / (rate * last.as_secs_f64() + 1.0),
        excess: told.excess(rate, 1.0 + rate * CAUGHT_UP.as_secs_f64()),
        throttled: told.throttled(Duration::ZERO, until),
        above: told.above(rate) - 1.0 - rate * CAUGHT_UP.as_secs_f64(),
        extra_calls: told.calls() as i64 - fewest as i64,
        extra_allowed: groups as i64,
        makespan: last.as_secs_f64() / ((fewest - 1) as f64 / rate),
        longest_wait: told.longest_turn(|ids| may_wait(ids, groups, rate)),
    }
}

/// Every part-filled batch that is overdue has its turn once every other has had one. A full one has it by when its jobs came:
/// before it go the batches of all that the worker held then.
fn may_wait(ids: usize, groups: usize, rate: f64) -> Duration {
    let overdue = f64::from(OVERDUE_SHARE) * groups as f64;
    let held = if ids < 100 { 0.0 } else { 1000.0 * 100.5 / 100.0 };
    MAX_WAIT + Duration::from_secs_f64((overdue + held) / rate)
}

/// A fleet of so many, whose workers live for ten minutes or so, crash or leave, and are followed by others.
pub fn fleet(seed: u64, rate: f64, workers: usize, lasts: u64) -> Measured {
    let world = fleet_world(seed, rate, workers, lasts);
    let (fewest, groups) = (world.fewest(), world.groups);
    let (jobs, lives) = (world.jobs.len(), world.lives.iter().filter(|life| life.from < seconds(lasts)).count());
    let told = world.run();
    assert_eq!(told.latencies.len(), jobs, "seed {seed}: jobs without an end");
    // Newcomers listen first.
    let begun = seconds(7);
    let last = told.sent.last().map_or(Duration::ZERO, |sent| sent.at);
    let throttled = told.arrived.iter().filter(|(_, throttled)| *throttled).count();
    Measured {
        used: told.used(rate, begun, last),
        excess: told.excess(rate, 1.0 + rate * 0.5),
        throttled: throttled as f64 / told.calls() as f64,
        above: 0.0,
        extra_calls: told.calls() as i64 - throttled as i64 - fewest as i64 - told.orphans as i64,
        extra_allowed: (groups * lives) as i64,
        makespan: (last - begun).as_secs_f64() / (told.calls() as f64 / rate),
        longest_wait: 0.0,
    }
}

pub fn fleet_world(seed: u64, rate: f64, workers: usize, lasts: u64) -> World {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xf1ee7);
    let until = seconds(lasts * 3);
    let mut lives = Vec::new();
    for _ in 0..workers {
        let mut from = Duration::from_millis(random.u64(0..300));
        while from < until {
            // Ten minutes on average; never so short that nobody would call it a life.
            let lasts = 120.0 + -random.f64().max(1e-9).ln() * 480.0;
            let end = from + Duration::from_secs_f64(lasts);
            lives.push(Life { from, end: Some((end, if random.bool() { End::Crash } else { End::Leave })) });
            from = end + Duration::from_millis(random.u64(500..5000));
        }
    }
    let world = World::new(seed, rate, until).backlog((rate * lasts as f64 * 100.0) as u64, 200);
    World {
        rhythm: Some(Rhythm::default()),
        lives,
        lost: 10,
        // Enough for each to fill batches from, and nobody has all.
        prefetch: (world.jobs.len() / workers).clamp(24, 200),
        ..world
    }
}

/// A quota that nobody tells, to be found. How far off the belief is at worst after so long, on average over a minute,
/// and the part that is throttled from then on.
pub fn auto(seed: u64, rate: f64, workers: usize, found_after: u64, lasts: u64) -> (f64, f64, Told) {
    let mut random = fastrand::Rng::with_seed(seed ^ 0xa070);
    let mut world = World {
        configured: CallsPerSecond::Auto,
        allowed: vec![(Duration::ZERO, rate)],
        prefetch: 1000 / workers,
        ..World::new(seed, rate, seconds(lasts)).backlog((rate * lasts as f64 * 130.0) as u64, 200)
    };
    if workers > 1 {
        world.rhythm = Some(Rhythm::default());
        world.lives =
            (0..workers).map(|_| Life { from: Duration::from_millis(random.u64(0..300)), end: None }).collect();
        world.lost = 10;
    }
    let told = world.run();
    let off = told
        .believed
        .iter()
        .filter(|(at, _)| *at >= seconds(found_after))
        .map(|(_, rate_now)| (rate_now / rate - 1.0).abs());
    let worst = off.fold(0.0, f64::max);
    (worst, told.throttled(seconds(found_after), seconds(lasts)), told)
}
