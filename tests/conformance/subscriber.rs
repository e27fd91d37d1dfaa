//! A subscription as the tests use it: every wait has a time-out, and what is unexpected is said.

use std::collections::BTreeMap;
use std::time::Duration;

use bulkrelease::broker::{
    Broker, Delivery, DeliveryTag, Destination, Event, Publication, Queue, Settlement, Subscription,
};
use bulkrelease::contract::{Message, Properties};

/// Far beyond what a loaded machine needs: only a broken broker waits that long.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Subscriber(pub Subscription);

impl Subscriber {
    pub fn new(broker: &dyn Broker, queue: Queue, prefetch: u16) -> Self {
        Self(broker.subscribe(queue, prefetch))
    }

    pub async fn event(&mut self) -> Event {
        let event = tokio::time::timeout(PATIENCE, self.0.events.recv()).await.expect("an event in time");
        event.expect("a subscription that goes on")
    }

    pub async fn delivery(&mut self) -> Delivery {
        match self.event().await {
            Event::Delivery(delivery) => delivery,
            other => panic!("expected a delivery, not {other:?}"),
        }
    }

    pub async fn deliveries(&mut self, count: usize) -> Vec<Delivery> {
        let mut deliveries = Vec::new();
        while deliveries.len() < count {
            deliveries.push(self.delivery().await);
        }
        deliveries
    }

    pub async fn settled(&mut self) -> DeliveryTag {
        match self.event().await {
            Event::Settled(tag) => tag,
            other => panic!("expected a settled delivery, not {other:?}"),
        }
    }

    pub fn finish(&self, tag: DeliveryTag, publications: Vec<Publication>) {
        self.0.settle(Settlement::Finish { tag, publications });
    }

    pub async fn close(self) {
        self.0.close(PATIENCE).await;
    }
}

/// Takes a number of messages out of a queue, and ends.
pub async fn drain(broker: &dyn Broker, queue: Queue, count: usize) -> Vec<Delivery> {
    let mut subscriber = Subscriber::new(broker, queue, 100);
    let mut taken = Vec::new();
    let mut settled = 0;
    while settled < count {
        match subscriber.event().await {
            Event::Delivery(delivery) => {
                subscriber.finish(delivery.tag, Vec::new());
                taken.push(delivery);
            }
            Event::Settled(_) => settled += 1,
            Event::SessionLost { reason, .. } => panic!("a session was lost: {reason}"),
        }
    }
    subscriber.close().await;
    taken
}

/// Waits until a queue holds a number of ready messages. A broker may count late, never wrong for good.
pub async fn expect_depth(broker: &dyn Broker, queue: Queue, expected: u64) {
    let mut seen = None;
    let reached = async {
        while seen != Some(expected) {
            seen = Some(broker.depth(queue.clone()).await.expect("a depth"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, reached).await.is_err() {
        panic!("{} holds {seen:?} messages, not {expected}", queue.name());
    }
}

pub async fn enqueue(broker: &dyn Broker, bodies: impl IntoIterator<Item = String>) {
    for answer in broker.enqueue(bodies.into_iter().map(message).collect()).await {
        answer.expect("a job that is stored");
    }
}

pub fn message(body: impl Into<String>) -> Message {
    Message { body: body.into().into_bytes(), properties: Properties::default() }
}

/// A result that says the same as its job.
pub fn result_of(delivery: &Delivery) -> Publication {
    let key = "Released.vm".to_owned();
    Publication { to: Destination::Results { key }, message: delivery.message.clone() }
}

pub fn bodies<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> Vec<String> {
    deliveries.into_iter().map(|delivery| String::from_utf8_lossy(&delivery.message.body).into_owned()).collect()
}

/// How often each body came.
pub fn tally<'a>(deliveries: impl IntoIterator<Item = &'a Delivery>) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for body in bodies(deliveries) {
        *tally.entry(body).or_default() += 1;
    }
    tally
}

/// `job 0`, `job 1`, ...
pub fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("job {number}"))
}

pub fn once_each(count: usize) -> BTreeMap<String, usize> {
    numbered(count).map(|body| (body, 1)).collect()
}

pub fn to(to: Destination, message: &Message) -> Publication {
    Publication { to, message: message.clone() }
}

/// Moves the next delivery, and waits until it is moved.
pub async fn move_to(subscriber: &mut Subscriber, destination: Destination) {
    let delivery = subscriber.delivery().await;
    subscriber.finish(delivery.tag, vec![to(destination, &delivery.message)]);
    assert_eq!(subscriber.settled().await, delivery.tag);
}

/// A message with every property, whose body is no text.
pub fn full() -> Message {
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
pub async fn relay(subscriber: &mut Subscriber, count: usize) {
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
pub async fn enqueue_in_order(broker: &dyn Broker, bodies: impl IntoIterator<Item = String>) {
    for body in bodies {
        enqueue(broker, [body]).await;
    }
}
