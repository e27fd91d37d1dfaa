//! The wish to stop, or to read the settings again, as the operating system brings it.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Resolves at the first SIGINT or SIGTERM after the call.
pub fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves at SIGHUP as well: the terminal is gone, and nobody will press Ctrl-C.
pub fn stop_or_hangup() -> std::io::Result<impl Future<Output = ()>> {
    let (stop, mut hangups) = (stop()?, hangups()?);
    Ok(async move {
        tokio::select! {
            () = stop => {}
            _ = hangups.recv() => {}
        }
    })
}

/// Each SIGHUP from here on, which would end the process otherwise.
pub fn hangups() -> std::io::Result<Signal> {
    signal(SignalKind::hangup())
}
