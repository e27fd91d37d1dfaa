//! `bulkrelease dead import`: letters that were exported, back into the dead-letter queue.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use futures_util::FutureExt;
use jiff::Timestamp;

use super::unfinished;
use crate::broker::{Broker, BrokerError};
use crate::cli::signals;
use crate::contract::Message;
use crate::dead::mover::Stop;
use crate::dead::record;
use crate::dead::replayed::imported;
use crate::dead::whole_file::WholeFile;

/// Letters handed to the broker at a time, and how much text they are at most, but for the last of them.
const LETTERS_AT_A_TIME: usize = 1_000;
const BYTES_AT_A_TIME: usize = 32 * 1024 * 1024;

/// Put exported letters back into release.dead
///
/// Never into the jobs: what is to be released again goes through `replay`, which shows first what it will do. Letters come
/// back byte for byte, with a replay number that none of their earlier replays had. If it fails midway or is stopped, the
/// lines that are not imported are written to FILE.left: import that.
#[derive(Debug, clap::Args)]
pub struct ImportCommand {
    /// What `export` wrote; - reads standard input
    file: PathBuf,
}

/// Why no more is imported.
enum Cut {
    Stopped,
    Refused(Vec<BrokerError>),
}

impl ImportCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        let left = self.path_of_what_is_left();
        if left.symlink_metadata().is_ok() {
            bail!(
                "{} is left of an import that failed: import that first, or delete it (nothing was imported)",
                left.display()
            );
        }
        // All of it is read once before any of it is stored, so that a mistake in the last line leaves nothing half done.
        let mut file = self.open()?;
        let total = check(BufReader::new(&file))?;
        file.rewind().context("the lines can't be read again")?;
        let mut lines = BufReader::new(&file).lines();
        let mut stop: Stop = signals::stop_or_hangup()?.boxed();
        let (mut imported, now) = (0, Timestamp::now());
        loop {
            let some = some(&mut lines).context("the lines can't be read again")?;
            if some.is_empty() {
                break;
            }
            let (failed, cut) = match (&mut stop).now_or_never() {
                Some(()) => (some, Some(Cut::Stopped)),
                None => deposit(broker, some, now, &mut imported).await?,
            };
            if let Some(cut) = cut {
                let kept = keep(&left, failed, lines);
                return Err(self.cut_short(cut, imported, total, &left, kept));
            }
        }
        say!("{imported} letters imported into release.dead");
        Ok(())
    }

    /// Says what is imported, and where the rest is.
    fn cut_short(&self, cut: Cut, imported: u64, total: u64, left: &Path, kept: std::io::Result<()>) -> anyhow::Error {
        let (why, doubt) = match &cut {
            Cut::Stopped => ("stopped".to_owned(), String::new()),
            Cut::Refused(errors) => {
                let is_sure =
                    |error: &&BrokerError| matches!(error, BrokerError::NotStored(_) | BrokerError::Unroutable(_));
                let first = errors.iter().find(is_sure).or(errors.first()).map(ToString::to_string);
                let doubt = match errors.iter().filter(|error| !is_sure(error)).count() {
                    0 => String::new(),
                    unsure => format!(
                        " {unsure} of them may be imported all the same: look for their jobs before (`list --job`)."
                    ),
                };
                (first.unwrap_or_default(), doubt)
            }
        };
        let (others, left) = (total.saturating_sub(imported), left.display());
        let rest = match kept {
            Ok(()) => format!("The {others} others are in {left}: import that to go on.{doubt}"),
            Err(error) => format!("The {others} others can't be kept in {left}: {error}.{doubt}"),
        };
        let words = format!("{imported} of {total} letters are imported: {why}. {rest}");
        match cut {
            Cut::Stopped => unfinished::stopped(words).into(),
            Cut::Refused(_) => anyhow::Error::msg(words),
        }
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

    /// A file that can be read twice: what comes through a pipe is put aside first.
    fn open(&self) -> anyhow::Result<File> {
        let mut pipe: Box<dyn std::io::Read> = if self.file.to_str() == Some("-") {
            Box::new(std::io::stdin())
        } else {
            let named = || self.file.display().to_string();
            let file = File::open(&self.file).with_context(named)?;
            if file.metadata().with_context(named)?.is_file() {
                return Ok(file);
            }
            Box::new(file)
        };
        let mut aside = tempfile::tempfile_in(".").context("no temporary file in this folder")?;
        std::io::copy(&mut pipe, &mut aside).context("the lines can't be put aside")?;
        aside.rewind().context("the lines can't be read again")?;
        Ok(aside)
    }
}

/// How many letters there are, each of which can be read.
fn check(lines: impl BufRead) -> anyhow::Result<u64> {
    let mut count = 0;
    for (index, line) in lines.lines().enumerate() {
        let place = || format!("line {} (nothing was imported)", index + 1);
        let line = line.with_context(place)?;
        if !line.trim().is_empty() {
            record::read(&line).map_err(anyhow::Error::msg).with_context(place)?;
            count += 1;
        }
    }
    Ok(count)
}

/// The next lines with letters, as many as go to the broker at a time.
fn some(lines: &mut Lines<impl BufRead>) -> std::io::Result<Vec<String>> {
    let (mut some, mut bytes) = (Vec::new(), 0);
    while some.len() < LETTERS_AT_A_TIME && bytes < BYTES_AT_A_TIME {
        let Some(line) = lines.next().transpose()? else { break };
        if !line.trim().is_empty() {
            bytes += line.len();
            some.push(line);
        }
    }
    Ok(some)
}

/// Imports some lines; answers with those that failed.
async fn deposit(
    broker: &dyn Broker,
    lines: Vec<String>,
    now: Timestamp,
    count: &mut u64,
) -> anyhow::Result<(Vec<String>, Option<Cut>)> {
    let letters: Result<Vec<Message>, String> =
        lines.iter().map(|line| Ok(imported(record::read(line)?, now))).collect();
    let answers = broker.deposit(letters.map_err(anyhow::Error::msg)?).await;
    let (mut failed, mut errors) = (Vec::new(), Vec::new());
    for (line, answer) in lines.into_iter().zip(answers) {
        match answer {
            Ok(()) => *count += 1,
            Err(error) => {
                failed.push(line);
                errors.push(error);
            }
        }
    }
    let cut = (!errors.is_empty()).then_some(Cut::Refused(errors));
    Ok((failed, cut))
}

/// Keeps what is not imported: these lines, and those that were not read yet.
fn keep(path: &Path, failed: Vec<String>, rest: Lines<impl BufRead>) -> std::io::Result<()> {
    let mut file = WholeFile::begin(path)?;
    for line in failed.into_iter().map(Ok).chain(rest) {
        let line = line?;
        if !line.trim().is_empty() {
            writeln!(file, "{line}")?;
        }
    }
    file.finish().map(drop)
}
