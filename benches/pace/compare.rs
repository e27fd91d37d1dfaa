//! Batches sealed by permit, held against batches sealed by size or time, in the same world: one worker, 3 calls a second,
//! 12 groups of skewed shares, jobs of 1 to 20 ids that come at random. A table for docs/pace.md, and its plot.

use std::time::Duration;

use crate::plot::{Line, plot};
use crate::scenarios::seconds;
use crate::world::{Batching, Told, World};

const RATE: f64 = 3.0;
const LOADS: [f64; 7] = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95];
const LASTS: u64 = 1200;

fn ways() -> [(&'static str, Batching); 4] {
    let time = |milliseconds| Batching::BySizeOrTime(Duration::from_millis(milliseconds));
    [
        ("by permit (bulkrelease)", Batching::ByPermit),
        ("100 ids or 100 ms", time(100)),
        ("100 ids or 1 s", time(1000)),
        ("100 ids or 10 s", time(10_000)),
    ]
}

fn run(batching: Batching, load: f64) -> (u64, Told) {
    let world = World::new(1, RATE, seconds(100_000)).stream(load * RATE * 100.0, 20, seconds(LASTS));
    let jobs = world.jobs.len();
    let world = World { batching, ..world };
    let fewest = world.fewest();
    let told = world.run();
    assert_eq!(told.latencies.len(), jobs, "{batching:?} at {load}: jobs without an end");
    (fewest, told)
}

pub fn compare() {
    let mut table = String::from(
        "| load | batches | calls | of the fewest | ids a call | last call after | median job | 99 in 100 jobs |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let mut lines: Vec<Line> = ways().iter().map(|(name, _)| Line { name, points: Vec::new() }).collect();
    for load in LOADS {
        for (place, (name, batching)) in ways().into_iter().enumerate() {
            let (fewest, told) = run(batching, load);
            let ids: usize = told.sent.iter().map(|sent| sent.batch.ids).sum();
            let calls = told.calls() as f64;
            let last = told.sent.last().map_or(0.0, |sent| sent.at.as_secs_f64());
            let (median, most) = (told.percentile(0.5).as_secs_f64(), told.percentile(0.99).as_secs_f64());
            table.push_str(&format!(
                "| {:.0} % | {name} | {calls:.0} | {:.2} | {:.0} | {last:.0} s | {median:.1} s | {most:.1} s |\n",
                load * 100.0,
                calls / fewest as f64,
                ids as f64 / calls
            ));
            lines[place].points.push((load * 100.0, most));
        }
    }
    println!("{table}");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/pace-comparison.svg");
    match std::fs::write(path, plot(&lines)) {
        Ok(()) => println!("written: docs/pace-comparison.svg"),
        Err(error) => println!("{path}: {error}"),
    }
}
