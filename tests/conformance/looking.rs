//! A look into a queue, which takes nothing. It must not know which broker it is.

use bulkrelease::broker::{Broker, Queue};

use super::subscriber::{Subscriber, bodies, drain, expect_depth, message, numbered, once_each, tally};

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
