//! The campaign behind docs/pace.md: the claims about the pace over many seeds, and the comparison. In virtual time.
//! `nice cargo bench --bench pace -- [alone|fleet|auto|large|compare]...`
//! `BULKRELEASE_SEEDS=1000` runs as many seeds as asked, from `BULKRELEASE_FIRST_SEED` on; of what takes long fewer. Every bound
//! is judged, and one that is broken makes it fail.

#[path = "pace/compare.rs"]
mod compare;
#[path = "pace/plot.rs"]
mod plot;
#[path = "../tests/pace/scenarios.rs"]
mod scenarios;
#[path = "pace/table.rs"]
mod table;
#[path = "../tests/pace/world/mod.rs"]
mod world;

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use scenarios::{alone, auto, fleet, measure_alone, seconds};
use table::{Bound, Line};
use world::World;

/// How many seeds: one in so many of those asked for, and at least one.
fn seeds(one_in: u64) -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let first = number("BULKRELEASE_FIRST_SEED").unwrap_or(0);
    let count = number("BULKRELEASE_SEEDS").unwrap_or(20);
    first..first + count.div_ceil(one_in)
}

/// Runs a kind of world with its seeds, as many at a time as there are processors, and says how long that took.
fn each_seed<T: Send>(name: &str, one_in: u64, measure: impl Fn(u64) -> T + Sync, mut see: impl FnMut(T, u64)) {
    let (began, seeds) = (Instant::now(), seeds(one_in));
    let (next, count) = (AtomicU64::new(seeds.start), seeds.end - seeds.start);
    let work = || {
        let taken = std::iter::from_fn(|| Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < seeds.end));
        taken.map(|seed| (measure(seed), seed)).collect::<Vec<_>>()
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            // A world that panics has said why.
            thread.join().expect("a run").into_iter().for_each(|(measured, seed)| see(measured, seed));
        }
    });
    eprintln!("{name}: {count} seeds in {:.1} s", began.elapsed().as_secs_f64());
}

fn run_alone(table: &mut Vec<Line>) {
    for (rate, lasts, one_in) in [(3.0, 120, 1), (10.0, 60, 1), (100.0, 20, 1), (3.0, 7200, 50), (10.0, 7200, 100)] {
        let name = format!("alone, {rate} calls/s, {lasts} s");
        let line = |what, bound| Line::new(&name, what, bound);
        let mut used = line("permits used", Bound::AtLeast(0.995));
        let mut above = line("calls above rate, burst and 20 ms, any window", Bound::AtMost(0.001));
        let mut extra = line("calls above the fewest, a group", Bound::AtMost(1.0));
        let mut makespan = line("makespan, of the least", Bound::AtMost(1.02));
        let mut turn = line("longest wait of a group, of its bound", Bound::AtMost(1.0));
        each_seed(
            &name,
            one_in,
            |seed| alone(seed, rate, lasts),
            |run, seed| {
                used.see(run.used, seed);
                above.see(run.above, seed);
                extra.see(run.extra_calls as f64 / run.extra_allowed as f64, seed);
                makespan.see(run.makespan, seed);
                turn.see(run.longest_wait, seed);
            },
        );
        table.extend([used, above, extra, makespan, turn]);
    }
}

fn run_fleets(table: &mut Vec<Line>) {
    for (rate, workers, lasts, one_in) in [
        (3.0, 2, 600, 1),
        (3.0, 8, 600, 1),
        (3.0, 64, 600, 10),
        (10.0, 8, 300, 2),
        (100.0, 8, 60, 5),
        (3.0, 2, 7200, 100),
        (3.0, 8, 7200, 100),
        (3.0, 64, 7200, 200),
        (100.0, 64, 600, 1000),
    ] {
        let name = format!("{workers} workers, {rate} calls/s, {lasts} s");
        let line = |what, bound| Line::new(&name, what, bound);
        let mut used = line("permits used", Bound::AtLeast(0.97));
        let mut excess = line("calls beyond the quota, of all", Bound::AtMost(0.01));
        let mut throttled = line("calls throttled", Bound::AtMost(0.01));
        let mut extra = line("calls above the fewest, a group and worker", Bound::AtMost(1.0));
        let mut makespan = line("makespan, of the least for its calls", Bound::AtMost(1.02));
        each_seed(
            &name,
            one_in,
            |seed| fleet(seed, rate, workers, lasts),
            |run, seed| {
                used.see(run.used, seed);
                excess.see(run.excess, seed);
                throttled.see(run.throttled, seed);
                extra.see(run.extra_calls as f64 / run.extra_allowed as f64, seed);
                makespan.see(run.makespan, seed);
            },
        );
        table.extend([used, excess, throttled, extra, makespan]);
    }
}

fn run_auto(table: &mut Vec<Line>) {
    for (rate, workers, found, lasts, one_in) in [
        (3.0, 1, 600, 1800, 2),
        (10.0, 1, 60, 600, 1),
        (30.0, 1, 60, 300, 2),
        (100.0, 1, 60, 200, 10),
        (3.0, 4, 600, 1800, 10),
        (10.0, 4, 60, 600, 10),
        (10.0, 8, 60, 600, 10),
        (30.0, 8, 60, 300, 10),
        (100.0, 8, 60, 200, 100),
    ] {
        let name = format!("auto, {workers} workers, {rate} calls/s, from {found} to {lasts} s");
        let line = |what, bound| Line::new(&name, what, bound);
        let mut off = line("belief off by", Bound::AtMost(0.05));
        let mut throttled = line("calls throttled", Bound::AtMost(0.01));
        let mut used = line("permits used", Bound::AtLeast(0.97));
        let measure = |seed| {
            let (worst, part, told) = auto(seed, rate, workers, found, lasts);
            (worst, part, told.used(rate, seconds(found), seconds(lasts)))
        };
        each_seed(&name, one_in, measure, |(worst, part, of_permits), seed| {
            off.see(worst, seed);
            throttled.see(part, seed);
            used.see(of_permits, seed);
        });
        table.extend([off, throttled, used]);
    }
}

fn run_large(table: &mut Vec<Line>) {
    for rate in [10.0, 100.0] {
        let name = format!("10,000,000 ids in 200 groups, {rate} calls/s");
        let line = |what, bound| Line::new(&name, what, bound);
        // Small groups that waited are served part-filled; what that costs is in the time that all take.
        let mut makespan = line("makespan, of the least", Bound::AtMost(1.02));
        let measure = |seed| {
            let world = World { groups: 200, ..World::new(seed, rate, seconds(200_000)) };
            measure_alone(world.backlog(10_000_000, 200), rate)
        };
        let mut turn = line("longest wait of a group, of its bound", Bound::AtMost(1.0));
        each_seed(&name, 500, measure, |run, seed| {
            makespan.see(run.makespan, seed);
            turn.see(run.longest_wait, seed);
        });
        table.extend([makespan, turn]);
    }
}

/// Runs a kind of worlds, and adds its lines to the table.
type Part = fn(&mut Vec<Line>);

fn main() -> ExitCode {
    let chosen: Vec<String> = std::env::args().skip(1).filter(|name| !name.starts_with('-')).collect();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.iter().any(|word| word == name);
    let parts: [(&str, Part); 4] =
        [("alone", run_alone), ("fleet", run_fleets), ("auto", run_auto), ("large", run_large)];
    let mut table = Vec::new();
    for (_, part) in parts.into_iter().filter(|(name, _)| is_chosen(name)) {
        part(&mut table);
    }
    let held = table::tell(&table);
    if is_chosen("compare") {
        compare::compare();
    }
    if held { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
