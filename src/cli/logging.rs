//! Where log lines go: to standard error, as text for people or JSON for machines.

use std::io::IsTerminal;

use anyhow::Context;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, reload};

use crate::config::{LogFormat, LogSettings};

/// The level of a log that was started.
pub struct Level(Box<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>);

impl Level {
    /// Changes it from here on.
    pub fn set(&self, level: &str) -> anyhow::Result<()> {
        (self.0)(filter(level)?)
    }
}

fn filter(level: &str) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(level).context("log.level is no filter: try info, or bulkrelease=debug")
}

/// Starts logging for the rest of the process.
pub fn start(settings: &LogSettings) -> anyhow::Result<Level> {
    let (filter, level) = reload::Layer::new(filter(&settings.level)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    let started = match settings.format {
        LogFormat::Human => registry.with(lines.with_ansi(std::io::stderr().is_terminal())).try_init(),
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging can't start: {error}"))?;
    Ok(Level(Box::new(move |filter| level.reload(filter).context("the log's level can't be changed"))))
}
