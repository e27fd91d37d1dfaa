//! What every broker promises, a test each. It must not know which broker it runs on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bulkrelease::broker::{
    Broker, DeliveryTag, Destination, Event, Fleet, Heard, Publication, Queue, Settlement, WatchName,
};
use bulkrelease::contract::{Message, Properties};

use super::subscriber::{
    PATIENCE, Subscriber, bodies, drain, enqueue, expect_depth, message, numbered, once_each, result_of, tally,
};

/// The retry steps of every broker here: one that a test can wait for, and one that it never does.
pub const STEPS: [Duration; 2] = [SOON, LATER];
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(600);

pub async fn messages_come_in_the_order_of_enqueueing(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(25)).await;
    let taken = drain(broker, Queue::Jobs, 25).await;
    assert_eq!(bodies(&taken), numbered(25).collect::<Vec<_>>());
    assert!(taken.iter().all(|delivery| !delivery.redelivered && delivery.earlier_deliveries == 0));
}

pub async fn a_message_arrives_as_it_was_sent(broker: &dyn Broker) {
    let sent = vec![full(), Message::default()];
    for job in &sent {
        broker.enqueue(vec![job.clone()]).await.remove(0).expect("a job that is stored");
    }
    let arrived: Vec<Message> =
        drain(broker, Queue::Jobs, 2).await.into_iter().map(|delivery| delivery.message).collect();
    assert_eq!(arrived, sent);
}

pub async fn a_finished_delivery_is_gone_and_its_publications_are_there(broker: &dyn Broker) {
    enqueue(broker, ["job".to_owned()]).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 10);
    let delivery = subscriber.delivery().await;
    let dead = Publication { to: Destination::Dead, message: message("dead") };
    subscriber.finish(delivery.tag, vec![result_of(&delivery), dead]);
    assert_eq!(subscriber.settled().await, delivery.tag);
    subscriber.close().await;
    expect_depth(broker, Queue::Jobs, 0).await;
    assert_eq!(bodies(&drain(broker, Queue::Results, 1).await), ["job"]);
    assert_eq!(bodies(&drain(broker, Queue::Dead, 1).await), ["dead"]);
}

pub async fn a_delivery_given_back_comes_again_marked(broker: &dyn Broker) {
    enqueue(broker, ["job".to_owned()]).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 1);
    let first = subscriber.delivery().await;
    subscriber.0.settle(Settlement::GiveBack { tag: first.tag });
    let second = subscriber.delivery().await;
    assert_eq!(second.message, first.message);
    assert!(!first.redelivered && second.redelivered);
    assert_ne!(second.tag, first.tag, "a tag names one delivery");
    // A late repetition must not touch the new delivery.
    subscriber.0.settle(Settlement::GiveBack { tag: first.tag });
    subscriber.finish(second.tag, Vec::new());
    assert_eq!(subscriber.settled().await, second.tag);
    subscriber.close().await;
    expect_depth(broker, Queue::Jobs, 0).await;
}

pub async fn no_more_is_held_than_the_prefetch(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(5)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 2);
    let held = subscriber.deliveries(2).await;
    expect_depth(broker, Queue::Jobs, 3).await;
    subscriber.finish(held[0].tag, Vec::new());
    // The third could only have come before this if the prefetch were ignored.
    assert_eq!(subscriber.settled().await, held[0].tag);
    let third = subscriber.delivery().await;
    assert!(held.iter().all(|delivery| delivery.message != third.message));
    expect_depth(broker, Queue::Jobs, 2).await;
}

pub async fn an_unsettled_delivery_comes_again_after_the_end_of_its_subscription(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(3)).await;
    let mut closed = Subscriber::new(broker, Queue::Jobs, 1);
    assert_eq!(bodies([&closed.delivery().await]), ["job 0"]);
    closed.close().await;
    let mut dropped = Subscriber::new(broker, Queue::Jobs, 2);
    let held = dropped.deliveries(2).await;
    assert_eq!(bodies(&held), ["job 0", "job 1"], "given back to its old place");
    assert!(held[0].redelivered && !held[1].redelivered);
    drop(dropped);
    let taken = drain(broker, Queue::Jobs, 3).await;
    assert_eq!(tally(&taken), once_each(3));
    assert!(taken.iter().filter(|delivery| delivery.redelivered).count() >= 2);
}

