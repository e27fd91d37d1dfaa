//! `bulkrelease dead import`: letters that were exported, back into the dead-letter queue.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;

use crate::broker::{Broker, BrokerError};
use crate::contract::Message;
use crate::dead::record;
use crate::dead::replayed::imported;

/// Letters handed to the broker at a time.
const LETTERS_AT_A_TIME: usize = 1_000;

/// Put exported letters back into release.dead
///
/// Never into the jobs: what is to be released again goes through `replay`, which shows first what it will do. Letters come
/// back byte for byte, with a replay number that none of their earlier replays had. If it fails midway, the lines that are
/// not imported are written to FILE.left: import that.
#[derive(Debug, clap::Args)]
pub struct ImportCommand {
    /// What `export` wrote; - reads standard input
    file: PathBuf,
}

impl ImportCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        // All of it is read once before any of it is stored, so that a mistake in the last line leaves nothing half done.
        let text = self.read()?;
        let mut lines = Vec::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("line {} (nothing was imported)", index + 1);
            record::read(line).map_err(anyhow::Error::msg).with_context(place)?;
            lines.push(line);
        }
        let (total, now) = (lines.len(), Timestamp::now());
        let mut left = lines.split_off(0);
        while !left.is_empty() {
            let further = left.split_off(left.len().min(LETTERS_AT_A_TIME));
            let letters: Result<Vec<Message>, String> =
                left.iter().map(|line| Ok(imported(record::read(line)?, now))).collect();
            let answers = broker.deposit(letters.map_err(anyhow::Error::msg)?).await;
            let failed = answers.iter().zip(left).filter(|(answer, _)| answer.is_err());
            let failed: Vec<&str> = failed.map(|(_, line)| line).collect();
            if !failed.is_empty() {
                let left = [failed, further].concat();
                return self.failed(&left, total, answers.into_iter().filter_map(Result::err));
            }
            left = further;
        }
        say!("{total} letters imported into release.dead");
        Ok(())
    }

    /// Says what is imported and keeps what isn't.
    fn failed(&self, left: &[&str], total: usize, errors: impl Iterator<Item = BrokerError>) -> anyhow::Result<()> {
        let (refused, unsure): (Vec<_>, Vec<_>) =
            errors.partition(|error| matches!(error, BrokerError::NotStored(_) | BrokerError::Unroutable(_)));
        let first = refused.first().or(unsure.first()).map(ToString::to_string).unwrap_or_default();
        let (imported, unsure) = (total - left.len(), unsure.len());
        let doubt = match unsure {
            0 => String::new(),
            _ => format!(" {unsure} of them may be imported all the same: look for their jobs before (`list --job`)."),
        };
        let path = self.path_of_what_is_left();
        if let Err(error) = write(&path, left) {
            bail!(
                "{imported} of {total} letters are imported: {first}. What is not can't be kept in {}: {error}",
                path.display()
            );
        }
        bail!(
            "{imported} of {total} letters are imported: {first}. The {} others are in {}: import that to go on.{doubt}",
            left.len(),
            path.display()
        )
    }

    fn path_of_what_is_left(&self) -> PathBuf {
        match self.file.to_str() {
            Some("-") => PathBuf::from("bulkrelease-import.left"),
            _ => {
                let mut path = self.file.clone().into_os_string();
                path.push(".left");
                path.into()
            }
        }
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

fn write(path: &Path, lines: &[&str]) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create_new(path)?);
    for line in lines {
        writeln!(file, "{line}")?;
    }
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}
