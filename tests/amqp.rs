//! What a user relies on with RabbitMQ on an ordinary day. `amqp_trouble.rs` has the other days.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::support::rabbitmq::Node;
use crate::support::subscriber::{
    PATIENCE, deliveries, delivery, depth_becomes, drain, enqueue, event, healthy, lost, message, messages, name,
    publish, result, settled, take,
};
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, BrokerError, Destination, Event, Publication, Queue, Settlement};
use bulkrelease::config::{BrokerSettings, QueueType};
use bulkrelease::contract::{Message, Properties};
use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, ExchangeKind};
use tokio::time::sleep;

fn settings(url: String) -> BrokerSettings {
    BrokerSettings { url: Some(url), ..BrokerSettings::default() }
}

fn broker(url: String) -> AmqpBroker {
    AmqpBroker::new(&settings(url)).expect("valid settings")
}

/// A channel of an operator who does something behind our back.
async fn operator(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await.expect("a connection");
    let channel = connection.create_channel().await.expect("a channel");
    (connection, channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_delivered_and_its_result_arrives_with_every_property() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("result"));
    let job = Message {
        body: b"{}".to_vec(),
        properties: Properties {
            message_id: Some("job-1".to_owned()),
            correlation_id: Some("order-7".to_owned()),
            reply_to: Some("answers".to_owned()),
            kind: Some("release.job.v1".to_owned()),
            timestamp: Some(1_700_000_000),
            headers: [("traceparent".to_owned(), "00-ab-cd-01".to_owned())].into(),
        },
    };
    enqueue(&broker, vec![job.clone()]).await;

    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = delivery(&mut subscription).await;
    assert_eq!((delivered.redelivered, delivered.earlier_deliveries), (false, 0));
    assert_eq!(delivered.message.body, job.body);
    subscription.settle(result(&delivered));
    settled(&mut subscription, &[&delivered]).await;
    subscription.close(PATIENCE).await;

    let mut results = broker.subscribe(Queue::Results, 10);
    let arrived = delivery(&mut results).await.message;
    for properties in [&delivered.message.properties, &arrived.properties] {
        let mut properties = properties.clone();
        properties.headers.retain(|name, _| !name.starts_with("x-"));
        assert_eq!(properties, job.properties);
    }
    depth_becomes(&broker, Queue::Jobs, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_back_comes_again_and_says_so() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("back"));
    enqueue(&broker, messages(1)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let first = delivery(&mut subscription).await;
    subscription.settle(Settlement::GiveBack { tag: first.tag });
    let second = delivery(&mut subscription).await;
    assert_ne!(first.tag, second.tag);
    assert_eq!((second.redelivered, second.earlier_deliveries), (true, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_subscription_gives_back_what_is_not_settled() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("dropped"));
    enqueue(&broker, messages(20)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    deliveries(&mut subscription, 10).await;
    drop(subscription);
    depth_becomes(&broker, Queue::Jobs, 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_carries_out_every_order_and_gives_back_the_rest() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("closing"));
    enqueue(&broker, messages(300)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 200);
    for (index, delivered) in deliveries(&mut subscription, 150).await.iter().enumerate() {
        if index % 3 == 0 {
            subscription.settle(result(delivered));
        }
    }
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Results, 50).await;
    depth_becomes(&broker, Queue::Jobs, 250).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_stop_nothing_more_comes_and_what_is_held_can_be_settled() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("stop"));
    enqueue(&broker, messages(1000)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 500);
    let mut held = deliveries(&mut subscription, 20).await;
    subscription.stop_deliveries();
    healthy(&mut subscription, |health| !health.consuming).await;
    // What was on its way already still arrives; all else is back in the queue.
    let begun = Instant::now();
    while broker.depth(Queue::Jobs).await != Ok(1000 - held.len() as u64) {
        while let Ok(Event::Delivery(delivered)) = subscription.events.try_recv() {
            held.push(delivered);
        }
        assert!(begun.elapsed() < PATIENCE, "{} are held", held.len());
    }
    for delivered in &held {
        subscription.settle(result(delivered));
    }
    settled(&mut subscription, &held.iter().collect::<Vec<_>>()).await;
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Results, held.len() as u64).await;
    depth_becomes(&broker, Queue::Jobs, 1000 - held.len() as u64).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_jobs_are_relayed_each_exactly_once() {
    const COUNT: usize = 10_000;
    let node = Node::shared().await;
    for (virtual_host, queue_type) in [("relay-quorum", QueueType::Quorum), ("relay-classic", QueueType::Classic)] {
        let settings = BrokerSettings { queue_type, ..settings(node.virtual_host(virtual_host)) };
        let broker = AmqpBroker::new(&settings).expect("valid settings");
        enqueue(&broker, messages(COUNT)).await;
        let begun = Instant::now();
        let mut subscription = broker.subscribe(Queue::Jobs, 1000);
        let mut open = COUNT;
        while open > 0 {
            match event(&mut subscription).await {
                Event::Delivery(delivered) => subscription.settle(result(&delivered)),
                Event::Settled(_) => open -= 1,
                Event::SessionLost { reason, .. } => panic!("lost: {reason}"),
            }
        }
        println!("{queue_type:?}: {:.0} jobs a second", COUNT as f64 / begun.elapsed().as_secs_f64());
        subscription.close(PATIENCE).await;
        depth_becomes(&broker, Queue::Results, COUNT as u64).await;
        let names: BTreeSet<_> = drain(&broker, Queue::Results, COUNT).await.into_iter().collect();
        assert_eq!(names.len(), COUNT);
        depth_becomes(&broker, Queue::Jobs, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_flow_while_the_subscriber_reads_nothing() {
    let node = Node::shared().await;
    let url = node.virtual_host("unread");
    let broker = broker(url.clone());
    enqueue(&broker, messages(1000)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 400);
    for delivered in deliveries(&mut subscription, 300).await {
        subscription.settle(result(&delivered));
    }
    // 300 words of settlement don't fit into the events, and nobody reads them.
    depth_becomes(&broker, Queue::Results, 300).await;
    let begun = Instant::now();
    while !node.control(&["list_queues", "-p", "unread", "name", "messages"]).contains("release.jobs\t700") {
        assert!(begun.elapsed() < PATIENCE, "the settled deliveries are not acked");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_and_a_result_of_one_job_are_both_published_before_it_is_settled() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("dead"));
    enqueue(&broker, messages(1)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = delivery(&mut subscription).await;
    let to = [Destination::Results { key: "Failed.ecs".to_owned() }, Destination::Dead];
    let publications = to.map(|to| Publication { to, message: delivered.message.clone() }).into();
    subscription.settle(Settlement::Finish { tag: delivered.tag, publications });
    settled(&mut subscription, &[&delivered]).await;
    assert_eq!(drain(&broker, Queue::Dead, 1).await, ["0"]);
    assert_eq!(drain(&broker, Queue::Results, 1).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_is_written_and_one_that_nobody_takes_holds_up_nothing() {
    let node = Node::shared().await;
    let url = node.virtual_host("reply");
    let broker = broker(url.clone());
    enqueue(&broker, messages(2)).await;
    let (_connection, channel) = operator(&url).await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("answers".into(), options, FieldTable::default()).await.expect("a queue");

    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = deliveries(&mut subscription, 2).await;
    for (delivered, queue) in delivered.iter().zip(["nobody", "answers"]) {
        let to =
            [Destination::Results { key: "Released.ecs".to_owned() }, Destination::Reply { queue: queue.to_owned() }];
        let publications = to.map(|to| Publication { to, message: delivered.message.clone() }).into();
        subscription.settle(Settlement::Finish { tag: delivered.tag, publications });
        settled(&mut subscription, &[delivered]).await;
    }
    let begun = Instant::now();
    while channel.basic_get("answers".into(), Default::default()).await.expect("an answer").is_none() {
        assert!(begun.elapsed() < PATIENCE, "no reply came");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_no_queue_takes_is_an_error_and_the_others_are_told_apart() {
    let node = Node::shared().await;
    let url = node.virtual_host("unroutable");
    let broker = broker(url.clone());
    enqueue(&broker, messages(500)).await;
    let (_connection, channel) = operator(&url).await;
    channel.queue_delete("release.jobs".into(), QueueDeleteOptions::default()).await.expect("a deletion");
    let answers = broker.enqueue(messages(200)).await;
    assert_eq!(answers.len(), 200);
    assert!(answers.iter().all(|answer| matches!(answer, Err(BrokerError::Unroutable(_)))), "{answers:?}");

    broker.declare().await.expect("the queue again");
    enqueue(&broker, messages(200)).await;
    depth_becomes(&broker, Queue::Jobs, 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_no_queue_wants_is_kept_apart() {
    let node = Node::shared().await;
    let url = node.virtual_host("unrouted");
    let broker = broker(url.clone());
    enqueue(&broker, messages(1)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = delivery(&mut subscription).await;
    let (_connection, channel) = operator(&url).await;
    let (queue, exchange) = ("release.results".into(), "release.results".into());
    channel.queue_unbind(queue, exchange, "#".into(), FieldTable::default()).await.expect("no binding");
    subscription.settle(result(&delivered));
    settled(&mut subscription, &[&delivered]).await;
    assert_eq!(drain(&broker, Queue::Unrouted, 1).await, ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_up_twice_changes_nothing_and_whatever_differs_is_named() {
    let node = Node::shared().await;
    let url = node.virtual_host("setup");
    let first = broker(url.clone());
    first.declare().await.expect("a first time");
    first.declare().await.expect("a second time");

    let url = node.virtual_host("differs");
    let (_connection, channel) = operator(&url).await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("release.jobs".into(), options, FieldTable::default()).await.expect("a classic queue");
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let declaring =
        channel.exchange_declare("release.dead".into(), ExchangeKind::Direct, options, FieldTable::default());
    declaring.await.expect("a direct exchange");

    let refused = broker(url.clone()).declare().await.expect_err("both differ");
    let BrokerError::Differs { entity, difference } = &refused else { panic!("{refused}") };
    assert_eq!(entity, "exchange release.dead, queue release.jobs");
    for words in ["received 'fanout' but current is 'direct'", "for queue 'release.jobs'"] {
        assert!(difference.contains(words), "{difference}");
    }
    let subscription = &mut broker(url).subscribe(Queue::Jobs, 10);
    healthy(subscription, |health| health.problem.contains("received 'fanout' but current is 'direct'")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_to_declare_what_is_missing_is_named_and_waited_for() {
    let node = Node::shared().await;
    let url = node.virtual_host("missing");
    let settings = BrokerSettings { declare: false, ..settings(url.clone()) };
    let broker = AmqpBroker::new(&settings).expect("valid settings");
    let answers = broker.enqueue(messages(1)).await;
    assert!(matches!(&answers[..], [Err(BrokerError::Missing { entity })] if entity.contains("queue release.jobs")));
    let depth = broker.depth(Queue::Jobs).await;
    assert_eq!(depth, Err(BrokerError::Missing { entity: "queue release.jobs".to_owned() }));

    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let health = healthy(&mut subscription, |health| health.problem.contains("does not exist")).await;
    assert!(!health.consuming && !health.publishing, "{health:?}");
    broker.declare().await.expect("setup declares whatever the setting says");
    healthy(&mut subscription, |health| health.consuming && health.publishing).await;
    enqueue(&broker, messages(1)).await;
    delivery(&mut subscription).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_the_consumer_is_declared_and_consumed_again() {
    let node = Node::shared().await;
    let url = node.virtual_host("deleted");
    let broker = broker(url.clone());
    enqueue(&broker, vec![message("before")]).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let before = delivery(&mut subscription).await;
    let (_connection, channel) = operator(&url).await;
    channel.queue_delete("release.jobs".into(), QueueDeleteOptions::default()).await.expect("a deletion");
    let (session, reason) = lost(&mut subscription).await;
    assert_eq!((session, reason.as_str()), (before.tag.session, "the broker cancelled the consumer"));

    healthy(&mut subscription, |health| health.consuming).await;
    enqueue(&broker, vec![message("after")]).await;
    // A settlement of the lost session does nothing, and the new session is not confused by it.
    subscription.settle(result(&before));
    let after = delivery(&mut subscription).await;
    assert_eq!(name(&after.message), "after");
    assert!(after.tag.session > before.tag.session);
    subscription.settle(take(&after));
    settled(&mut subscription, &[&after]).await;
    assert_eq!(broker.depth(Queue::Results).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_results_exchange_is_declared_again_and_the_result_is_not_lost() {
    let node = Node::shared().await;
    let url = node.virtual_host("exchange");
    let broker = broker(url.clone());
    enqueue(&broker, messages(3)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = deliveries(&mut subscription, 3).await;
    healthy(&mut subscription, |health| health.publishing).await;
    let (_connection, channel) = operator(&url).await;
    channel.exchange_delete("release.results".into(), Default::default()).await.expect("a deletion");
    channel.queue_purge("release.results".into(), QueuePurgeOptions::default()).await.expect("an empty queue");
    for delivered in &delivered {
        subscription.settle(result(delivered));
    }
    settled(&mut subscription, &delivered.iter().collect::<Vec<_>>()).await;
    let names: BTreeSet<_> = drain(&broker, Queue::Results, 3).await.into_iter().collect();
    assert_eq!(names, ["0", "1", "2"].map(str::to_owned).into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_survives_being_looked_at_many_times() {
    let node = Node::shared().await;
    let broker = broker(node.virtual_host("looking"));
    enqueue(&broker, messages(1)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let delivered = delivery(&mut subscription).await;
    subscription.settle(publish(&delivered, Destination::Dead));
    settled(&mut subscription, &[&delivered]).await;
    let mut looking = broker.subscribe(Queue::Dead, 10);
    for _ in 0..150 {
        let seen = delivery(&mut looking).await;
        looking.settle(Settlement::GiveBack { tag: seen.tag });
    }
    looking.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Dead, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn classic_queues_that_name_no_type_are_taken_as_they_are() {
    let node = Node::shared().await;
    let url = node.virtual_host("untyped");
    let (_connection, channel) = operator(&url).await;
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare("release.results".into(), options, FieldTable::default()).await.expect("a classic queue");
    let settings = BrokerSettings { queue_type: QueueType::Classic, ..settings(url) };
    AmqpBroker::new(&settings).expect("valid settings").declare().await.expect("no difference");
}