pub async fn settling_twice_or_by_a_void_tag_does_nothing(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(2)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 2);
    let held = subscriber.deliveries(2).await;
    for _ in 0..2 {
        subscriber.finish(held[0].tag, vec![result_of(&held[0])]);
    }
    let other_session = DeliveryTag { session: held[1].tag.session.wrapping_add(1), ..held[1].tag };
    let never_given = DeliveryTag { number: 1_000_000, ..held[1].tag };
    for void in [other_session, never_given] {
        subscriber.finish(void, vec![result_of(&held[1])]);
        subscriber.0.settle(Settlement::GiveBack { tag: void });
    }
    assert_eq!(subscriber.settled().await, held[0].tag);
    subscriber.close().await;
    expect_depth(broker, Queue::Jobs, 1).await;
    expect_depth(broker, Queue::Results, 1).await;
    assert_eq!(bodies(&drain(broker, Queue::Jobs, 1).await), ["job 1"]);
    assert_eq!(bodies(&drain(broker, Queue::Results, 1).await), ["job 0"]);
}

pub async fn a_stopped_subscription_still_settles(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(2)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 2);
    let held = subscriber.deliveries(2).await;
    subscriber.0.stop_deliveries();
    subscriber.finish(held[0].tag, vec![result_of(&held[0])]);
    assert_eq!(subscriber.settled().await, held[0].tag);
    enqueue(broker, ["late".to_owned()]).await;
    subscriber.finish(held[1].tag, vec![result_of(&held[1])]);
    assert_eq!(subscriber.settled().await, held[1].tag, "no delivery comes between");
    subscriber.close().await;
    expect_depth(broker, Queue::Results, 2).await;
    let late = drain(broker, Queue::Jobs, 1).await;
    assert_eq!(bodies(&late), ["late"]);
    assert!(!late[0].redelivered, "it was never handed to the stopped subscription");
}

pub async fn closing_carries_out_every_order(broker: &dyn Broker) {
    enqueue(broker, numbered(300)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 300);
    let held = subscriber.deliveries(300).await;
    for delivery in &held[..200] {
        subscriber.finish(delivery.tag, vec![result_of(delivery)]);
    }
    for delivery in &held[200..] {
        subscriber.0.settle(Settlement::GiveBack { tag: delivery.tag });
    }
    subscriber.close().await;
    expect_depth(broker, Queue::Results, 200).await;
    expect_depth(broker, Queue::Jobs, 100).await;
}

pub async fn depth_counts_what_nobody_holds(broker: &dyn Broker) {
    for queue in Queue::ALL {
        expect_depth(broker, queue, 0).await;
    }
    enqueue_in_order(broker, numbered(7)).await;
    expect_depth(broker, Queue::Jobs, 7).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 3);
    subscriber.deliveries(3).await;
    expect_depth(broker, Queue::Jobs, 4).await;
    subscriber.close().await;
    expect_depth(broker, Queue::Jobs, 7).await;
}

pub async fn declaring_again_changes_nothing(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(3)).await;
    broker.declare().await.expect("declared again");
    expect_depth(broker, Queue::Jobs, 3).await;
    assert_eq!(tally(&drain(broker, Queue::Jobs, 3).await), once_each(3));
}

pub async fn ten_thousand_jobs_give_one_result_each(broker: &dyn Broker) {
    const JOBS: usize = 10_000;
    enqueue(broker, numbered(JOBS)).await;
    relay(&mut Subscriber::new(broker, Queue::Jobs, 1000), JOBS).await;
    expect_depth(broker, Queue::Jobs, 0).await;
    assert_eq!(tally(&drain(broker, Queue::Results, JOBS).await), once_each(JOBS));
    expect_depth(broker, Queue::Results, 0).await;
}

pub async fn two_subscribers_share_a_queue(broker: &dyn Broker) {
    const JOBS: usize = 200;
    let (mut one, mut other) = (Subscriber::new(broker, Queue::Jobs, 10), Subscriber::new(broker, Queue::Jobs, 10));
    enqueue(broker, numbered(JOBS)).await;
    // Each must get its prefetch before anything is settled: neither can take the queue for itself.
    let (held_by_one, held_by_other) = (one.deliveries(10).await, other.deliveries(10).await);
    for (subscriber, held) in [(&one, held_by_one), (&other, held_by_other)] {
        for delivery in held {
            subscriber.finish(delivery.tag, vec![result_of(&delivery)]);
        }
    }
    let both_work = async { tokio::join!(relay(&mut one, JOBS), relay(&mut other, JOBS)) };
    tokio::select! {
        _ = both_work => panic!("both can't have settled everything"),
        () = expect_depth(broker, Queue::Results, JOBS as u64) => {}
    }
    assert_eq!(tally(&drain(broker, Queue::Results, JOBS).await), once_each(JOBS));
    expect_depth(broker, Queue::Jobs, 0).await;
}

