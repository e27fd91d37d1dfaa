//! What becomes of a delivery: finished with its publications, or given back, once. It must not know which broker it is.

use bulkrelease::broker::{Broker, DeliveryTag, Destination, Publication, Queue, Settlement};

use super::subscriber::{
    Subscriber, bodies, drain, enqueue, enqueue_in_order, expect_depth, full, message, move_to, numbered, once_each,
    relay, result_of, tally,
};

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

pub async fn ten_thousand_jobs_give_one_result_each(broker: &dyn Broker) {
    const JOBS: usize = 10_000;
    enqueue(broker, numbered(JOBS)).await;
    relay(&mut Subscriber::new(broker, Queue::Jobs, 1000), JOBS).await;
    expect_depth(broker, Queue::Jobs, 0).await;
    assert_eq!(tally(&drain(broker, Queue::Results, JOBS).await), once_each(JOBS));
    expect_depth(broker, Queue::Results, 0).await;
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

pub async fn a_dead_letter_is_moved_to_the_jobs_or_the_archive_as_it_is(broker: &dyn Broker) {
    broker.enqueue(vec![full()]).await.remove(0).expect("a job that is stored");
    let mut jobs = Subscriber::new(broker, Queue::Jobs, 1);
    move_to(&mut jobs, Destination::Dead).await;
    jobs.close().await;
    for (from, destination) in [
        (Queue::Dead, Destination::Archive),
        (Queue::Archive, Destination::DeadAgain),
        (Queue::Dead, Destination::Jobs),
    ] {
        let mut subscriber = Subscriber::new(broker, from.clone(), 1);
        move_to(&mut subscriber, destination).await;
        subscriber.close().await;
        expect_depth(broker, from, 0).await;
    }
    assert_eq!(drain(broker, Queue::Jobs, 1).await.remove(0).message, full());
}
