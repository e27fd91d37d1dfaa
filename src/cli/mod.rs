//! The command line: one file per command. Each builds what it needs from the settings and runs it.

/// Prints a line. Where nobody listens any more (`| head -1`) the work goes on all the same.
macro_rules! say {
    ($($argument:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stdout(), $($argument)*).ok();
    }};
}

/// The same on standard error, for what is not the command's answer. A terminal that is gone must not end the work.
macro_rules! note {
    ($($argument:tt)*) => {{
        use std::io::Write;
        writeln!(std::io::stderr(), $($argument)*).ok();
    }};
}

pub mod config;
pub mod dead;
pub mod demo;
pub mod doctor;
mod ending;
pub mod enqueue;
pub mod healthcheck;
mod logging;
mod reload;
pub mod sandbox;
pub mod setup;
mod signals;
pub mod verify;
pub mod worker;

use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};

pub use self::ending::exit_code;
use crate::config::{ConfigError, Loaded, environment, load};

/// Release cloud instances in bulk: jobs from a queue, batches of up to 100, one quota, a result for every job.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Cli {
    /// The settings file (TOML); see config/bulkrelease.toml for every setting [env: BULKRELEASE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Set one setting, above file and environment: --set accounts.default.burst=2
    #[arg(long = "set", global = true, value_name = "PATH=VALUE")]
    set: Vec<String>,

    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  bulkrelease demo                                     see the main job at work, nothing else needed
  bulkrelease sandbox --admin                          a ReleaseInstance API that releases nothing
  bulkrelease setup --set broker.url=amqp://localhost  declare queues and exchanges
  bulkrelease worker --config worker.toml              consume until SIGTERM
  bulkrelease doctor                                   what is wrong before it is felt
  bulkrelease dead list                                what was given up on, and what to do about it
  bulkrelease enqueue --product ecs --subscription-type PayAsYouGo i-bp1 i-bp2

A setting comes from its default, the file, the environment (BULKRELEASE__BROKER__URL) or --set; the last one wins.
`bulkrelease config` shows which did.";

#[derive(Debug, Subcommand)]
enum Command {
    Worker(worker::WorkerCommand),
    Enqueue(enqueue::EnqueueCommand),
    Setup(setup::SetupCommand),
    Dead(dead::DeadCommand),
    Verify(verify::VerifyCommand),
    Sandbox(sandbox::SandboxCommand),
    Demo(demo::DemoCommand),
    Doctor(doctor::DoctorCommand),
    Config(config::ConfigCommand),
    Healthcheck(healthcheck::HealthcheckCommand),
}

impl Cli {
    /// Runs the command to its end. An error's exit code is what `exit_code` says.
    pub fn run(self) -> anyhow::Result<()> {
        let Self { config, set, command } = self;
        if config.is_some() && matches!(command, Command::Sandbox(_)) {
            bail!("--config: a sandbox has settings of its own: give their file as --file FILE");
        }
        // Not clap's to read: only a flag is an order to this command, the variable is one to all that have settings.
        let variable = || std::env::var_os("BULKRELEASE_CONFIG").filter(|file| !file.is_empty()).map(PathBuf::from);
        let config = config.or_else(variable);
        let any_set = !set.is_empty();
        let load = move || -> Result<Loaded, ConfigError> { load(config.as_deref(), environment(), &set) };
        if let Command::Config(command) = command {
            return command.run(load, &mut std::io::stdout().lock());
        }
        if any_set && let Command::Demo(_) | Command::Sandbox(_) | Command::Healthcheck(_) = command {
            bail!("--set: this command takes no settings; its own flags are all it has (see --help)");
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no async runtime")?;
        runtime.block_on(async {
            match command {
                // Beside the tasks that it talks to: this thread is none of the runtime's, so every word would cross threads.
                Command::Worker(command) => tokio::spawn(command.run(load)).await?,
                Command::Enqueue(command) => command.run(load()?.settings).await,
                Command::Setup(command) => command.run(load()?.settings).await,
                Command::Dead(command) => command.run(load()?.settings).await,
                Command::Verify(command) => command.run(load()?.settings).await,
                Command::Sandbox(command) => command.run().await,
                Command::Demo(command) => command.run().await,
                Command::Healthcheck(command) => command.run().await,
                Command::Doctor(command) => command.run(load()).await,
                Command::Config(_) => Ok(()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
