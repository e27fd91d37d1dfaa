//! The process's own series, read from /proc at each scrape. Elsewhere than on Linux there are none.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, Opts};

/// Clock ticks a second that Linux counts processes' CPU time in, on every architecture that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Debug)]
pub struct ProcessCollector {
    cpu_seconds: Counter,
    resident_bytes: IntGauge,
    open_files: IntGauge,
    start_seconds: Gauge,
}

impl ProcessCollector {
    pub fn new() -> Result<Self, prometheus::Error> {
        let start_seconds =
            Gauge::with_opts(Opts::new("process_start_time_seconds", "When the process started, since 1970."))?;
        start_seconds.set(jiff::Timestamp::now().as_millisecond() as f64 / 1000.0);
        Ok(Self {
            cpu_seconds: Counter::with_opts(Opts::new("process_cpu_seconds_total", "CPU time used, user and system."))?,
            resident_bytes: IntGauge::with_opts(Opts::new("process_resident_memory_bytes", "Memory in RAM."))?,
            open_files: IntGauge::with_opts(Opts::new("process_open_fds", "Open file descriptors."))?,
            start_seconds,
        })
    }

    /// Takes what /proc tells; what it doesn't tell keeps its value.
    fn read(&self) -> Option<()> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name and may hold anything, so fields are counted from its closing bracket.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
        self.cpu_seconds.inc_by((ticks / TICKS_PER_SECOND - self.cpu_seconds.get()).max(0.0));
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        self.resident_bytes.set(line.split_whitespace().next()?.parse::<i64>().ok()? * 1024);
        self.open_files.set(i64::try_from(fs::read_dir("/proc/self/fd").ok()?.count()).ok()?);
        Some(())
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        let collectors: [&dyn Collector; 4] =
            [&self.cpu_seconds, &self.resident_bytes, &self.open_files, &self.start_seconds];
        collectors.into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        let collectors: [&dyn Collector; 4] =
            [&self.cpu_seconds, &self.resident_bytes, &self.open_files, &self.start_seconds];
        collectors.into_iter().flat_map(Collector::collect).collect()
    }
}
