//! The demo's progress: a bar on a terminal, a line a second elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::sandbox::Counts;

const LINE_EVERY: Duration = Duration::from_secs(1);

pub struct Progress {
    jobs: usize,
    bar: Option<ProgressBar>,
    next_line: Instant,
}

impl Progress {
    pub fn new(jobs: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{elapsed_precise} [{bar:40}] {pos}/{len} jobs  {msg}");
            ProgressBar::new(jobs as u64).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { jobs, bar, next_line: Instant::now() }
    }

    pub fn show(&mut self, results: usize, counts: &Counts) {
        let text = || {
            format!(
                "{} calls, {} instances released, {} throttled",
                counts.calls, counts.ids_released, counts.throttled
            )
        };
        match &self.bar {
            Some(bar) => {
                bar.set_position(results as u64);
                bar.set_message(text());
            }
            None if Instant::now() >= self.next_line => {
                self.next_line = Instant::now() + LINE_EVERY;
                say!("{results}/{} jobs, {}", self.jobs, text());
            }
            None => {}
        }
    }

    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
