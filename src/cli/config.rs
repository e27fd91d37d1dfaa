//! `bulkrelease config`: shows every setting in force and where it came from, or checks a file.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use serde_json::Value;

use crate::config::{self, ConfigError, Loaded};

/// Show every setting in force and where it came from
#[derive(Debug, clap::Args)]
pub struct ConfigCommand {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Check a settings file, without the environment and without flags
    Check {
        /// The file, as TOML
        file: PathBuf,
    },
}

impl ConfigCommand {
    /// Runs the command. `load` gives the settings in force; a check of a file never asks for them, so that broken
    /// surroundings don't hide what is wrong with the file.
    pub fn run(
        self,
        load: impl FnOnce() -> Result<Loaded, ConfigError>,
        output: &mut impl Write,
    ) -> anyhow::Result<()> {
        match self.action {
            None => show(&load()?, output),
            Some(Action::Check { file }) => {
                config::load(Some(&file), std::iter::empty(), &[])?;
                Ok(writeln!(output, "{} is valid", file.display())?)
            }
        }
    }
}

/// One line a setting. What is printed is a settings file again, but for the password.
fn show(loaded: &Loaded, output: &mut impl Write) -> anyhow::Result<()> {
    for (path, value) in config::leaves(&loaded.settings)? {
        let origin = loaded.origin(&path);
        match value {
            Value::Null => writeln!(output, "# {path} is not set")?,
            Value::String(url) if matches!(&*path, "broker.url" | "broker.management_url") => {
                writeln!(output, "{path} = {}  # {origin}", toml::Value::String(config::redacted(&url)))?;
            }
            value => {
                let value = toml::Value::try_from(&value).with_context(|| format!("{path} can't be written"))?;
                writeln!(output, "{path} = {value}  # {origin}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Settings;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        config: ConfigCommand,
    }

    fn run(arguments: &[&str], loaded: Result<Loaded, ConfigError>) -> anyhow::Result<String> {
        let mut output = Vec::new();
        Command::try_parse_from(arguments)?.config.run(|| loaded, &mut output)?;
        Ok(String::from_utf8(output)?)
    }

    fn loaded(flags: &[&str]) -> Loaded {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let environment = [("BULKRELEASE__WORKER__LINGER".to_owned(), "50ms".to_owned())];
        config::load(None, environment.into_iter(), &flags).unwrap()
    }

    #[test]
    fn every_setting_is_shown_with_its_origin_and_without_the_password() {
        let flags = [
            "broker.url=amqp://user:secret@host",
            "broker.management_url=http://user:secret@host:15672",
            "accounts.vno.burst=2",
        ];
        let output = run(&["config"], Ok(loaded(&flags))).unwrap();
        for line in [
            "broker.url = \"amqp://user:***@host\"  # flag --set\n",
            "broker.management_url = \"http://user:***@host:15672\"  # flag --set\n",
            "worker.linger = \"50ms\"  # environment BULKRELEASE__WORKER__LINGER\n",
            "broker.prefetch = 1000  # default\n",
            "accounts.vno.burst = 2  # flag --set\n",
            "accounts.vno.calls_per_second = 3.0  # default\n",
            "# broker.tls.ca_file is not set\n",
        ] {
            assert!(output.contains(line), "{line} is missing in:\n{output}");
        }
        assert!(!output.contains("secret"), "{output}");
    }

    #[test]
    fn what_is_shown_can_be_used_as_a_settings_file() {
        let flags = [
            "broker.url=sqlite:jobs.db",
            "safety.protected=[\"i-1\", \"db-*\"]",
            "accounts.vno.error_classes={ \"Busy.Now\" = \"transient\", \"Old.*\" = \"gone\" }",
            "accounts.vno.calls_per_second=unlimited",
        ];
        let loaded = loaded(&flags);
        let output = run(&["config"], Ok(loaded.clone())).unwrap();
        assert_eq!(toml::from_str::<Settings>(&output).unwrap(), loaded.settings, "{output}");
    }

    #[test]
    fn a_file_is_checked_by_itself() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("settings.toml");
        let path = file.to_str().unwrap();
        let broken_surroundings = || config::load(None, std::iter::empty(), &["broker.prefetch=0".to_owned()]);

        std::fs::write(&file, "[broker]\nprefetch = 5\n").unwrap();
        let output = run(&["config", "check", path], broken_surroundings()).unwrap();
        assert_eq!(output, format!("{path} is valid\n"));

        std::fs::write(&file, "[broker]\nprefetch = 0\n[worker]\nsplit_budget = 0\n").unwrap();
        let error = run(&["config", "check", path], broken_surroundings()).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 2, "{error}");
        assert!(error.starts_with(&format!("broker.prefetch (file {path}) is 0: write a number from 1")), "{error}");

        std::fs::write(&file, "[broker]\nprefetsch = 5\n").unwrap();
        let error = run(&["config", "check", path], broken_surroundings()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{path}:2:1: ")), "{error}");
    }
}