pub async fn a_copy_goes_to_reply_to(broker: &dyn Broker) {
    enqueue(broker, ["job".to_owned()]).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 1);
    let delivery = subscriber.delivery().await;
    // Any queue will do for a reply: this is one that the suite can read from.
    let to = Destination::Reply { queue: Queue::Unrouted.name().to_owned() };
    let copy = Publication { to, message: delivery.message.clone() };
    subscriber.finish(delivery.tag, vec![result_of(&delivery), copy]);
    assert_eq!(subscriber.settled().await, delivery.tag);
    subscriber.close().await;
    assert_eq!(bodies(&drain(broker, Queue::Results, 1).await), ["job"]);
    assert_eq!(bodies(&drain(broker, Queue::Unrouted, 1).await), ["job"]);
}

pub async fn a_slow_subscriber_delays_no_settlement(broker: &dyn Broker) {
    const JOBS: usize = 100;
    enqueue(broker, numbered(JOBS)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 10);
    for (delivery, settled) in subscriber.deliveries(10).await.into_iter().zip(1..) {
        subscriber.finish(delivery.tag, vec![result_of(&delivery)]);
        // Each adds an event that it is settled and a new delivery, and nobody takes one of them.
        expect_depth(broker, Queue::Results, settled).await;
    }
    expect_depth(broker, Queue::Jobs, 80).await;
    relay(&mut subscriber, JOBS).await;
    assert_eq!(tally(&drain(broker, Queue::Results, JOBS).await), once_each(JOBS));
}

pub async fn what_goes_to_a_retry_step_comes_back_to_the_jobs_after_its_delay(broker: &dyn Broker) {
    broker.enqueue(vec![full()]).await.remove(0).expect("a job that is stored");
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 10);
    let sent = Instant::now();
    move_to(&mut subscriber, Destination::Retry { after: SOON }).await;
    let back = subscriber.delivery().await;
    // Only the lower bound: above it, this machine may be to blame.
    assert!(sent.elapsed() >= SOON, "it came after {:?}", sent.elapsed());
    assert_eq!(back.message, full());
    assert!(!back.redelivered && back.earlier_deliveries == 0, "nobody has begun with it: {back:?}");
    // As often as it likes: no broker takes that for a loop.
    subscriber.finish(back.tag, vec![to(Destination::Retry { after: SOON }, &back.message)]);
    assert_eq!(subscriber.settled().await, back.tag);
    assert_eq!(subscriber.delivery().await.message, full());
}

pub async fn a_short_delay_is_not_held_up_by_a_long_one(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(2)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 1);
    move_to(&mut subscriber, Destination::Retry { after: LATER }).await;
    move_to(&mut subscriber, Destination::Retry { after: SOON }).await;
    assert_eq!(bodies([&subscriber.delivery().await]), ["job 1"]);
    expect_depth(broker, Queue::Retry { after: LATER }, 1).await;
}

pub async fn what_waits_outlives_its_subscription_and_is_counted_where_it_waits(broker: &dyn Broker) {
    enqueue(broker, numbered(3)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 1);
    move_to(&mut subscriber, Destination::Retry { after: LATER }).await;
    move_to(&mut subscriber, Destination::Retry { after: LATER }).await;
    move_to(&mut subscriber, Destination::Retry { after: SOON }).await;
    subscriber.close().await;
    expect_depth(broker, Queue::Retry { after: LATER }, 2).await;
    expect_depth(broker, Queue::Jobs, 1).await;
    expect_depth(broker, Queue::Retry { after: SOON }, 0).await;
    assert_eq!(drain(broker, Queue::Jobs, 1).await.len(), 1);
}

pub async fn a_dead_letter_is_moved_to_the_jobs_or_the_archive_as_it_is(broker: &dyn Broker) {
    broker.enqueue(vec![full()]).await.remove(0).expect("a job that is stored");
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    move_to(&mut jobs, Destination::Dead).await;
    jobs.close().await;
    for (from, destination) in
        [(Queue::Dead, Destination::Archive), (Queue::Archive, Destination::Dead), (Queue::Dead, Destination::Jobs)]
    {
        let mut subscriber = Subscriber::new(broker, from.clone(), 1);
        move_to(&mut subscriber, destination).await;
        subscriber.close().await;
        expect_depth(broker, from, 0).await;
    }
    assert_eq!(drain(broker, Queue::Jobs, 1).await.remove(0).message, full());
}

