//! `bulkrelease dead restore`: what was discarded, back among the dead letters.

use super::choosing::Choosing;
use super::moving::Moving;
use crate::broker::{Broker, Destination, Queue};
use crate::config::Settings;

/// Bring discarded letters back into release.dead
#[derive(Debug, clap::Args)]
pub struct RestoreCommand {
    #[command(flatten)]
    choosing: Choosing,
}

impl RestoreCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let moving = Moving { from: Queue::Archive, to: Some(Destination::DeadAgain), done: "restored" };
        moving.run(&self.choosing, broker, settings).await
    }
}
