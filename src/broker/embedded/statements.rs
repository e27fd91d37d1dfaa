//! The SQL, a function each. It must not know when a statement is due, nor what belongs in one transaction (`turn`).

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use super::properties;
use super::turn::millis;
use crate::contract::{JOBS, Message, Priority};

/// What each step of priority is worth: longer than a queue should ever be, so that a job of high priority goes first, and
/// short enough that one of low priority has its turn on the same day.
const HEAD_START: Duration = Duration::from_secs(60 * 60);

/// A message that a claim handed out.
pub struct Claimed {
    pub id: i64,
    turn: i64,
    pub earlier_deliveries: u64,
    pub message: Message,
}

/// Jobs are claimed by their turns, other messages in the order in which they come.
pub fn insert(connection: &Connection, queue: &str, message: &Message, now: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO message (queue, properties, body, turn) VALUES (?1, ?2, ?3, ?4)";
    let turn = if queue == JOBS { turn(message, now) } else { 0 };
    count(connection, sql, params![queue, json(message)?, message.body, turn]).map(drop)
}

/// When the turn of a job comes that may be claimed from a time on. Later by a head start for each step that its priority is
/// below the highest, so nothing that comes after that goes before it.
fn turn(message: &Message, from: i64) -> i64 {
    from.saturating_add(millis(Priority::of_body(&message.body).delay(HEAD_START)))
}

fn json(message: &Message) -> rusqlite::Result<String> {
    properties::to_json(&message.properties).map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))
}

/// Stores a copy in every watched queue that was read since a time.
pub fn copy_to_watchers(connection: &Connection, message: &Message, since: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO message (queue, properties, body, turn) SELECT queue, ?1, ?2, 0 FROM watch WHERE used > ?3";
    count(connection, sql, params![json(message)?, message.body, since]).map(drop)
}

/// A queue is watched, or is still.
pub fn watch(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO watch (queue, used) VALUES (?1, ?2) ON CONFLICT (queue) DO UPDATE SET used = excluded.used";
    count(connection, sql, params![queue, now]).map(drop)
}

/// Somebody reads a queue; answers whether it is watched.
pub fn use_watch(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<bool> {
    let watched = count(connection, "UPDATE watch SET used = ?2 WHERE queue = ?1", params![queue, now])?;
    Ok(watched > 0)
}

pub fn unwatch(connection: &Connection, queue: &str) -> rusqlite::Result<()> {
    count(connection, "DELETE FROM message WHERE queue = ?1", params![queue])?;
    count(connection, "DELETE FROM watch WHERE queue = ?1", params![queue]).map(drop)
}

/// Ends every watch that was not read since a time.
pub fn end_unread_watches(connection: &Connection, since: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM message WHERE queue IN (SELECT queue FROM watch WHERE used <= ?1)";
    count(connection, sql, params![since])?;
    count(connection, "DELETE FROM watch WHERE used <= ?1", params![since]).map(drop)
}

/// Stores a message that goes to the jobs when it is due.
pub fn insert_waiting(connection: &Connection, queue: &str, message: &Message, due: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO message (queue, properties, body, due, turn) VALUES (?1, ?2, ?3, ?4, ?5)";
    count(connection, sql, params![queue, json(message)?, message.body, due, turn(message, due)]).map(drop)
}

/// Lets some of what is due go to the jobs: far more than one claim takes.
pub fn send_due(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE message SET queue = ?1, due = NULL
        WHERE id IN (SELECT id FROM message WHERE due <= ?2 ORDER BY due LIMIT 1000)";
    count(connection, sql, params![JOBS, now]).map(drop)
}

/// Whether something waits that is due.
pub fn anything_due(connection: &Connection, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE due <= ?1)";
    connection.prepare_cached(sql)?.query_row(params![now], |row| row.get(0))
}

