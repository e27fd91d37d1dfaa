//! How a verb ends that did not do all that it was asked to. Each says what happened and how to go on, and has the exit code
//! that `bulkrelease dead --help` lists.

use crate::cli::ending::Ending;

pub fn no_match(words: impl Into<String>) -> Ending {
    Ending::new(3, words)
}

pub fn held(words: impl Into<String>) -> Ending {
    Ending::new(4, words)
}

pub fn canary(words: impl Into<String>) -> Ending {
    Ending::new(5, words)
}

pub fn stopped(words: impl Into<String>) -> Ending {
    Ending::new(6, words)
}
