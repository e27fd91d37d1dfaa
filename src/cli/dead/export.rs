//! `bulkrelease dead export`: letters as JSON lines, byte for byte.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;

use super::looking;
use crate::broker::Broker;
use crate::dead::record;
use crate::dead::selection::Selection;

/// Write letters as JSON lines, byte for byte; they stay in the queue
#[derive(Debug, clap::Args)]
pub struct ExportCommand {
    /// Write to a new file; standard output without it
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,

    #[command(flatten)]
    selection: Selection,

    /// Export what was discarded
    #[arg(long)]
    archive: bool,
}

impl ExportCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        let output: Box<dyn Write + Send> = match &self.to {
            Some(path) => Box::new(std::fs::File::create_new(path).with_context(|| path.display().to_string())?),
            None => Box::new(std::io::stdout()),
        };
        let mut output = std::io::BufWriter::new(output);
        let mut written = 0_u64;
        let queue = looking::queue(self.archive);
        let seen = looking::each(broker, queue.clone(), &self.selection, |message, _| {
            writeln!(output, "{}", record::write(message)?).context("the letters can't be written")?;
            written += 1;
            Ok(())
        })
        .await?;
        output.flush().context("the letters can't be written")?;
        if written == 0 {
            return Err(seen.nothing(&queue, &self.selection).into());
        }
        eprintln!("{written} letters exported; they are still in the queue");
        Ok(seen.whole()?)
    }
}
