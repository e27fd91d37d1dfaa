//! The question before something is done: a number that only whoever read what stands above it types.

use anyhow::{Context, bail};

/// Asks for the number of what is about to be done.
pub fn confirm(what: &str, count: u64) -> anyhow::Result<()> {
    say!("Type the number of {what}, {count}, to go on; anything else changes nothing:");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).context("no answer can be read: add --yes")?;
    if read == 0 {
        bail!("nobody is there to answer: nothing was changed; add --yes where no terminal is");
    }
    if line.trim().parse() == Ok(count) {
        return Ok(());
    }
    bail!("not confirmed: nothing was changed");
}
