//! `bulkrelease verify`: is anything lost? Watches results and dead letters in a queue of its own, takes nothing from those
//! of others, and holds all that was sent against all that came of it.

mod copies;
mod ledger;
mod sent;
mod show;

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::broker::{self, WatchName};
use crate::config::Settings;
use crate::verify::Books;

/// Say where all ids ended, what is missing and what came twice; with --json for every job and id
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bulkrelease verify begin tonight               before the first job is enqueued
  bulkrelease enqueue --jobs jobs.jsonl
  bulkrelease verify report tonight --jobs jobs.jsonl
  bulkrelease verify report tonight --jobs jobs.jsonl --sandbox http://127.0.0.1:9470 --json
  bulkrelease verify end tonight

A report takes nothing away, so it may be asked for as often as you like, while jobs run or after. It ends with exit code 1
when something is missing or wrong. A watch that nobody reports on ends by itself after a day.")]
pub struct VerifyCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Keep copies of every result and dead letter from now on
    Begin {
        #[arg(value_parser = WatchName::new)]
        name: WatchName,
    },
    /// Hold what came against what was sent
    Report {
        #[arg(value_parser = WatchName::new)]
        name: WatchName,

        /// The jobs that were sent, one a line: a job's body, or {"Body":"...","MessageId":"..."}; - reads standard input
        #[arg(long, value_name = "FILE", required_unless_present = "sandbox")]
        jobs: Option<PathBuf>,

        /// Ask this sandbox, started with --admin, what was really called and released
        #[arg(long, value_name = "URL")]
        sandbox: Option<String>,

        /// Print everything as one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Drop the copies
    End {
        #[arg(value_parser = WatchName::new)]
        name: WatchName,
    },
}

impl VerifyCommand {
    pub async fn run(self, settings: Settings) -> anyhow::Result<()> {
        let broker = broker::open(&settings.broker, &settings.retry.steps)?;
        match self.action {
            Action::Begin { name } => {
                broker.watch(name.clone()).await?;
                say!("{name} gets a copy of every result and dead letter from now on");
            }
            Action::End { name } => broker.unwatch(name).await?,
            Action::Report { name, jobs, sandbox, json } => {
                let mut books = Books::default();
                if let Some(path) = jobs {
                    sent::enter(&mut books, &path)?;
                }
                copies::enter(&mut books, &*broker, name).await?;
                copies::enter_waiting(&mut books, &*broker).await?;
                if let Some(url) = sandbox {
                    ledger::enter(&mut books, &url).await.with_context(|| format!("the sandbox's ledger at {url}"))?;
                }
                let report = books.judged();
                if json {
                    show::json(&report)?
                } else {
                    show::words(&report)
                }
                let (missing, wrong) = (report.summary.missing, report.summary.wrong);
                if missing + wrong > 0 {
                    bail!("{missing} missing, {wrong} wrong");
                }
            }
        }
        Ok(())
    }
}
