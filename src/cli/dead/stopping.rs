//! The wish to stop a move, which is answered at once: the last confirms can take a while.

use futures_util::FutureExt;

use crate::cli::signals;
use crate::dead::mover::{LAST_CONFIRMS, Stop};

/// Resolves at the first signal to stop. `killed` is what whoever can't wait for the end may rely on.
pub fn stop(killed: &'static str) -> std::io::Result<Stop> {
    let stop = signals::stop_or_hangup()?;
    let stop = async move {
        stop.await;
        note!("stopping: waiting for the last confirms, up to {:?}; killed, {killed} all the same", LAST_CONFIRMS * 2);
    };
    Ok(stop.boxed())
}
