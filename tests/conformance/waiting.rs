//! What waits in a retry step, and comes back. It must not know which broker it is.

use std::time::{Duration, Instant};

use bulkrelease::broker::{Broker, Destination, Queue};

use super::subscriber::{
    Subscriber, bodies, drain, enqueue, enqueue_in_order, expect_depth, full, move_to, numbered, to,
};

/// The retry steps of every broker here: one that a test can wait for, and one that it never does.
pub const STEPS: [Duration; 2] = [SOON, LATER];
const SOON: Duration = Duration::from_millis(500);
const LATER: Duration = Duration::from_secs(600);

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
