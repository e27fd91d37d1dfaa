//! What a test does with a broker, each with a time-out: make messages, wait for events, settle, count. It must not know
//! which broker it is.

use std::collections::BTreeSet;
use std::time::Duration;

use bulkrelease::broker::{Broker, Delivery, Destination, Event, Health, Publication, Queue, Settlement, Subscription};
use bulkrelease::contract::{Message, Properties};
use tokio::time::{Instant, sleep, timeout};

/// Long enough for a broker that is starting again.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A message whose body and id are this name.
pub fn message(name: &str) -> Message {
    let properties = Properties { message_id: Some(name.to_owned()), ..Properties::default() };
    Message { body: name.as_bytes().to_vec(), properties }
}

pub fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|number| message(&number.to_string())).collect()
}

/// A message's name.
pub fn name(message: &Message) -> String {
    String::from_utf8_lossy(&message.body).into_owned()
}

/// Puts jobs into their queue.
pub async fn enqueue(broker: &dyn Broker, jobs: Vec<Message>) {
    let count = jobs.len();
    let answers = timeout(PATIENCE, broker.enqueue(jobs)).await.expect("an answer in time");
    assert_eq!(answers, vec![Ok(()); count]);
}

/// The result of a delivery: a message of the same name.
pub fn result(delivery: &Delivery) -> Settlement {
    publish(delivery, Destination::Results { key: "Released.ecs".to_owned() })
}

/// Finishes a delivery with a message of the same name.
pub fn publish(delivery: &Delivery, to: Destination) -> Settlement {
    let publications = vec![Publication { to, message: delivery.message.clone() }];
    Settlement::Finish { tag: delivery.tag, publications }
}

/// Takes a delivery without publishing anything.
pub fn take(delivery: &Delivery) -> Settlement {
    Settlement::Finish { tag: delivery.tag, publications: Vec::new() }
}

pub async fn event(subscription: &mut Subscription) -> Event {
    let event = timeout(PATIENCE, subscription.events.recv()).await;
    let event = event.unwrap_or_else(|_| panic!("no event in time: {:?}", subscription.health.borrow()));
    event.expect("the subscription lives")
}

/// The next delivery, whatever is told before it.
pub async fn delivery(subscription: &mut Subscription) -> Delivery {
    loop {
        if let Event::Delivery(delivery) = event(subscription).await {
            return delivery;
        }
    }
}

pub async fn deliveries(subscription: &mut Subscription, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::with_capacity(count);
    while deliveries.len() < count {
        deliveries.push(delivery(subscription).await);
    }
    deliveries
}

/// Waits for the word that these settlements are carried out, in whatever order it comes.
pub async fn settled(subscription: &mut Subscription, settled: &[&Delivery]) {
    let mut open: BTreeSet<_> = settled.iter().map(|delivery| delivery.tag).collect();
    while !open.is_empty() {
        match event(subscription).await {
            Event::Settled(tag) => assert!(open.remove(&tag), "{tag:?} is settled twice, or was never ordered"),
            Event::Delivery(delivery) => panic!("a delivery that this test has no use for: {delivery:?}"),
            Event::SessionLost { reason, .. } => panic!("lost: {reason}"),
        }
    }
}

/// The number and the reason of the session that is lost next.
pub async fn lost(subscription: &mut Subscription) -> (u64, String) {
    loop {
        if let Event::SessionLost { session, reason } = event(subscription).await {
            return (session, reason);
        }
    }
}

/// Waits until the subscription's health is as wanted.
pub async fn healthy(subscription: &mut Subscription, wanted: impl FnMut(&Health) -> bool) -> Health {
    let health = timeout(PATIENCE, subscription.health.wait_for(wanted)).await;
    let health = health.map(|health| health.expect("the subscription lives").clone());
    health.unwrap_or_else(|_| panic!("the health stays {:?}", subscription.health.borrow()))
}

/// Takes everything that is in a queue, in the order in which it comes, until this many have come.
pub async fn drain(broker: &dyn Broker, queue: Queue, count: usize) -> Vec<String> {
    let mut subscription = broker.subscribe(queue, 1000);
    let mut names = Vec::with_capacity(count);
    while names.len() < count {
        let delivery = delivery(&mut subscription).await;
        names.push(name(&delivery.message));
        subscription.settle(take(&delivery));
    }
    subscription.close(PATIENCE).await;
    names
}

/// Waits until so many messages are ready in a queue: a broker counts with a delay.
pub async fn depth_becomes(broker: &dyn Broker, queue: Queue, wanted: u64) {
    let begun = Instant::now();
    loop {
        let depth = broker.depth(queue.clone()).await;
        if depth == Ok(wanted) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "the depth of {queue:?} stays {depth:?} instead of {wanted}");
        sleep(Duration::from_millis(50)).await;
    }
}
