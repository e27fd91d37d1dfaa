//! What is delivered: in which order, how much at a time, and what comes again. It must not know which broker it is.

use bulkrelease::broker::{Broker, Queue, Settlement};
use bulkrelease::contract::Message;

use super::subscriber::{
    Subscriber, bodies, drain, enqueue, enqueue_in_order, expect_depth, full, numbered, once_each, relay, result_of,
    tally,
};

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

/// What is on its way at a stop comes again; not twice, or a few restarts would wear it out.
pub async fn a_stop_counts_a_message_as_delivered_once_at_most(broker: &dyn Broker) {
    const ROUNDS: u64 = 10;
    const JOBS: usize = 300;
    enqueue(broker, numbered(JOBS)).await;
    for _ in 0..ROUNDS {
        let mut subscriber = Subscriber::new(broker, Queue::Jobs, 200);
        subscriber.delivery().await;
        subscriber.0.stop_deliveries();
        subscriber.close().await;
        expect_depth(broker, Queue::Jobs, JOBS as u64).await;
    }
    let most = drain(broker, Queue::Jobs, JOBS).await.iter().map(|delivery| delivery.earlier_deliveries).max();
    assert!(most <= Some(ROUNDS), "{most:?} deliveries in {ROUNDS} rounds");
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
