//! The campaign behind docs/pace.md: the claims about the pace over many seeds, and the comparison. In virtual time.
//! `nice cargo bench --bench pace -- [alone|fleet|auto|large|compare]...`
//! `BULKRELEASE_SEEDS=1000` runs as many seeds as asked, from `BULKRELEASE_FIRST_SEED` on, and a twentieth of the hours.

#[path = "pace/compare.rs"]
mod compare;
#[path = "pace/plot.rs"]
mod plot;
#[path = "../tests/pace/scenarios.rs"]
mod scenarios;
#[path = "../tests/pace/world/mod.rs"]
mod world;

use std::time::Instant;

use scenarios::{Measured, alone, auto, fleet, seconds};
use world::World;

/// How many seeds; the long ones take fewer.
fn seeds(long: bool) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("BULKRELEASE_FIRST_SEED").unwrap_or(0);
    let count = number("BULKRELEASE_SEEDS").unwrap_or(20);
    first..first + if long { count.div_ceil(20) } else { count }
}

/// The worst of many runs.
fn tell(name: &str, all: &[Measured], began: Instant) {
    let worst = |of: fn(&Measured) -> f64, most: bool| {
        let values = all.iter().map(of);
        if most { values.fold(f64::NEG_INFINITY, f64::max) } else { values.fold(f64::INFINITY, f64::min) }
    };
    println!(
        "{name}: {} seeds, used >= {:.4}, excess <= {:.4}, throttled <= {:.4}, calls above the fewest <= {} of {} allowed, \
         makespan <= {:.4} of the least, longest wait {:.1} of {:.1} s ({:.1} s)",
        all.len(),
        worst(|run| run.used, false),
        worst(|run| run.excess, true),
        worst(|run| run.throttled, true),
        worst(|run| run.extra_calls as f64, true),
        worst(|run| run.extra_allowed as f64, false),
        worst(|run| run.makespan, true),
        worst(|run| run.longest_wait.as_secs_f64(), true),
        worst(|run| run.wait_allowed.as_secs_f64(), false),
        began.elapsed().as_secs_f64(),
    );
}

fn run_alone() {
    for (rate, lasts, long) in
        [(3.0, 120, false), (10.0, 60, false), (100.0, 20, false), (3.0, 7200, true), (10.0, 7200, true)]
    {
        let began = Instant::now();
        let all: Vec<_> = seeds(long).map(|seed| alone(seed, rate, lasts)).collect();
        tell(&format!("alone, {rate} calls/s for {lasts} s"), &all, began);
        all.iter().for_each(Measured::judge_alone);
    }
}

fn run_fleets() {
    for (rate, workers, lasts, long) in [
        (3.0, 2, 600, false),
        (3.0, 8, 600, false),
        (3.0, 64, 600, false),
        (10.0, 8, 300, false),
        (100.0, 8, 60, false),
        (3.0, 2, 7200, true),
        (3.0, 8, 7200, true),
        (3.0, 64, 7200, true),
        (100.0, 64, 600, true),
    ] {
        let began = Instant::now();
        let all: Vec<_> = seeds(long).map(|seed| fleet(seed, rate, workers, lasts)).collect();
        tell(&format!("{workers} workers, {rate} calls/s for {lasts} s"), &all, began);
        all.iter().for_each(Measured::judge_fleet);
    }
}

fn run_auto() {
    for (rate, workers, found, lasts) in [
        (3.0, 1, 600, 1800),
        (10.0, 1, 60, 600),
        (30.0, 1, 60, 300),
        (100.0, 1, 60, 200),
        (10.0, 8, 60, 600),
        (30.0, 8, 60, 300),
    ] {
        let began = Instant::now();
        let (mut off, mut throttled, mut used) = (0.0_f64, 0.0_f64, 1.0_f64);
        for seed in seeds(false) {
            let (worst, part, told) = auto(seed, rate, workers, found, lasts);
            (off, throttled) = (off.max(worst), throttled.max(part));
            used = used.min(told.used(rate, seconds(found), seconds(lasts)));
        }
        println!(
            "auto, {workers} workers, {rate} calls/s: {} seeds, off by <= {off:.3} from {found} s on, throttled <= \
             {throttled:.4}, used >= {used:.4} ({:.1} s)",
            seeds(false).end - seeds(false).start,
            began.elapsed().as_secs_f64()
        );
    }
}

/// 10,000,000 ids in 200 groups of skewed sizes.
fn run_large() {
    for rate in [10.0, 100.0] {
        let began = Instant::now();
        let world = World { groups: 200, ..World::new(1, rate, seconds(200_000)) }.backlog(10_000_000, 200);
        let (fewest, jobs) = (world.fewest(), world.jobs.len());
        let told = world.run();
        let last = told.sent.last().map_or(0.0, |sent| sent.at.as_secs_f64());
        println!(
            "10,000,000 ids in 200 groups, {rate} calls/s: {} calls, fewest {fewest}, makespan {:.5} of the least, {} of {jobs} \
             jobs done ({:.1} s)",
            told.calls(),
            last / ((fewest - 1) as f64 / rate),
            told.latencies.len(),
            began.elapsed().as_secs_f64()
        );
    }
}

fn main() {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let parts: [(&str, fn()); 5] = [
        ("alone", run_alone),
        ("fleet", run_fleets),
        ("auto", run_auto),
        ("large", run_large),
        ("compare", compare::compare),
    ];
    for (name, part) in parts {
        if chosen.is_empty() || chosen.iter().any(|word| word == name) {
            part();
        }
    }
}