pub async fn a_watcher_sees_copies_and_takes_nothing(broker: &dyn Broker) {
    enqueue(broker, ["before".to_owned()]).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    let before = jobs.delivery().await;
    jobs.finish(before.tag, vec![result_of(&before)]);
    assert_eq!(jobs.settled().await, before.tag);

    broker.watch(watcher("one")).await.expect("a watch");
    broker.enqueue(vec![full()]).await.remove(0).expect("a job that is stored");
    let job = jobs.delivery().await;
    let publications = vec![result_of(&job), to(Destination::Dead, &message("dead")), to(Destination::Jobs, &full())];
    jobs.finish(job.tag, publications);
    assert_eq!(jobs.settled().await, job.tag);
    jobs.close().await;

    let seen = drain(broker, Queue::Watch(watcher("one")), 2).await;
    assert!(seen.iter().any(|copy| copy.message == full()), "{seen:?}");
    assert!(bodies(&seen).contains(&"dead".to_owned()), "{seen:?}");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
    expect_depth(broker, Queue::Results, 2).await;
    expect_depth(broker, Queue::Dead, 1).await;
}

pub async fn watchers_are_independent_and_a_watch_declared_again_keeps_what_it_has(broker: &dyn Broker) {
    for name in ["one", "two"] {
        broker.watch(watcher(name)).await.expect("a watch");
    }
    enqueue(broker, numbered(5)).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 5);
    for job in jobs.deliveries(5).await {
        jobs.finish(job.tag, vec![result_of(&job)]);
    }
    jobs.close().await;
    assert_eq!(tally(&drain(broker, Queue::Watch(watcher("one")), 5).await), once_each(5));
    broker.watch(watcher("two")).await.expect("the same watch");
    assert_eq!(tally(&drain(broker, Queue::Watch(watcher("two")), 5).await), once_each(5));
    expect_depth(broker, Queue::Results, 5).await;
}

pub async fn an_ended_watch_is_empty_and_gets_nothing_more(broker: &dyn Broker) {
    broker.unwatch(watcher("one")).await.expect("nothing to end");
    broker.watch(watcher("one")).await.expect("a watch");
    enqueue(broker, numbered(2)).await;
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    let first = jobs.delivery().await;
    jobs.finish(first.tag, vec![result_of(&first)]);
    assert_eq!(jobs.settled().await, first.tag);
    broker.unwatch(watcher("one")).await.expect("its end");
    let second = jobs.delivery().await;
    jobs.finish(second.tag, vec![result_of(&second)]);
    assert_eq!(jobs.settled().await, second.tag);
    broker.watch(watcher("one")).await.expect("a new one");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
    expect_depth(broker, Queue::Results, 2).await;
}

pub async fn a_look_takes_nothing_and_changes_no_order_however_often(broker: &dyn Broker) {
    const LETTERS: usize = 1000;
    for body in numbered(LETTERS) {
        assert_eq!(broker.deposit(vec![message(body)]).await, [Ok(())]);
    }
    expect_depth(broker, Queue::Dead, LETTERS as u64).await;
    for _ in 0..100 {
        let mut look = broker.look(Queue::Dead).await.expect("a look");
        assert_eq!((look.expected, look.others), (LETTERS as u64, 0));
        let mut seen = Vec::new();
        while let Some(message) = look.next().await {
            seen.push(String::from_utf8(message.expect("a message").body).expect("text"));
        }
        assert!(seen.iter().eq(numbered(LETTERS).collect::<Vec<_>>().iter()), "{seen:?}");
    }
    assert_eq!(bodies(&drain(broker, Queue::Dead, LETTERS).await), numbered(LETTERS).collect::<Vec<_>>());
    let mut empty = broker.look(Queue::Dead).await.expect("a look");
    assert!(empty.expected == 0 && empty.next().await.is_none());
}

pub async fn a_look_can_be_closed_in_the_middle(broker: &dyn Broker) {
    broker.deposit(numbered(200).map(message).collect()).await;
    expect_depth(broker, Queue::Dead, 200).await;
    let mut look = broker.look(Queue::Dead).await.expect("a look");
    look.next().await.expect("a message").expect("readable");
    look.close().await;
    expect_depth(broker, Queue::Dead, 200).await;
    drop(broker.look(Queue::Dead).await.expect("a look"));
    expect_depth(broker, Queue::Dead, 200).await;
    assert_eq!(tally(&drain(broker, Queue::Dead, 200).await), once_each(200));
}

