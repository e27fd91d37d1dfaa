//! What a campaign says: one line for each bound and kind of world, with the worst that was seen, and whether it held.

/// On which side of a bound a value must be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug)]
pub struct Line {
    world: String,
    what: &'static str,
    bound: Bound,
    /// The worst value, and its seed.
    worst: Option<(f64, u64)>,
}

impl Line {
    pub fn new(world: impl Into<String>, what: &'static str, bound: Bound) -> Self {
        Self { world: world.into(), what, bound, worst: None }
    }

    pub fn see(&mut self, value: f64, seed: u64) {
        let worse = |(before, _): (f64, u64)| match self.bound {
            Bound::AtLeast(_) => value < before,
            Bound::AtMost(_) => value > before,
        };
        if self.worst.is_none_or(worse) {
            self.worst = Some((value, seed));
        }
    }

    fn held(&self) -> bool {
        self.worst.is_some_and(|(value, _)| match self.bound {
            Bound::AtLeast(bound) => value >= bound,
            Bound::AtMost(bound) => value <= bound,
        })
    }
}

/// Prints the table. Whether every bound held.
pub fn tell(lines: &[Line]) -> bool {
    println!("\n| world | seeds' worst of | bound | worst (seed) | |\n|---|---|---:|---:|---|");
    for line in lines {
        let bound = match line.bound {
            Bound::AtLeast(bound) => format!(">= {bound}"),
            Bound::AtMost(bound) => format!("<= {bound}"),
        };
        let worst = line.worst.map_or("none".to_owned(), |(value, seed)| format!("{value:.4} ({seed})"));
        let held = if line.held() { "held" } else { "BROKEN" };
        println!("| {} | {} | {bound} | {worst} | {held} |", line.world, line.what);
    }
    let broken = lines.iter().filter(|line| !line.held()).count();
    println!("\n{} bounds, {broken} broken", lines.len());
    broken == 0
}
