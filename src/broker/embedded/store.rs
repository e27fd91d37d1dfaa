//! The file itself: opening, the schema, transactions. It must not know what is done in a transaction (`statements`).

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::error::explain;
use crate::broker::BrokerError;

/// `PRAGMA user_version` of a file that `SCHEMA` was written to.
pub const VERSION: i64 = 3;
/// `message.turn`, and then its `id`, is a message's place in its queue; a given-back message keeps it. The session stands before the body,
/// so that reading it never walks through a long one.
const SCHEMA: &str = "
    CREATE TABLE session (
        id      INTEGER PRIMARY KEY,
        expires INTEGER NOT NULL -- milliseconds since 1970
    ) STRICT;
    CREATE TABLE message (
        id         INTEGER PRIMARY KEY AUTOINCREMENT,
        queue      TEXT    NOT NULL,
        session    INTEGER,      -- NULL: ready
        due        INTEGER,      -- NULL: now; else it goes to the jobs at this time, in milliseconds since 1970
        turn       INTEGER NOT NULL, -- of a job: when it may be claimed, and later the lower its priority; else 0
        deliveries INTEGER NOT NULL DEFAULT 0,
        properties TEXT    NOT NULL,
        body       BLOB    NOT NULL
    ) STRICT;
    CREATE INDEX message_ready ON message (queue, due, turn) WHERE session IS NULL;
    CREATE INDEX message_held ON message (session) WHERE session IS NOT NULL;
    CREATE INDEX message_due ON message (due) WHERE due IS NOT NULL;
    CREATE TABLE watch (
        queue TEXT    PRIMARY KEY,
        used  INTEGER NOT NULL -- when it was read last, in milliseconds since 1970
    ) STRICT;
    PRAGMA user_version = 3;
";
/// Beside `SCHEMA` and its version: a program that doesn't know this table is not hurt by it.
const BEACONS: &str = "
    CREATE TABLE IF NOT EXISTS beacon (
        number  INTEGER PRIMARY KEY AUTOINCREMENT,
        member  INTEGER NOT NULL,
        left    INTEGER NOT NULL DEFAULT FALSE, -- whether the member has left the fleet
        expires INTEGER NOT NULL, -- milliseconds since 1970
        body    BLOB    NOT NULL
    ) STRICT;
";
/// How often a locked file is tried again, a few milliseconds apart: about five seconds.
const LOCKED_TRIES: i32 = 2500;

/// Waits a moment for a locked file. Whether to try again.
fn wait_for_the_lock(tries: i32) -> bool {
    std::thread::sleep(Duration::from_micros(fastrand::u64(1000..3000)));
    tries < LOCKED_TRIES
}

pub struct Store {
    connection: Connection,
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Store {
    /// Opens the file, or creates an empty one.
    pub fn create(path: &Path) -> Result<Self, BrokerError> {
        let is_new = !path.exists();
        Self::open_with(path, OpenFlags::SQLITE_OPEN_CREATE).map_err(|error| match is_new {
            // It does not come to be by waiting, as a broker does that can't be reached yet.
            true => BrokerError::Other(error.to_string()),
            false => error,
        })
    }

    /// Opens the file that is there. An empty one in place of a lost or mistyped one would only hide that.
    pub fn open(path: &Path) -> Result<Self, BrokerError> {
        if !path.exists() {
            return Err(BrokerError::Missing { entity: format!("sqlite:{}", path.display()) });
        }
        Self::open_with(path, OpenFlags::empty())
    }

    fn open_with(path: &Path, creation: OpenFlags) -> Result<Self, BrokerError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | creation;
        let connect = || {
            let mut connection = Connection::open_with_flags(path, flags)?;
            // SQLite's own handler waits ever longer, and whoever waits long loses to whoever came just now.
            connection.busy_handler(Some(wait_for_the_lock))?;
            // A commit that was answered survives a power cut.
            connection.pragma_update(None, "synchronous", "FULL")?;
            version(&connection)?;
            Ok(connection)
        };
        let connection = connect().map_err(|error| explain(path, &error))?;
        Ok(Self { connection, path: path.to_owned(), identity: identity(path) })
    }