pub async fn a_look_says_when_others_hold_something(broker: &dyn Broker) {
    broker.deposit(numbered(10).map(message).collect()).await;
    let mut subscriber = Subscriber::new(broker, Queue::Dead, 4);
    subscriber.deliveries(4).await;
    expect_depth(broker, Queue::Dead, 6).await;
    let mut look = broker.look(Queue::Dead).await.expect("a look");
    assert_eq!((look.expected, look.others), (6, 1));
    let mut seen = 0;
    while let Some(message) = look.next().await {
        message.expect("a message");
        seen += 1;
    }
    assert_eq!(seen, 6);
}

pub async fn what_is_deposited_is_in_the_dead_letters_and_no_news_to_watchers(broker: &dyn Broker) {
    broker.watch(watcher("one")).await.expect("a watch");
    assert_eq!(broker.deposit(vec![full(), Message::default()]).await, [Ok(()), Ok(())]);
    let letters: Vec<Message> =
        drain(broker, Queue::Dead, 2).await.into_iter().map(|delivery| delivery.message).collect();
    assert!(letters.contains(&full()) && letters.contains(&Message::default()), "{letters:?}");
    expect_depth(broker, Queue::Watch(watcher("one")), 0).await;
}

pub async fn more_than_the_prefetch_is_held_where_it_is_asked_for(broker: &dyn Broker) {
    enqueue_in_order(broker, numbered(10)).await;
    let mut subscriber = Subscriber::new(broker, Queue::Jobs, 2);
    let mut held = subscriber.deliveries(2).await;
    for _ in 0..3 {
        subscriber.0.take_more();
        held.extend(subscriber.deliveries(2).await);
    }
    assert_eq!(bodies(&held), numbered(8).collect::<Vec<_>>());
    expect_depth(broker, Queue::Jobs, 2).await;
    // Of what came before and after each time, some is finished and some given back.
    for delivery in [&held[1], &held[4], &held[7]] {
        subscriber.finish(delivery.tag, vec![result_of(delivery)]);
    }
    subscriber.close().await;
    expect_depth(broker, Queue::Results, 3).await;
    let mut left = bodies(&drain(broker, Queue::Jobs, 7).await);
    left.sort();
    assert_eq!(left, [0, 2, 3, 5, 6, 8, 9].map(|number| format!("job {number}")));
}

fn watcher(name: &str) -> WatchName {
    WatchName::new(name).expect("a name")
}

fn to(to: Destination, message: &Message) -> Publication {
    Publication { to, message: message.clone() }
}

/// Moves the next delivery, and waits until it is moved.
async fn move_to(subscriber: &mut Subscriber, destination: Destination) {
    let delivery = subscriber.delivery().await;
    subscriber.finish(delivery.tag, vec![to(destination, &delivery.message)]);
    assert_eq!(subscriber.settled().await, delivery.tag);
}

/// A message with every property, whose body is no text.
fn full() -> Message {
    let text = |text: &str| Some(text.to_owned());
    Message {
        body: vec![0xff, 0x00, 0xfe, b'{'],
        properties: Properties {
            message_id: text("order 66 \"quoted\" \u{1f680}"),
            correlation_id: text("correlation"),
            reply_to: text("release.unrouted"),
            kind: text("release.job.v1"),
            timestamp: Some(1_700_000_000),
            headers: BTreeMap::from([("traceparent".to_owned(), "00-ab-cd-01".to_owned())]),
        },
    }
}

/// Answers every delivery with its result, until a number of them are settled.
async fn relay(subscriber: &mut Subscriber, count: usize) {
    let mut settled = 0;
    while settled < count {
        match subscriber.event().await {
            Event::Delivery(delivery) => subscriber.finish(delivery.tag, vec![result_of(&delivery)]),
            Event::Settled(_) => settled += 1,
            Event::SessionLost { reason, .. } => panic!("a session was lost: {reason}"),
        }
    }
}

/// One call may put its jobs into the queue in any order; what is confirmed before another call stands before it.
async fn enqueue_in_order(broker: &dyn Broker, bodies: impl IntoIterator<Item = String>) {
    for body in bodies {
        enqueue(broker, [body]).await;
    }
}

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
