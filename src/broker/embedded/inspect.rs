//! How the file stands, read without creating or changing anything.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::error::explain;
use super::statements;
use super::store::{self, VERSION};
use crate::broker::inspection::{FileState, QueueFile};
use crate::contract::{DEAD, UNROUTED};

pub async fn inspect(path: &Path) -> QueueFile {
    let owned = path.to_owned();
    let reading = tokio::task::spawn_blocking(move || state(&owned)).await;
    let state = reading.unwrap_or_else(|stopped| FileState::Unusable(stopped.to_string()));
    QueueFile { path: path.display().to_string(), state, free_bytes: free_bytes(path) }
}

fn state(path: &Path) -> FileState {
    if !path.exists() {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        return match directory.is_dir() {
            true => FileState::Missing,
            false => FileState::Unusable(format!("the directory {} does not exist", directory.display())),
        };
    }
    read(path).unwrap_or_else(|error| FileState::Unusable(explain(path, &error).to_string()))
}

fn read(path: &Path) -> rusqlite::Result<FileState> {
    // As a worker opens it: a file that it can't write is of no use to it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    if connection.is_readonly("main")? {
        return Ok(FileState::Unusable("this user may not write it".to_owned()));
    }
    match store::version(&connection)? {
        0 => return Ok(FileState::Empty),
        VERSION => {}
        found => return Ok(FileState::OtherVersion { found, known: VERSION }),
    }
    let journal = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    let depth = |queue| statements::depth(&connection, queue, store::now());
    Ok(FileState::Usable { journal, dead: depth(DEAD)?, unrouted: depth(UNROUTED)? })
}

#[cfg(unix)]
fn free_bytes(path: &Path) -> Option<u64> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let disk = rustix::fs::statvfs(directory).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(not(unix))]
fn free_bytes(_path: &Path) -> Option<u64> {
    None
}
