//! `bulkrelease dead export`: letters as JSON lines, byte for byte.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

use super::looking::{self, Seen};
use crate::broker::Broker;
use crate::dead::record;
use crate::dead::selection::Selection;
use crate::dead::whole_file::WholeFile;

/// Write letters as JSON lines, byte for byte; they stay in the queue
#[derive(Debug, clap::Args)]
pub struct ExportCommand {
    /// Write to a new file, which is there when it is whole; standard output without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    /// Export what was discarded
    #[arg(long)]
    pub(super) archive: bool,
}

impl ExportCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        let (seen, written) = match &self.to {
            None => self.write(broker, &mut BufWriter::new(std::io::stdout())).await?,
            Some(path) => {
                let named = || path.display().to_string();
                let mut file = WholeFile::begin(path).with_context(named)?;
                let written = self.write(broker, &mut file).await?;
                file.finish().with_context(named)?;
                written
            }
        };
        note!("{written} letters exported; they are still in the queue");
        Ok(seen.whole()?)
    }

    /// What was seen, and how many letters are written.
    async fn write(&self, broker: &dyn Broker, output: &mut (dyn Write + Send)) -> anyhow::Result<(Seen, u64)> {
        let mut written = 0_u64;
        let queue = looking::queue(self.archive);
        let seen = looking::each(broker, queue.clone(), &self.selection, |message, _| {
            writeln!(output, "{}", record::write(message)?).context("the letters can't be written")?;
            written += 1;
            Ok(())
        })
        .await;
        // What stands before a letter that can't be read is kept as well.
        output.flush().context("the letters can't be written")?;
        let seen = seen.with_context(|| format!("after {written} letters were written"))?;
        if written == 0 {
            return Err(seen.nothing(&queue, &self.selection).into());
        }
        Ok((seen, written))
    }
}