    /// Makes the tables, unless they are there.
    pub fn declare(&mut self) -> Result<(), BrokerError> {
        self.check_in_place()?;
        let path = &self.path;
        let fail = |error| explain(path, &error);
        let mode = self.use_write_ahead_log().map_err(fail)?;
        if mode != "wal" {
            let reason = format!("its file system can't share a write-ahead log ({mode}): use a local disk");
            return Err(BrokerError::Unreachable { address: path.display().to_string(), reason });
        }
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fail)?;
        if version(&transaction).map_err(fail)? == 0 {
            transaction.execute_batch(SCHEMA).map_err(fail)?;
        }
        if version(&transaction).map_err(fail)? == VERSION {
            transaction.execute_batch(BEACONS).map_err(fail)?;
        }
        transaction.commit().map_err(fail)?;
        self.check_schema()
    }

    /// The mode of the file from here on. SQLite asks no busy handler for this change, so processes that start together
    /// would refuse each other.
    fn use_write_ahead_log(&self) -> rusqlite::Result<String> {
        let mut tries = 0;
        loop {
            let changed = self.connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
            match changed {
                Err(error)
                    if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && wait_for_the_lock(tries) =>
                {
                    tries += 1;
                }
                changed => return changed,
            }
        }
    }

    /// One transaction: all of `work`, or nothing of it.
    pub fn write<T>(&mut self, work: impl FnOnce(&Transaction) -> rusqlite::Result<T>) -> Result<T, BrokerError> {
        self.check_in_place()?;
        self.check_schema()?;
        let write = || {
            let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let answer = work(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        write().map_err(|error| explain(&self.path, &error))
    }

    pub fn read<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, BrokerError> {
        self.check_in_place()?;
        self.check_schema()?;
        work(&self.connection).map_err(|error| explain(&self.path, &error))
    }

    /// A file that was deleted while open takes writes as before, and takes them with it when it is closed.
    fn check_in_place(&self) -> Result<(), BrokerError> {
        if identity(&self.path) == self.identity { Ok(()) } else { Err(gone(&self.path)) }
    }

    fn check_schema(&self) -> Result<(), BrokerError> {
        let entity = || format!("the queue file {}", self.path.display());
        match version(&self.connection).map_err(|error| explain(&self.path, &error))? {
            VERSION => Ok(()),
            0 => Err(BrokerError::Missing { entity: entity() }),
            other => Err(BrokerError::Differs {
                entity: entity(),
                difference: format!("its schema has version {other}, this program's has {VERSION}"),
            }),
        }
    }
}

/// Milliseconds since 1970, the clock of leases.
pub fn now() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn gone(path: &Path) -> BrokerError {
    let reason = "the file was deleted or replaced: put it back, or run `bulkrelease setup` for an empty one";
    BrokerError::Unreachable { address: path.display().to_string(), reason: reason.to_owned() }
}

pub fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA user_version")?.query_row([], |row| row.get(0))
}

/// Tells a file from another one under the same path; `None` if there is none.
#[cfg(unix)]
fn identity(path: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// Elsewhere an open file can't be deleted.
#[cfg(not(unix))]
fn identity(_path: &Path) -> Option<(u64, u64)> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::embedded::statements;
    use crate::contract::Message;

    fn declared(directory: &tempfile::TempDir) -> Store {
        let mut store = Store::create(&directory.path().join("queue.db")).unwrap();
        store.declare().unwrap();
        store
    }

    fn insert(store: &mut Store, bytes: usize) -> Result<(), BrokerError> {
        let message = Message { body: vec![0; bytes], ..Message::default() };
        store.write(|file| statements::insert(file, "release.jobs", &message, now()))
    }

    fn depth(store: &Store) -> u64 {
        store.read(|file| statements::depth(file, "release.jobs", now())).unwrap()
    }

    #[test]
    fn a_full_disk_is_named_and_the_work_goes_on_when_there_is_room() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = declared(&directory);
        store.connection.pragma_update(None, "max_page_count", 20).unwrap();
        insert(&mut store, 100).unwrap();
        let error = insert(&mut store, 1_000_000).unwrap_err();
        assert!(matches!(error, BrokerError::NotStored(_)));
        let said = error.to_string();
        assert!(said.contains("queue.db") && said.contains("make room"), "{said}");
        store.connection.pragma_update(None, "max_page_count", 10_000).unwrap();
        insert(&mut store, 1_000_000).unwrap();
        assert_eq!(depth(&store), 2);
    }

    #[test]
    fn a_file_that_can_not_be_written_is_named_with_the_fix() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = declared(&directory);
        // What a file without write permission answers; a test that runs as root can't make one.
        store.connection.pragma_update(None, "query_only", true).unwrap();
        let said = insert(&mut store, 100).unwrap_err().to_string();
        assert!(said.contains("queue.db") && said.contains("write permission"), "{said}");
    }

    #[test]
    fn a_commit_is_flushed_to_the_disk_before_it_is_answered() {
        let directory = tempfile::tempdir().unwrap();
        let store = declared(&directory);
        let pragma =
            |name| store.connection.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0));
        assert_eq!(pragma("synchronous").unwrap(), 2.into(), "FULL");
        assert_eq!(pragma("journal_mode").unwrap(), "wal".to_owned().into());
    }

    #[test]
    fn a_file_of_another_version_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = declared(&directory);
        store.connection.pragma_update(None, "user_version", VERSION + 1).unwrap();
        for answer in [store.declare(), insert(&mut store, 1)] {
            assert!(matches!(answer.unwrap_err(), BrokerError::Differs { .. }));
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_stored_in_a_file_that_was_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = declared(&directory);
        std::fs::remove_file(directory.path().join("queue.db")).unwrap();
        let said = insert(&mut store, 1).unwrap_err().to_string();
        assert!(said.contains("queue.db") && said.contains("deleted"), "{said}");
    }
}
