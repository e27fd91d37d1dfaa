//! The settings file: from its text to a table, or to an error with line and column.

use std::path::Path;

use serde::de::DeserializeOwned;
use toml::Table;

use super::{ConfigError, Settings};

/// Reads a file that holds nothing but known settings of the right types.
pub(super) fn read(file: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| ConfigError::at(file.display(), format!("can't read the settings file: {error}")))?;
    table(file, &text)
}

fn table(file: &Path, text: &str) -> Result<Table, ConfigError> {
    // Only the text knows lines and columns, so it becomes settings once before the layers are laid over it.
    parse::<Settings>(file, text)?;
    text.parse().map_err(|error: toml::de::Error| ConfigError::at(file.display(), error.message()))
}

/// Reads a text that holds nothing but known settings of the right types. The file's name is for the error.
pub(crate) fn parse<T: DeserializeOwned>(file: &Path, text: &str) -> Result<T, ConfigError> {
    let malformed = |path: Option<String>, error: toml::de::Error| {
        let location = match error.span() {
            Some(span) => {
                let (line, column) = position(text, span.start);
                format!("{}:{line}:{column}", file.display())
            }
            None => file.display().to_string(),
        };
        // Not the error's own display: that quotes the line, which may hold the broker's password.
        let problem = match path {
            Some(path) if path != "." => format!("{path}: {}", error.message()),
            _ => error.message().to_owned(),
        };
        ConfigError::at(location, problem)
    };
    let deserializer = toml::Deserializer::parse(text).map_err(|error| malformed(None, error))?;
    serde_path_to_error::deserialize(deserializer)
        .map_err(|error| malformed(Some(error.path().to_string()), error.into_inner()))
}

/// Line and column of a byte, both counted from 1, the column in characters.
fn position(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_in_the_file_is_shown_with_its_place_and_setting() {
        let cases = [
            ("[broker]\nprefetch = 10\nurls = 'x'\n", "s.toml:3:1: broker.urls: unknown field `urls`"),
            ("[broker]\nprefetch = \"many\"\n", "s.toml:2:12: broker.prefetch: invalid type"),
            ("[broker]\nprefetch = 70000\n", "s.toml:2:12: broker.prefetch: invalid value"),
            ("[worker]\n\n  linger = \"soon\"", "s.toml:3:12: worker.linger: \"soon\" is no duration"),
            ("[brokers]\n", "s.toml:1:2: brokers: unknown field `brokers`"),
            ("[accounts.\"No Name\"]\n", "the account name \"No Name\" must be"),
            ("[accounts.vno]\ncalls_per_second = 0", "s.toml:2:20: accounts.vno.calls_per_second: "),
            ("[accounts.vno]\nerror_classes = { Busy = 'slow' }", "error_classes.Busy: unknown variant `slow`"),
            ("[broker]\nprefetch = 10\nprefetch = 11\n", "s.toml:3:1: duplicate key"),
            ("[broker\n", "s.toml:1:8: "),
            ("# ünïcode\n[broker] x", "s.toml:2:10: "),
        ];
        for (text, expected) in cases {
            let error = table(Path::new("s.toml"), text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_line_with_a_password_is_not_quoted_in_an_error() {
        for line in ["urls = \"amqp://u:secret@h\"", "url = \"amqp://u:secret@h", "url = amqp://u:secret@h"] {
            let error = table(Path::new("s.toml"), &format!("[broker]\n{line}\n")).expect_err(line);
            assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        }
        let misplaced = "broker = 'amqp://u:secret@h'";
        let error = table(Path::new("s.toml"), misplaced).expect_err(misplaced);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
        let pasted = "[accounts.default]\ncredentials = \"LTAI:secret\"";
        let error = table(Path::new("s.toml"), pasted).expect_err(pasted);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/no/such/file.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/no/such/file.toml: can't read the settings file"), "{error}");
    }
}
