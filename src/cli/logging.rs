//! Where log lines go: to standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// Starts logging for the rest of the process.
pub fn start(settings: &LogSettings) -> anyhow::Result<()> {
    let filter =
        EnvFilter::try_new(&settings.level).context("log.level is no filter: try info, or bulkrelease=debug")?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match settings.format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging can't start: {error}"))
}
