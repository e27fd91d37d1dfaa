//! Signals to processes that a test has started, by their ids.

use std::process::Command;

/// Sends a signal, such as `TERM`. A process that has ended is an error: a test knows whom it speaks to.
pub fn send(signal: &str, process: u32) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status();
    assert!(sent.expect("a shell").success(), "SIG{signal} can't be sent to process {process}");
}
