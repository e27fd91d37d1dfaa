//! What a user relies on with RabbitMQ when something breaks: the broker, a connection, a consumer, its memory. Each test
//! has a node of its own. `amqp.rs` has the ordinary days.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use crate::support::rabbitmq::{Configuration, Node, free_ports};
use crate::support::subscriber::{
    PATIENCE, deliveries, delivery, depth_becomes, drain, enqueue, event, healthy, lost, messages, name, result,
    settled, take,
};
use crate::support::unreadable;
use bulkrelease::broker::amqp::AmqpBroker;
use bulkrelease::broker::{Broker, BrokerError, Event, Queue, Subscription};
use bulkrelease::config::{BrokerSettings, TlsSettings};
use bulkrelease::contract::JOBS;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::time::sleep;

/// A crash within a second of declaring a quorum queue may lose confirmed messages, whoever the client is.
const QUEUE_IS_SAFE: Duration = Duration::from_secs(3);

fn broker(url: String) -> AmqpBroker {
    let settings = BrokerSettings { url: Some(url), ..BrokerSettings::default() };
    AmqpBroker::new(&settings).expect("valid settings")
}

/// Works off the jobs, whatever is lost on the way, until somebody who reads the results has seen one of every job.
async fn relay(broker: &AmqpBroker, jobs: &mut Subscription, count: usize, mut meanwhile: impl FnMut(usize)) {
    let mut results = broker.subscribe(Queue::Results, 1000);
    let mut seen = BTreeSet::new();
    while seen.len() < count {
        tokio::select! {
            event = event(jobs) => if let Event::Delivery(delivered) = event {
                jobs.settle(result(&delivered));
            },
            arrived = delivery(&mut results) => {
                results.settle(take(&arrived));
                seen.insert(name(&arrived.message));
                meanwhile(seen.len());
            }
        }
    }
    results.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_broker_loses_no_job_and_no_result() {
    const COUNT: usize = 1000;
    let mut node = Node::start(&Configuration::default()).await;
    let broker = broker(node.url());
    enqueue(&broker, messages(COUNT)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 200);
    let held = deliveries(&mut subscription, 100).await;
    for delivered in &held[..50] {
        subscription.settle(result(delivered));
    }
    sleep(QUEUE_IS_SAFE).await;
    node.kill();
    let (session, _) = lost(&mut subscription).await;
    assert_eq!(session, held[0].tag.session);
    let health = healthy(&mut subscription, |health| !health.consuming && !health.publishing).await;
    assert!(!health.problem.is_empty());
    let answers = broker.enqueue(messages(1)).await;
    assert!(matches!(&answers[..], [Err(BrokerError::Unreachable { .. })]), "{answers:?}");

    node.restart().await;
    // These tags are void by now; their jobs come again.
    for delivered in &held[50..] {
        subscription.settle(result(delivered));
    }
    relay(&broker, &mut subscription, COUNT, |_| ()).await;
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Jobs, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_by_the_operator_in_the_middle_of_the_work_lose_nothing() {
    const COUNT: usize = 5000;
    let node = Node::start(&Configuration::default()).await;
    let broker = broker(node.url());
    enqueue(&broker, messages(COUNT)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 1000);
    let mut closings = 0;
    relay(&broker, &mut subscription, COUNT, |seen| {
        if seen / 1000 > closings {
            closings += 1;
            node.control(&["close_all_connections", "an operator closes them"]);
        }
    })
    .await;
    assert!(closings >= 4, "{closings} times");
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Jobs, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_alarm_holds_publishing_and_nothing_else() {
    let node = Node::start(&Configuration::default()).await;
    let broker = broker(node.url());
    enqueue(&broker, messages(100)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 50);
    let held = deliveries(&mut subscription, 50).await;
    healthy(&mut subscription, |health| health.publishing).await;

    node.control(&["set_vm_memory_high_watermark", "0.0000001"]);
    for delivered in &held[..40] {
        subscription.settle(result(delivered));
    }
    let health = healthy(&mut subscription, |health| !health.publishing).await;
    assert!(health.consuming && health.problem.contains("blocks publishing"), "{health:?}");
    // The consuming side goes on: what is given back comes again.
    for delivered in &held[40..] {
        subscription.settle(bulkrelease::broker::Settlement::GiveBack { tag: delivered.tag });
    }
    let again = deliveries(&mut subscription, 10).await;
    assert!(again.iter().all(|delivered| delivered.tag > held[49].tag));

    node.control(&["set_vm_memory_high_watermark", "0.4"]);
    settled_among_deliveries(&mut subscription, 40).await;
    healthy(&mut subscription, |health| health.publishing && health.problem.is_empty()).await;
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Results, 40).await;
    depth_becomes(&broker, Queue::Jobs, 60).await;
}

async fn settled_among_deliveries(subscription: &mut Subscription, mut count: usize) {
    while count > 0 {
        match event(subscription).await {
            Event::Settled(_) => count -= 1,
            Event::Delivery(_) => {}
            Event::SessionLost { reason, .. } => panic!("lost: {reason}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_held_for_longer_than_the_broker_allows_comes_again() {
    let configuration = Configuration {
        lines: "consumer_timeout = 3000\n".to_owned(),
        // How often the broker looks; a minute if nothing is said.
        advanced: "[{rabbit, [{channel_tick_interval, 1000}]}].\n".to_owned(),
        ..Configuration::default()
    };
    let node = Node::start(&configuration).await;
    let broker = broker(node.url());
    enqueue(&broker, messages(1)).await;
    let mut subscription = broker.subscribe(Queue::Jobs, 10);
    let first = delivery(&mut subscription).await;
    let (session, reason) = lost(&mut subscription).await;
    assert_eq!(session, first.tag.session);
    assert!(reason.contains("PRECONDITION_FAILED") || reason.contains("cancelled"), "{reason}");
    let second = delivery(&mut subscription).await;
    assert!(second.redelivered);
    subscription.settle(result(&second));
    settled(&mut subscription, &[&second]).await;
}

/// RabbitMQ's management takes messages out from the front: without a word those before it would go with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_stops_at_what_cannot_be_read_says_how_to_keep_what_stands_before_it() {
    const BEFORE: usize = 25;
    let node = Node::start(&Configuration::default()).await;
    let broker = broker(node.url());
    broker.declare().await.expect("declared");
    assert_eq!(broker.deposit(messages(BEFORE)).await, vec![Ok(()); BEFORE]);
    for (queue, before) in [(Queue::Dead, BEFORE), (Queue::Archive, 0)] {
        unreadable::publish(&node.url(), &queue.name());
        depth_becomes(&broker, queue.clone(), before as u64 + 1).await;
        let mut look = broker.look(queue.clone()).await.expect("a look");
        let mut seen = 0;
        let stopped = loop {
            match look.next().await.expect("an error before the end") {
                Ok(_) => seen += 1,
                Err(error) => break error.to_string(),
            }
        };
        look.close().await;
        assert!(seen == before && stopped.contains(&format!("take {} messages out", before + 1)), "{stopped}");
        assert_eq!(stopped.contains(&format!("keep the {before} before it")), before > 0, "{stopped}");
        depth_becomes(&broker, queue, before as u64 + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_cannot_be_read_ends_in_the_dead_letters_and_its_neighbours_get_through() {
    const COUNT: usize = 50;
    let node = Node::start(&Configuration::default()).await;
    let broker = broker(node.url());
    let mut jobs = messages(COUNT);
    let behind = jobs.split_off(COUNT / 2);
    enqueue(&broker, jobs).await;
    unreadable::publish(&node.url(), JOBS);
    enqueue(&broker, behind).await;

    let mut subscription = broker.subscribe(Queue::Jobs, 1000);
    let (mut open, mut done, mut most) = (BTreeMap::new(), BTreeSet::new(), 0);
    let (mut explained, mut worn_out) = (false, false);
    let mut dead = pin!(depth_becomes(&broker, Queue::Dead, 1));
    while done.len() < COUNT || !worn_out {
        tokio::select! {
            () = &mut dead, if !worn_out => worn_out = true,
            event = event(&mut subscription) => match event {
                Event::Delivery(delivered) => {
                    most = most.max(delivered.earlier_deliveries);
                    subscription.settle(result(&delivered));
                    open.insert(delivered.tag, name(&delivered.message));
                }
                // Its ack may be lost with the session; then the job comes again.
                Event::Settled(tag) => done.extend(open.remove(&tag)),
                Event::SessionLost { .. } => {
                    open.clear();
                    explained |= subscription.health.borrow().problem.contains("UTF-8");
                }
            },
        }
    }
    assert!(explained && most <= 10, "explained: {explained}; a neighbour was handed out {most} times before");
    healthy(&mut subscription, |health| health.consuming).await;
    subscription.close(PATIENCE).await;
    depth_becomes(&broker, Queue::Jobs, 0).await;
}

/// An authority of our own, with what it signed, as files.
struct Certificates {
    directory: TempDir,
}

impl Certificates {
    fn new() -> Self {
        let certificates = Self { directory: TempDir::new().expect("a directory") };
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "an authority");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(parameters, key()).expect("an authority");
        certificates.write("ca.pem", authority.pem());
        for (owner, usage) in
            [("server", ExtendedKeyUsagePurpose::ServerAuth), ("client", ExtendedKeyUsagePurpose::ClientAuth)]
        {
            let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut parameters = CertificateParams::new(names).expect("valid names");
            parameters.distinguished_name.push(DnType::CommonName, owner);
            parameters.extended_key_usages = vec![usage];
            let key = key();
            let certificate = parameters.signed_by(&key, &authority).expect("a certificate");
            certificates.write(&format!("{owner}.pem"), certificate.pem());
            certificates.write(&format!("{owner}.key"), key.serialize_pem());
        }
        certificates
    }

    fn write(&self, name: &str, content: String) {
        fs::write(self.path(name), content).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encrypted_connection_trusts_a_private_authority_and_shows_a_certificate() {
    let certificates = Certificates::new();
    let [port] = free_ports();
    let path = |name| certificates.path(name).display().to_string();
    let lines = format!(
        "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true\n",
        path("ca.pem"),
        path("server.pem"),
        path("server.key"),
    );
    let node = Node::start(&Configuration { lines, ..Configuration::default() }).await;
    // It opens its ports one after another, and a refused connection would look like a refused stranger.
    node.until_it_listens_at(port).await;
    let url = format!("amqps://localhost:{port}/");
    let trusting = TlsSettings { ca_file: Some(certificates.path("ca.pem")), ..TlsSettings::default() };
    let known = TlsSettings {
        certificate_file: Some(certificates.path("client.pem")),
        key_file: Some(certificates.path("client.key")),
        ..trusting.clone()
    };
    let broker = |tls| {
        let settings = BrokerSettings { url: Some(url.clone()), tls, ..BrokerSettings::default() };
        AmqpBroker::new(&settings).expect("valid settings")
    };
    for tls in [TlsSettings::default(), trusting] {
        let refused = broker(tls.clone()).declare().await.expect_err("a stranger");
        assert!(matches!(refused, BrokerError::Unreachable { .. }), "{tls:?}: {refused}");
    }
    let broker = broker(known);
    enqueue(&broker, messages(3)).await;
    assert_eq!(drain(&broker, Queue::Jobs, 3).await.len(), 3);
}
