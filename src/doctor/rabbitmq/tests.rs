use super::*;
use crate::broker::inspection::{Inspection, ManagedQueue, NoManagement, Node, Right, StandingQueue};
use crate::config::{AccountSettings, BrokerSettings};
use crate::contract::AccountName;
use crate::doctor::{Soundness, examine_broker};

fn queue(queue: Queue, standing: Standing) -> StandingQueue {
    StandingQueue { queue, wanted: Default::default(), standing, ready: 0, consumers: 0 }
}

/// A server that is well, as far as it is asked.
fn healthy() -> RabbitMq {
    RabbitMq {
        address: "amqp://host:5672/".to_owned(),
        user: "guest".to_owned(),
        virtual_host: "/".to_owned(),
        version: Some("4.0.5".to_owned()),
        publishing: Some(Publishing::Read),
        ..RabbitMq::default()
    }
}

fn told(nodes: Option<Vec<Node>>) -> Option<Result<Management, NoManagement>> {
    Some(Ok(Management { nodes, ..Management::default() }))
}

fn node(name: &str) -> Node {
    Node { name: name.to_owned(), running: true, ..Node::default() }
}

fn report(inspection: RabbitMq, declare: bool) -> Report {
    let broker = BrokerSettings { declare, ..BrokerSettings::default() };
    let settings = Settings { broker, ..Settings::default() };
    examine_broker(&settings, Ok(Inspection::RabbitMq(Box::new(inspection))))
}

fn codes(inspection: RabbitMq) -> Vec<&'static str> {
    report(inspection, true).findings.iter().map(|finding| finding.code.as_str()).collect()
}

#[test]
fn versions_alarms_and_nodes_are_judged() {
    let version = |version: &str| RabbitMq { version: Some(version.to_owned()), ..healthy() };
    let nodes = |nodes: Vec<Node>| RabbitMq { management: told(Some(nodes)), ..healthy() };
    let blocked = RabbitMq { publishing: Some(Publishing::Blocked), ..healthy() };
    let alarmed = Node { disk_free_alarm: true, ..node("a") };
    let cases = [
        (healthy(), vec![]),
        (version("3.9.29"), vec!["version-too-old"]),
        (version("3.10.0-rc.1"), vec![]),
        (blocked, vec!["broker-alarm"]),
        // Felt and told is one thing.
        (RabbitMq { publishing: Some(Publishing::Blocked), ..nodes(vec![alarmed]) }, vec!["broker-alarm"]),
        (nodes(vec![node("a"), Node { running: false, ..node("b") }]), vec!["node-down"]),
        (nodes(vec![Node { partitions: vec!["b".to_owned()], ..node("a") }]), vec!["cluster-partitioned"]),
    ];
    for (inspection, expected) in cases {
        let name = format!("{inspection:?}");
        assert_eq!(codes(inspection), expected, "{name}");
    }
}

#[test]
fn what_nobody_told_is_said_to_be_unchecked() {
    let unanswered = NoManagement { url: "http://host:15672/".to_owned(), reason: "connection refused".to_owned() };
    let untold = || RabbitMq { queues: vec![queue(Queue::Dead, Standing::Untold)], ..healthy() };
    let without_plugin = RabbitMq { management: Some(Err(unanswered)), ..untold() };
    let without_tag = RabbitMq { management: told(None), ..healthy() };
    let mut young = Management { nodes: Some(vec![node("a")]), ..Management::default() };
    young.queues.insert("release.dead".to_owned(), ManagedQueue { durable: true, ..ManagedQueue::default() });
    let young = RabbitMq { management: Some(Ok(young)), ..untold() };
    let unnamed = RabbitMq { version: None, ..healthy() };
    let cases = [
        (without_plugin, vec!["policies, bindings and nodes", "arguments of release.dead"]),
        (without_tag, vec!["nodes and the cluster"]),
        (young, vec!["policies of release.dead"]),
        (unnamed, vec!["the broker's version"]),
    ];
    for (inspection, expected) in cases {
        let report = report(inspection, false);
        let subjects: Vec<&str> = report.not_checked.iter().map(|missed| missed.subject.as_str()).collect();
        assert_eq!(subjects, expected);
        assert_eq!(report.findings, [], "{report:?}");
    }
}

#[test]
fn a_right_to_configure_is_missed_only_where_it_is_used() {
    let right = |kind, entity: &str| Right { kind, entity: entity.to_owned(), held: Ok(false) };
    let lacking = |rights| RabbitMq { rights, ..healthy() };
    let configure = || lacking(vec![right(RightKind::Configure, "release.dead")]);
    assert_eq!(report(configure(), false).soundness(), Soundness::Sound);
    assert_eq!(report(configure(), true).soundness(), Soundness::Findings);
    let write = report(lacking(vec![right(RightKind::Write, "release.retry")]), false);
    assert_eq!(write.findings.len(), 1);
    assert!(write.findings[0].found.contains("write release.retry"), "{write:?}");
}

#[test]
fn rights_for_beacons_are_missed_only_where_there_is_a_quota_to_share() {
    let lacking = || {
        let right = |kind, entity: &str, held| Right { kind, entity: entity.to_owned(), held };
        let beacon_rights = vec![
            right(RightKind::Configure, "release.fleet.*", Ok(true)),
            right(RightKind::Read, "release.fleet", Ok(false)),
            right(RightKind::Write, "release.fleet", Ok(false)),
        ];
        RabbitMq { beacon_rights, ..healthy() }
    };
    for (quota, found) in [(CallsPerSecond::Limited(3.0), 1), (CallsPerSecond::Auto, 1), (CallsPerSecond::Unlimited, 0)]
    {
        let account = AccountSettings {
            endpoint: Some("host".to_owned()),
            calls_per_second: quota,
            ..AccountSettings::default()
        };
        let accounts = [(AccountName::default(), account)].into();
        let settings = Settings { accounts, ..Settings::default() };
        let findings = examine_broker(&settings, Ok(Inspection::RabbitMq(Box::new(lacking())))).findings;
        assert_eq!(findings.len(), found, "{quota:?}: {findings:?}");
        for finding in findings {
            assert_eq!(finding.code.as_str(), "beacons-not-permitted");
            assert_eq!(finding.found, "it has no right to read release.fleet, write release.fleet");
            assert!(finding.mend.contains("set_permissions -p '/' 'guest'"), "{finding:?}");
        }
    }
}

#[test]
fn the_worst_comes_first() {
    let queues = vec![queue(Queue::Unrouted, Standing::Missing)];
    let mixed = RabbitMq { version: Some("3.8.1".to_owned()), queues, ..healthy() };
    assert_eq!(codes(mixed), ["version-too-old", "not-set-up"]);
}
