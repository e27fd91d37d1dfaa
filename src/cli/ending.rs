//! How a command ends that did not end well. Every command answers with an error; here is the one place that makes an exit code
//! of it.

use std::fmt;

/// An error with an exit code of its own, as the help of its command lists it. All others end with 1.
#[derive(Debug)]
pub struct Ending {
    code: u8,
    words: String,
}

impl Ending {
    pub fn new(code: u8, words: impl Into<String>) -> Self {
        Self { code, words: words.into() }
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl std::error::Error for Ending {}

/// The exit code of an error, whatever was said around it.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    error.downcast_ref::<Ending>().map_or(1, |ending| ending.code)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn an_exit_code_survives_what_is_said_around_its_error() {
        let ended: Result<(), Ending> = Err(Ending::new(4, "held"));
        let error = ended.context("go on with --resume").unwrap_err();
        assert_eq!((exit_code(&error), format!("{error:#}").as_str()), (4, "go on with --resume: held"));
        assert_eq!(exit_code(&anyhow::anyhow!("anything else")), 1);
    }
}
