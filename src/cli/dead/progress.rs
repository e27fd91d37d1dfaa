//! How far a move is: a bar on a terminal, a line a second elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

pub struct Progress {
    total: u64,
    told: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub fn new(total: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} letters, {eta} left");
            ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { total, told: 0, bar }
    }

    /// Called once a second.
    pub fn show(&mut self, moved: u64) {
        match &self.bar {
            Some(bar) => bar.set_position(moved),
            None if moved != self.told => note!("{moved}/{} letters", self.total),
            None => {}
        }
        self.told = moved;
    }

    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
