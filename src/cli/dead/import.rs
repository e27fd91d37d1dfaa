//! `bulkrelease dead import`: letters that were exported, back into the dead-letter queue.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::broker::Broker;
use crate::contract::Message;
use crate::dead::record;

/// Letters handed to the broker at a time.
const LETTERS_AT_A_TIME: usize = 1_000;

/// Put exported letters back into release.dead
///
/// Never into the jobs: what is to be released again goes through `replay`, which shows first what it will do.
#[derive(Debug, clap::Args)]
pub struct ImportCommand {
    /// What `export` wrote; - reads standard input
    file: PathBuf,
}

impl ImportCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        // All of it is read once before any of it is stored, so that a mistake in the last line leaves nothing half done.
        let text = self.read()?;
        let lines = || text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let place = |index: usize| format!("line {} (nothing was imported)", index + 1);
        for (index, line) in lines() {
            record::read(line).map_err(anyhow::Error::msg).with_context(|| place(index))?;
        }
        let total = lines().count();
        let mut imported = 0;
        let mut letters = lines().map(|(_, line)| record::read(line));
        loop {
            let some: Vec<Message> =
                letters.by_ref().take(LETTERS_AT_A_TIME).collect::<Result<_, _>>().map_err(anyhow::Error::msg)?;
            if some.is_empty() {
                break;
            }
            let answers = broker.deposit(some).await;
            imported += answers.iter().filter(|answer| answer.is_ok()).count();
            if let Some(Err(error)) = answers.into_iter().find(Result::is_err) {
                bail!("{imported} of {total} letters are imported, in no order. The first failure: {error}");
            }
        }
        say!("{imported} letters imported into release.dead");
        Ok(())
    }

    fn read(&self) -> anyhow::Result<String> {
        let mut reader: Box<dyn Read> = match self.file.to_str() {
            Some("-") => Box::new(std::io::stdin()),
            _ => Box::new(std::fs::File::open(&self.file).with_context(|| self.file.display().to_string())?),
        };
        let mut text = String::new();
        reader.read_to_string(&mut text).context("the lines can't be read")?;
        Ok(text)
    }
}