/// Messages that a claim would find, or that wait there for their time.
pub fn depth(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT (SELECT count(*) FROM message WHERE queue = ?1 AND session IS NULL AND (due IS NULL OR due > ?2))
        + (SELECT count(*) FROM message WHERE queue = ?1 AND session IN (SELECT id FROM session WHERE expires <= ?2))
        + (SELECT count(*) FROM message WHERE ?1 = ?3 AND due <= ?2)";
    connection.prepare_cached(sql)?.query_row(params![queue, now, JOBS], |row| row.get(0))
}

/// How many sessions that live hold messages of a queue.
pub fn holders(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<u64> {
    let sql = "SELECT count(*) FROM session WHERE expires > ?2
        AND EXISTS (SELECT 1 FROM message WHERE message.session = session.id AND message.queue = ?1)";
    connection.prepare_cached(sql)?.query_row(params![queue, now], |row| row.get(0))
}

/// Row by row along the index, so that the first of a million messages is there at once and none has to be kept.
const EACH_READY: &str = "SELECT properties, body FROM message WHERE queue = ?1 AND session IS NULL AND due IS NULL
    ORDER BY turn, id";

/// Shows the messages that a claim would find, in their order, until there is no further one or `show` says that it has seen
/// enough.
pub fn each_ready(connection: &Connection, queue: &str, mut show: impl FnMut(Message) -> bool) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(EACH_READY)?;
    let mut rows = statement.query(params![queue])?;
    while let Some(row) = rows.next()? {
        let properties = properties::from_json(row.get_ref(0)?.as_str()?);
        if !show(Message { properties, body: row.get(1)? }) {
            break;
        }
    }
    Ok(())
}

/// Whether a claim is worth a write transaction.
pub fn anything_to_claim(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM message WHERE queue = ?1 AND session IS NULL AND due IS NULL)
        OR EXISTS (SELECT 1 FROM session WHERE expires <= ?2)";
    connection.prepare_cached(sql)?.query_row(params![queue, now], |row| row.get(0))
}

/// Sessions are numbered at random, so that a number means nothing in another file that took this one's place.
pub fn begin_session(connection: &Connection, expires: i64) -> rusqlite::Result<u64> {
    let session = fastrand::u64(1..=i64::MAX.cast_unsigned());
    count(connection, "INSERT INTO session (id, expires) VALUES (?1, ?2)", params![session, expires])?;
    Ok(session)
}

/// False if the session ran out and somebody noticed.
pub fn renew_session(connection: &Connection, session: u64, expires: i64) -> rusqlite::Result<bool> {
    let renewed = count(connection, "UPDATE session SET expires = ?2 WHERE id = ?1", params![session, expires])?;
    Ok(renewed == 1)
}

/// How many messages the session holds.
pub fn held(connection: &Connection, session: u64) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM message WHERE session = ?1";
    connection.prepare_cached(sql)?.query_row(params![session], |row| row.get(0))
}

/// Gives back all that the session holds.
pub fn end_session(connection: &Connection, session: u64) -> rusqlite::Result<()> {
    count(connection, "UPDATE message SET session = NULL WHERE session = ?1", params![session])?;
    count(connection, "DELETE FROM session WHERE id = ?1", params![session]).map(drop)
}

/// A session that was not renewed in time and holds messages of a queue.
pub fn expired_holder(connection: &Connection, queue: &str, now: i64) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT id FROM session WHERE expires <= ?2
        AND EXISTS (SELECT 1 FROM message WHERE message.session = session.id AND message.queue = ?1) LIMIT 1";
    connection.prepare_cached(sql)?.query_row(params![queue, now], |row| row.get(0)).optional()
}

/// Ends every session that was not renewed in time.
pub fn end_expired_sessions(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "SELECT id FROM session WHERE expires <= ?1 LIMIT 1";
    let mut expired = connection.prepare_cached(sql)?;
    while let Some(session) = expired.query_row(params![now], |row| row.get(0)).optional()? {
        end_session(connection, session)?;
    }
    Ok(())
}

