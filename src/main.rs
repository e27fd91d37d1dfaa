//! Parses the command line, runs one command, and turns its end into an exit code; nothing else.

use std::io::Write;
use std::process::ExitCode;

use bulkrelease::cli::{Cli, exit_code};
use clap::Parser;

fn main() -> ExitCode {
    // One TLS stack for the broker and the API. A second installation would mean that somebody else chose; none does.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("error: another cryptography provider is installed already");
        return ExitCode::FAILURE;
    }
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A terminal that is gone must not change the exit code.
            drop(writeln!(std::io::stderr(), "error: {error:#}"));
            ExitCode::from(exit_code(&error))
        }
    }
}
