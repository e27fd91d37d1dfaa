//! `bulkrelease setup`: declare what a worker needs of its broker, so that the worker itself may have few rights.

use crate::broker::{self, Queue};
use crate::config::Settings;

/// Declare queues and exchanges. Idempotent; what exists with other arguments is named and left alone
#[derive(Debug, clap::Args)]
pub struct SetupCommand {}

impl SetupCommand {
    pub async fn run(self, settings: Settings) -> anyhow::Result<()> {
        let broker = broker::open(&settings.broker, &settings.retry.steps)?;
        broker.declare().await?;
        let retry = settings.retry.steps.iter().map(|after| Queue::Retry { after: *after });
        for queue in Queue::ALL.into_iter().chain(retry) {
            say!("{} is ready", queue.name());
        }
        Ok(())
    }
}
