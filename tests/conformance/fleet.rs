//! Beacons between workers. It must not know which broker it is.

use std::collections::BTreeSet;
use std::time::Duration;

use bulkrelease::broker::{Broker, Fleet, Heard, Queue};

use super::subscriber::PATIENCE;

pub async fn every_worker_hears_every_beacon_its_own_included(broker: &dyn Broker) {
    let mut fleet = [broker.join_fleet(), broker.join_fleet(), broker.join_fleet()];
    for listener in 0..fleet.len() {
        // Told again and again, as workers do: nobody is known to listen before something was heard.
        let mut heard = BTreeSet::new();
        while heard.len() < fleet.len() {
            for (number, member) in fleet.iter().enumerate() {
                member.tell(vec![b'0' + u8::try_from(number).expect("a digit")]);
            }
            let told = tokio::time::timeout(Duration::from_millis(200), fleet[listener].hear()).await;
            if let Ok(Some(Heard::Beacon(beacon))) = told {
                heard.insert(beacon);
            }
        }
    }
    let [first, second, mut third] = fleet;
    first.leave(PATIENCE).await;
    drop(second);
    third.tell(b"last".to_vec());
    until_heard(&mut third, b"last").await;
    third.leave(PATIENCE).await;
    for queue in Queue::ALL {
        assert_eq!(broker.depth(queue).await, Ok(0), "a beacon is in no queue of the house");
    }
}

pub async fn whoever_comes_first_hears_that_nobody_else_is_there(broker: &dyn Broker) {
    // Again after everyone has left.
    for round in ["before", "again"] {
        let name = format!("first {round}");
        let mut first = broker.join_fleet();
        first.tell(name.clone().into_bytes());
        let heard = tokio::time::timeout(PATIENCE, first.hear()).await.expect("a word in time");
        assert_eq!(heard, Some(Heard::Nobody));
        until_heard(&mut first, name.as_bytes()).await;
        let mut second = broker.join_fleet();
        second.tell(b"second".to_vec());
        let mut told = BTreeSet::new();
        while !told.contains("second") {
            match tokio::time::timeout(PATIENCE, second.hear()).await.expect("a word in time") {
                Some(Heard::Beacon(beacon)) => told.insert(String::from_utf8(beacon).expect("a name")),
                other => panic!("{other:?}"),
            };
        }
        first.leave(PATIENCE).await;
        second.leave(PATIENCE).await;
    }
}

pub async fn of_workers_that_come_together_one_at_most_hears_that_nobody_else_is_there(broker: &dyn Broker) {
    for round in 0..5 {
        let mut members: Vec<_> = (0..6).map(|_| broker.join_fleet()).collect();
        for (number, member) in members.iter().enumerate() {
            member.tell(format!("{round}-{number}").into_bytes());
        }
        let mut alone = 0;
        for (number, member) in members.iter_mut().enumerate() {
            // Word that nobody is there comes before a worker's own first beacon.
            let own = Heard::Beacon(format!("{round}-{number}").into_bytes());
            loop {
                match tokio::time::timeout(PATIENCE, member.hear()).await.expect("a word in time") {
                    Some(Heard::Nobody) => alone += 1,
                    Some(beacon) if beacon == own => break,
                    other => assert!(other.is_some(), "the fleet has ended"),
                }
            }
        }
        assert!(alone <= 1, "{alone} believe that they are alone");
        for member in members {
            member.leave(PATIENCE).await;
        }
    }
}

pub async fn what_was_told_last_is_heard_though_its_sender_leaves(broker: &dyn Broker) {
    let (mut listener, leaving) = (broker.join_fleet(), broker.join_fleet());
    loop {
        leaving.tell(b"here".to_vec());
        listener.tell(b"there".to_vec());
        // It takes part, and the listener hears it.
        if tokio::time::timeout(Duration::from_millis(200), until_heard(&mut listener, b"here")).await.is_ok() {
            break;
        }
    }
    leaving.tell(b"gone".to_vec());
    leaving.leave(PATIENCE).await;
    until_heard(&mut listener, b"gone").await;
}

async fn until_heard(member: &mut Fleet, beacon: &[u8]) {
    let hearing = async { while member.hear().await.expect("a fleet") != Heard::Beacon(beacon.to_vec()) {} };
    tokio::time::timeout(PATIENCE, hearing).await.expect("a beacon in time");
}
