//! `bulkrelease dead discard`: out of the way, not out of the world.

use super::choosing::Choosing;
use super::moving::Moving;
use crate::broker::{Broker, Destination, Queue};
use crate::config::Settings;

/// Put letters into the archive, release.archive; `restore` brings them back until they are purged
#[derive(Debug, clap::Args)]
pub struct DiscardCommand {
    #[command(flatten)]
    choosing: Choosing,
}

impl DiscardCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let moving = Moving { from: Queue::Dead, to: Some(Destination::Archive), done: "discarded" };
        moving.run(&self.choosing, broker, settings).await
    }
}
