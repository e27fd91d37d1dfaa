//! One turn of a subscription at the file, in one transaction: renew the lease, carry out what was ordered, claim more.

use std::time::Duration;

use rusqlite::Connection;

use super::statements::{self, Claimed};
use super::store::Store;
use crate::broker::{BrokerError, DeliveryTag, Destination, Publication, Queue, Settlement, UNWATCHED};

/// A settlement and the row it is about.
#[derive(Debug)]
pub struct Order {
    pub id: i64,
    pub settlement: Settlement,
}

/// What a turn is to do. `orders` are of the session.
#[derive(Debug, Clone)]
pub struct Turn {
    pub queue: Queue,
    pub session: Option<u64>,
    /// How many rows the session should hold, those of the orders included.
    pub held: usize,
    pub lease: Duration,
    /// Whether to write even if nothing is ordered and nothing can be claimed.
    pub renew: bool,
    /// How many messages to claim at most.
    pub claim: usize,
}

/// What a turn did.
#[derive(Default)]
pub struct Turned {
    /// Finished: their publications are stored.
    pub finished: Vec<DeliveryTag>,
    /// The session is gone, with what it held. An order that is not among the `finished` did nothing.
    pub lost: bool,
    /// The session that the claimed messages belong to.
    pub session: Option<u64>,
    pub claimed: Vec<Claimed>,
    /// Whether the lease was renewed, or would have been if there were one.
    pub wrote: bool,
}

impl Turn {
    pub fn take(&self, store: &mut Store, orders: &[Order], now: i64) -> Result<Turned, BrokerError> {
        let queue = self.queue.name();
        let jobs = self.queue == Queue::Jobs;
        let can_claim = self.claim > 0
            && store.read(|file| {
                Ok(statements::anything_to_claim(file, &queue, now)? || jobs && statements::anything_due(file, now)?)
            })?;
        if orders.is_empty() && !self.renew && !can_claim {
            return Ok(Turned { session: self.session, ..Turned::default() });
        }
        let expires = now.saturating_add(millis(self.lease));
        store.write(|file| {
            let mut turned = Turned { session: self.session, wrote: true, ..Turned::default() };
            if let Some(session) = self.session {
                // More rows than expected: a claim that reported a failure was stored all the same.
                let whole =
                    statements::renew_session(file, session, expires)? && statements::held(file, session)? == self.held;
                if !(carry_out(file, session, orders, now, &mut turned.finished)? && whole) {
                    statements::end_session(file, session)?;
                    turned.session = None;
                    turned.lost = self.held > 0;
                }
            }
            if self.claim > 0 && !turned.lost {
                statements::end_expired_sessions(file, now)?;
                let session = match turned.session {
                    Some(session) => session,
                    None => statements::begin_session(file, expires)?,
                };
                if jobs {
                    statements::send_due(file, now)?;
                }
                turned.claimed = statements::claim(file, &queue, session, self.claim)?;
                turned.session = Some(session);
            }
            if let Queue::Watch(_) = self.queue {
                statements::use_watch(file, &queue, now)?;
            }
            Ok(turned)
        })
    }

    /// The last turn: carries out the orders and gives everything else back.
    pub fn end(session: u64, store: &mut Store, orders: &[Order], now: i64) -> Result<Turned, BrokerError> {
        store.write(|file| {
            let mut turned = Turned::default();
            turned.lost = !carry_out(file, session, orders, now, &mut turned.finished)?;
            statements::end_session(file, session)?;
            Ok(turned)
        })
    }
}

/// False if one of the rows was not the session's any more: that order did nothing.
fn carry_out(
    file: &Connection,
    session: u64,
    orders: &[Order],
    now: i64,
    finished: &mut Vec<DeliveryTag>,
) -> rusqlite::Result<bool> {
    let mut all = true;
    for Order { id, settlement } in orders {
        let ours = match settlement {
            Settlement::GiveBack { .. } => statements::give_back(file, *id, session)?,
            Settlement::Finish { .. } => statements::remove(file, *id, session)?,
        };
        all &= ours;
        if let (true, Settlement::Finish { tag, publications }) = (ours, settlement) {
            publications.iter().try_for_each(|publication| publish(file, publication, now))?;
            finished.push(*tag);
        }
    }
    Ok(all)
}

