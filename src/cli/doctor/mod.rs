//! `bulkrelease doctor`: what is wrong before it is felt. Gathers the facts here; `crate::doctor` judges them.

mod facts;
mod show;

use std::time::Duration;

use crate::cli::ending::Ending;
use crate::config::{ConfigError, Loaded, parse_duration};
use crate::doctor::{self, Soundness};

/// Look for what is wrong with settings, accounts and broker; changes and releases nothing
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every finding says how bad it is (loses-data, will-fail, wasteful, note), what was found, why it matters and what mends it.
Its code is stable. What can't be looked at is listed with the reason.

Exit codes:
  0  nothing that matters was found (notes don't), and everything that can be looked at was
  1  something was found that matters
  2  nothing was found that matters, but something that could be looked at was not: the list says how

On RabbitMQ policies, bindings and nodes are told by the management plugin (broker.management_url). An account is asked one
unsigned request without an operation, and one QueryAvailableInstances, which changes nothing. Whether it may release is
never tried.

Examples:
  bulkrelease doctor --config worker.toml
  bulkrelease doctor --json | jq -r '.Findings[].Code'
  bulkrelease doctor --consumer-timeout 30m")]
pub struct DoctorCommand {
    /// Write one JSON object, for programs
    #[arg(long)]
    json: bool,

    /// The broker's consumer_timeout, which it tells nobody but its own command line
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    consumer_timeout: Option<Duration>,
}

impl DoctorCommand {
    pub async fn run(self, loaded: Result<Loaded, ConfigError>) -> anyhow::Result<()> {
        let report = match loaded {
            Ok(Loaded { settings, .. }) => doctor::examine(&facts::gather(&settings, self.consumer_timeout).await),
            Err(error) => doctor::refused(&error),
        };
        if self.json {
            show::json(&report)?
        } else {
            show::words(&report)
        }
        match report.soundness() {
            Soundness::Sound => Ok(()),
            Soundness::Findings => Err(Ending::new(1, "something was found that matters").into()),
            Soundness::Unchecked => Err(Ending::new(2, "not everything could be looked at").into()),
        }
    }
}
