//! `bulkrelease dead purge`: discarded letters, for good.

use super::choosing::Choosing;
use super::moving::Moving;
use crate::broker::{Broker, Queue};
use crate::config::Settings;

/// Delete discarded letters for good. Only the archive can be purged: discard first
#[derive(Debug, clap::Args)]
pub struct PurgeCommand {
    #[command(flatten)]
    choosing: Choosing,
}

impl PurgeCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        Moving { from: Queue::Archive, to: None, done: "purged" }.run(&self.choosing, broker, settings).await
    }
}
