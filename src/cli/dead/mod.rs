//! `bulkrelease dead`: what was given up on. A file for each verb; what they do is in the room `dead`.

mod carrying;
mod choosing;
mod confirm;
mod discard;
mod export;
mod import;
mod list;
mod looking;
mod moving;
mod progress;
mod purge;
mod replay;
mod restore;
mod retarget;
mod show;
mod stages;
mod stopping;
mod unfinished;

use crate::broker::{self, Queue};
use crate::cli::logging;
use crate::config::{LogSettings, Settings};

/// Look at what was given up on, and send it again, put it aside or move it elsewhere
#[derive(Debug, clap::Args)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Looking (list, show, export) takes nothing out of the queue and changes nothing in it, however often it is done.

At three in the morning:
  bulkrelease dead list                                  what died, of what, and what to do about it
  bulkrelease dead show 1f0c3a9be2d1 --limit 1           one of them, whole
  bulkrelease dead replay --fingerprint 1f0c3a9be2d1     shows what it would do, then asks; sends 1, then 10, then the rest
  bulkrelease dead discard --reason Malformed            into the archive; `restore` brings it back until it is purged

Exit codes:
  0  done: all of it
  1  an error, which says how far it came
  2  the command line is wrong
  3  no letter matches (`list` shows an empty list)
  4  not all of it: somebody else holds letters, or took them
  5  stopped by the canary
  6  stopped by a signal: Ctrl-C, SIGTERM, or the end of its terminal"
)]
pub struct DeadCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    List(list::ListCommand),
    Show(show::ShowCommand),
    Replay(replay::ReplayCommand),
    Retarget(retarget::RetargetCommand),
    Discard(discard::DiscardCommand),
    Restore(restore::RestoreCommand),
    Purge(purge::PurgeCommand),
    Export(export::ExportCommand),
    Import(import::ImportCommand),
}

impl Verb {
    /// The queue that is looked at, and where its letters go.
    fn queues(&self) -> String {
        let (from, to) = match self {
            Self::List(list::ListCommand { archive, .. })
            | Self::Show(show::ShowCommand { archive, .. })
            | Self::Export(export::ExportCommand { archive, .. }) => (Some(looking::queue(*archive)), None),
            Self::Replay(_) | Self::Retarget(_) => (Some(Queue::Dead), Some(Queue::Jobs)),
            Self::Discard(_) => (Some(Queue::Dead), Some(Queue::Archive)),
            Self::Restore(_) => (Some(Queue::Archive), Some(Queue::Dead)),
            Self::Purge(_) => (Some(Queue::Archive), None),
            Self::Import(_) => (None, Some(Queue::Dead)),
        };
        match (from, to) {
            (Some(from), Some(to)) => format!("{} -> {}", from.name(), to.name()),
            (from, to) => from.or(to).map_or_else(String::new, |queue| queue.name()),
        }
    }
}

impl DeadCommand {
    pub async fn run(self, settings: Settings) -> anyhow::Result<()> {
        logging::start(&LogSettings { level: level(&settings.log.level), ..settings.log.clone() })?;
        let broker = broker::open(&settings.broker, &settings.retry.steps)?;
        // Before anything is looked at or waited for: whoever is in the wrong place wants to know now.
        note!("{} at {}", self.verb.queues(), broker.place());
        match self.verb {
            Verb::List(command) => command.run(&*broker).await,
            Verb::Show(command) => command.run(&*broker).await,
            Verb::Replay(command) => command.run(&*broker, &settings).await,
            Verb::Retarget(command) => command.run(&*broker, &settings).await,
            Verb::Discard(command) => command.run(&*broker, &settings).await,
            Verb::Restore(command) => command.run(&*broker, &settings).await,
            Verb::Purge(command) => command.run(&*broker, &settings).await,
            Verb::Export(command) => command.run(&*broker).await,
            Verb::Import(command) => command.run(&*broker).await,
        }
    }
}

/// Whoever waits wants to hear why, and not that all is well, unless the settings say what to log.
fn level(set: &str) -> String {
    if set == LogSettings::default().level { "bulkrelease=warn".to_owned() } else { set.to_owned() }
}