/// Hands up to `limit` messages to the session, in their order.
pub fn claim(connection: &Connection, queue: &str, session: u64, limit: usize) -> rusqlite::Result<Vec<Claimed>> {
    let sql = "UPDATE message SET session = ?2, deliveries = deliveries + 1
        WHERE id IN (SELECT id FROM message WHERE queue = ?1 AND session IS NULL AND due IS NULL
            ORDER BY turn, id LIMIT ?3)
        RETURNING id, turn, deliveries - 1, properties, body";
    let mut statement = connection.prepare_cached(sql)?;
    let mut claimed =
        statement.query_map(params![queue, session, limit], claimed)?.collect::<rusqlite::Result<Vec<Claimed>>>()?;
    // RETURNING promises no order.
    claimed.sort_unstable_by_key(|one| (one.turn, one.id));
    Ok(claimed)
}

fn claimed(row: &Row) -> rusqlite::Result<Claimed> {
    Ok(Claimed {
        id: row.get(0)?,
        turn: row.get(1)?,
        earlier_deliveries: row.get(2)?,
        message: Message { properties: properties::from_json(row.get_ref(3)?.as_str()?), body: row.get(4)? },
    })
}

/// False if the message is not the session's.
pub fn remove(connection: &Connection, id: i64, session: u64) -> rusqlite::Result<bool> {
    let removed = count(connection, "DELETE FROM message WHERE id = ?1 AND session = ?2", params![id, session])?;
    Ok(removed == 1)
}

/// False if the message is not the session's.
pub fn give_back(connection: &Connection, id: i64, session: u64) -> rusqlite::Result<bool> {
    let sql = "UPDATE message SET session = NULL WHERE id = ?1 AND session = ?2";
    Ok(count(connection, sql, params![id, session])? == 1)
}

/// A beacon.
pub struct Told {
    pub number: i64,
    pub body: Vec<u8>,
    /// Its sender has left the fleet.
    pub left: bool,
}

pub fn tell(connection: &Connection, member: i64, beacon: &[u8], expires: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO beacon (member, expires, body) VALUES (?1, ?2, ?3)";
    count(connection, sql, params![member, expires, beacon]).map(drop)
}

/// The beacons that came after one and did not expire, in their order.
pub fn hear(connection: &Connection, after: i64, now: i64) -> rusqlite::Result<Vec<Told>> {
    let sql = "SELECT number, body, left FROM beacon WHERE number > ?1 AND expires > ?2 ORDER BY number";
    let mut statement = connection.prepare_cached(sql)?;
    let told = |row: &Row| Ok(Told { number: row.get(0)?, body: row.get(1)?, left: row.get(2)? });
    statement.query_map(params![after, now], told)?.collect()
}

pub fn leave(connection: &Connection, member: i64) -> rusqlite::Result<()> {
    count(connection, "UPDATE beacon SET left = TRUE WHERE member = ?1", params![member]).map(drop)
}

pub fn end_expired_beacons(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    count(connection, "DELETE FROM beacon WHERE expires <= ?1", params![now]).map(drop)
}

fn count(connection: &Connection, sql: &str, values: &[&dyn ToSql]) -> rusqlite::Result<usize> {
    connection.prepare_cached(sql)?.execute(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::embedded::store::Store;

    #[test]
    fn a_look_goes_along_the_index_and_sorts_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = Store::create(&directory.path().join("queue.db")).unwrap();
        store.declare().unwrap();
        let plan = store.read(|file| {
            let mut statement = file.prepare(&format!("EXPLAIN QUERY PLAN {EACH_READY}"))?;
            let steps = statement.query_map(params!["release.dead"], |row| row.get::<_, String>(3))?;
            steps.collect::<rusqlite::Result<Vec<String>>>()
        });
        let plan = plan.unwrap();
        let [only] = &plan[..] else { panic!("{plan:?}") };
        assert!(only.contains("USING INDEX message_ready (queue=? AND due=?)"), "{only}");
    }
}
