//! Says in words what SQLite reports as a code, with the path and what to do about it.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::broker::BrokerError;

pub fn explain(path: &Path, error: &Error) -> BrokerError {
    let address = path.display().to_string();
    let unreachable = |reason: String| BrokerError::Unreachable { address: address.clone(), reason };
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            BrokerError::NotStored(format!("the disk of {address} is full: make room, the work goes on by itself"))
        }
        Some(ErrorCode::ReadOnly) => BrokerError::NotStored(format!(
            "{address} can't be written: give this user write permission for the file and for its directory"
        )),
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => unreachable(format!(
            "the file is no sound SQLite database ({error}): name another file in broker.url, or restore this one"
        )),
        Some(ErrorCode::CannotOpen) => unreachable(format!(
            "{error}: broker.url must name a file, in a directory that exists and that this user may write"
        )),
        Some(ErrorCode::DatabaseBusy) => unreachable(
            "another process keeps the file locked: look for one that is stopped or hangs, and end it".to_owned(),
        ),
        Some(ErrorCode::SystemIoFailure) => unreachable(format!("{error}: check the disk and the file size limit")),
        _ => BrokerError::Other(format!("{address}: {error}")),
    }
}