fn publish(file: &Connection, Publication { to, message }: &Publication, now: i64) -> rusqlite::Result<()> {
    let queue = match to {
        Destination::Results { .. } => Queue::Results.name(),
        Destination::Dead | Destination::DeadAgain => Queue::Dead.name(),
        Destination::Jobs => Queue::Jobs.name(),
        Destination::Archive => Queue::Archive.name(),
        Destination::Reply { queue } => queue.clone(),
        Destination::Retry { after } => {
            let queue = Queue::Retry { after: *after }.name();
            return statements::insert_waiting(file, &queue, message, now.saturating_add(millis(*after)));
        }
    };
    if let Destination::Results { .. } | Destination::Dead = to {
        statements::copy_to_watchers(file, message, now - millis(UNWATCHED))?;
    }
    statements::insert(file, &queue, message, now)
}

pub fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Publication;
    use crate::contract::Message;

    const LEASE: Duration = Duration::from_secs(30);
    const BEFORE_ITS_END: i64 = 29_999;
    const AT_ITS_END: i64 = 30_000;

    /// A file with some jobs.
    fn store(directory: &tempfile::TempDir, jobs: usize) -> Store {
        let mut store = Store::create(&directory.path().join("queue.db")).unwrap();
        store.declare().unwrap();
        let insert = |file: &rusqlite::Transaction| {
            (0..jobs).try_for_each(|_| statements::insert(file, &Queue::Jobs.name(), &Message::default(), 0))
        };
        store.write(insert).unwrap();
        store
    }

    fn turn(session: Option<u64>, held: usize, claim: usize) -> Turn {
        Turn { queue: Queue::Jobs, session, held, lease: LEASE, renew: true, claim }
    }

    fn claim(store: &mut Store, now: i64) -> Turned {
        turn(None, 0, 10).take(store, &[], now).unwrap()
    }

    fn finish(turned: &Turned, row: usize) -> Order {
        let tag = DeliveryTag { session: turned.session.unwrap(), number: 1 };
        let result = Publication { to: Destination::Results { key: String::new() }, message: Message::default() };
        Order { id: turned.claimed[row].id, settlement: Settlement::Finish { tag, publications: vec![result] } }
    }

    fn depth(store: &Store, queue: Queue) -> u64 {
        store.read(|file| statements::depth(file, &queue.name(), 0)).unwrap()
    }

    #[test]
    fn what_a_silent_process_holds_is_handed_out_when_its_lease_ends_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 3);
        assert_eq!(claim(&mut store, 0).claimed.len(), 3);
        assert!(claim(&mut store, BEFORE_ITS_END).claimed.is_empty());
        let again = claim(&mut store, AT_ITS_END).claimed;
        assert_eq!(again.iter().map(|one| one.earlier_deliveries).collect::<Vec<_>>(), [1, 1, 1]);
    }

    #[test]
    fn a_renewed_lease_keeps_what_it_holds() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 3);
        let session = claim(&mut store, 0).session;
        assert!(!turn(session, 3, 0).take(&mut store, &[], BEFORE_ITS_END).unwrap().lost);
        assert!(claim(&mut store, AT_ITS_END).claimed.is_empty());
    }

    #[test]
    fn a_result_that_comes_after_another_process_took_the_job_is_not_published() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 1);
        let first = claim(&mut store, 0);
        let second = claim(&mut store, AT_ITS_END);
        let late = turn(first.session, 1, 0).take(&mut store, &[finish(&first, 0)], AT_ITS_END).unwrap();
        assert!(late.lost && late.finished.is_empty());
        assert_eq!(depth(&store, Queue::Results), 0);
        let done = turn(second.session, 1, 0).take(&mut store, &[finish(&second, 0)], AT_ITS_END).unwrap();
        assert!(!done.lost && done.finished.len() == 1);
        assert_eq!(depth(&store, Queue::Results), 1);
    }

    #[test]
    fn a_result_counts_as_long_as_nobody_took_the_job_however_late_it_comes() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 1);
        let claimed = claim(&mut store, 0);
        let done = turn(claimed.session, 1, 0).take(&mut store, &[finish(&claimed, 0)], AT_ITS_END * 2).unwrap();
        assert!(!done.lost && done.finished.len() == 1);
    }

    #[test]
    fn a_session_that_holds_other_rows_than_it_knows_of_gives_all_of_them_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 3);
        let claimed = claim(&mut store, 0);
        let turned = turn(claimed.session, 2, 10).take(&mut store, &[finish(&claimed, 0)], 1).unwrap();
        assert!(turned.lost && turned.claimed.is_empty());
        assert_eq!(turned.finished.len(), 1, "what was ours is finished all the same");
        assert_eq!(depth(&store, Queue::Jobs), 2);
    }

    #[test]
    fn the_last_turn_finishes_what_was_ordered_and_gives_the_rest_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 3);
        let claimed = claim(&mut store, 0);
        let turned = Turn::end(claimed.session.unwrap(), &mut store, &[finish(&claimed, 1)], 0).unwrap();
        assert!(!turned.lost);
        assert_eq!((depth(&store, Queue::Jobs), depth(&store, Queue::Results)), (2, 1));
        let rest: Vec<i64> = claim(&mut store, 1).claimed.iter().map(|one| one.id).collect();
        assert_eq!(rest, [claimed.claimed[0].id, claimed.claimed[2].id], "in their old places");
    }

    #[test]
    fn jobs_are_handed_out_by_priority_and_a_low_one_has_its_turn_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 0);
        let hour = 60 * 60 * 1000;
        let mut insert = |body: &str, now: i64| {
            let message = Message { body: body.as_bytes().to_vec(), ..Message::default() };
            store.write(|file| statements::insert(file, &Queue::Jobs.name(), &message, now)).unwrap();
        };
        insert(r#"{"Priority":"low"}"#, 0);
        insert("{}", 1);
        insert(r#"{"JobId":"a","Priority":"high"}"#, 2);
        // A remainder speaks of its job, and what comes too late goes before nobody.
        insert(r#"{"Job":{"Priority":"high"}}"#, hour);
        insert(r#"{"Priority":"high"}"#, 2 * hour + 1);
        let claimed = claim(&mut store, 0).claimed;
        let order: Vec<i64> = claimed.iter().map(|one| one.id).collect();
        assert_eq!(order, [3, 4, 2, 1, 5]);
    }

    #[test]
    fn what_waits_goes_to_the_jobs_when_it_is_due_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 1);
        let claimed = claim(&mut store, 0);
        let after = Duration::from_millis(500);
        let tag = DeliveryTag { session: claimed.session.unwrap(), number: 1 };
        let wait = Publication { to: Destination::Retry { after }, message: Message::default() };
        let order =
            Order { id: claimed.claimed[0].id, settlement: Settlement::Finish { tag, publications: vec![wait] } };
        turn(claimed.session, 1, 0).take(&mut store, &[order], 1000).unwrap();
        let depths = |store: &Store, now| {
            let depth = |queue: Queue| store.read(|file| statements::depth(file, &queue.name(), now)).unwrap();
            (depth(Queue::Retry { after }), depth(Queue::Jobs))
        };
        assert_eq!(depths(&store, 1499), (1, 0));
        assert!(claim(&mut store, 1499).claimed.is_empty());
        assert_eq!(depths(&store, 1500), (0, 1));
        let back = claim(&mut store, 1500).claimed;
        assert!(back.len() == 1 && back[0].earlier_deliveries == 0);
    }

    #[test]
    fn a_watch_that_nobody_reads_gets_no_more_copies_after_a_day_and_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(&directory, 3);
        let watched = |store: &Store| store.read(|file| statements::depth(file, "release.watch.w", 0)).unwrap();
        store.write(|file| statements::watch(file, "release.watch.w", 0)).unwrap();
        let day = millis(UNWATCHED);
        let claimed = claim(&mut store, day - 1);
        turn(claimed.session, 3, 0).take(&mut store, &[finish(&claimed, 0)], day - 1).unwrap();
        turn(claimed.session, 2, 0).take(&mut store, &[finish(&claimed, 1)], day).unwrap();
        assert_eq!((watched(&store), depth(&store, Queue::Results)), (1, 2));
        store.write(|file| statements::end_unread_watches(file, 0)).unwrap();
        assert_eq!(watched(&store), 0);
    }
}
