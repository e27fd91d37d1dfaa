use serde_json::json;

use super::*;

fn object(value: Value) -> Arguments {
    value.as_object().expect("an object").clone()
}

fn retry() -> (Queue, Arguments) {
    let wanted = json!({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000, "x-message-ttl": 10_000,
        "x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once", "x-dead-letter-exchange": "release.jobs"});
    (Queue::Retry { after: Duration::from_secs(10) }, object(wanted))
}

fn plain(queue: Queue, limit: i64) -> (Queue, Arguments) {
    (queue, object(json!({"x-queue-type": "quorum", "x-delivery-limit": limit})))
}

fn judged(
    (queue, wanted): (Queue, Arguments),
    standing: Standing,
    managed: Option<&ManagedQueue>,
    version: Option<(u32, u32)>,
) -> Vec<&'static str> {
    let settings = Settings::default();
    let consumer_timeout = Some(Duration::from_secs(1800));
    let server = Server { version, virtual_host: "/", settings: &settings, consumer_timeout, nodes: 3 };
    let mut report = Report::default();
    judge(&StandingQueue { queue, wanted, standing, ready: 0, consumers: 0 }, managed, &server, &mut report);
    report.findings.iter().map(|finding| finding.code.as_str()).collect()
}

fn managed(arguments: Arguments, policies: Value) -> ManagedQueue {
    let members = ["a", "b", "c"].map(str::to_owned).to_vec();
    ManagedQueue {
        kind: Some("quorum".to_owned()),
        durable: true,
        arguments: Some(arguments),
        policies: Some(object(policies)),
        policy: Some("p".to_owned()),
        leader: Some("a".to_owned()),
        online: members.clone(),
        members,
        ..ManagedQueue::default()
    }
}

#[test]
fn arguments_and_policies_are_judged_as_rabbitmq_joins_them() {
    type Row<'a> = ((Queue, Arguments), &'a str, Value, Value, (u32, u32), &'a [&'a str]);
    let jobs = || plain(Queue::Jobs, 100);
    let dead = || plain(Queue::Dead, 1_000_000_000);
    let unset = Value::Null;
    let rows: Vec<Row<'_>> = vec![
        (retry(), "", unset.clone(), json!({}), (3, 10), &[]),
        (dead(), "x-delivery-limit", unset.clone(), json!({}), (3, 10), &[]),
        (dead(), "x-delivery-limit", unset.clone(), json!({}), (4, 0), &["delivery-limit-wears-out"]),
        (dead(), "x-delivery-limit", unset.clone(), json!({"delivery-limit": 2_000_000}), (4, 0), &[]),
        (dead(), "x-delivery-limit", json!(-1), json!({}), (3, 13), &["delivery-limit-destroys"]),
        (dead(), "x-delivery-limit", json!(-1), json!({}), (4, 3), &[]),
        // A policy can't raise a lower argument, and lowers a higher one.
        (
            dead(),
            "x-delivery-limit",
            json!(20),
            json!({"delivery-limit": 2_000_000}),
            (4, 0),
            &["delivery-limit-wears-out"],
        ),
        // To RabbitMQ 4 none is less than any limit, whichever of the two says it.
        (dead(), "x-delivery-limit", json!(20), json!({"delivery-limit": -1}), (4, 1), &["delivery-limit-wears-out"]),
        (dead(), "x-delivery-limit", json!(-1), json!({"delivery-limit": 20}), (4, 1), &["delivery-limit-wears-out"]),
        (dead(), "x-delivery-limit", json!(-1), json!({"delivery-limit": -1}), (4, 1), &[]),
        (dead(), "x-delivery-limit", unset.clone(), json!({"delivery-limit": -1}), (4, 1), &[]),
        (dead(), "", unset.clone(), json!({"delivery-limit": -1}), (3, 13), &["delivery-limit-destroys"]),
        (jobs(), "", unset.clone(), json!({"delivery-limit": 50}), (3, 10), &["jobs-delivery-limit-low"]),
        (jobs(), "", unset.clone(), json!({"delivery-limit": 51}), (3, 10), &[]),
        (jobs(), "", unset.clone(), json!({"consumer-timeout": 60_000}), (3, 12), &["consumer-timeout-too-short"]),
        (jobs(), "x-consumer-timeout", json!(3_600_000), json!({}), (3, 12), &[]),
        (jobs(), "x-single-active-consumer", json!(true), json!({}), (3, 10), &["single-active-consumer"]),
        (retry(), "x-overflow", unset.clone(), json!({"overflow": "reject-publish"}), (3, 10), &[]),
        (retry(), "x-overflow", unset.clone(), json!({"max-length": 9}), (3, 10), &["overflow-drops"]),
        (retry(), "", unset.clone(), json!({"overflow": "drop-head"}), (3, 10), &["overflow-drops"]),
        (retry(), "", unset.clone(), json!({"dead-letter-strategy": "at-most-once"}), (3, 10), &[]),
        (retry(), "", unset.clone(), json!({"max-length": 9}), (3, 10), &["length-limit-blocks"]),
        (retry(), "", unset.clone(), json!({"message-ttl": 9}), (3, 10), &["retry-delay-differs"]),
        (retry(), "", unset.clone(), json!({"message-ttl": 20_000}), (3, 10), &[]),
        (retry(), "x-message-ttl", unset.clone(), json!({}), (3, 10), &["retry-never-returns"]),
        (dead(), "", unset.clone(), json!({"max-length": 9}), (3, 10), &["length-limit-drops"]),
        (
            dead(),
            "",
            unset.clone(),
            json!({"max-length": 9, "overflow": "reject-publish"}),
            (3, 10),
            &["length-limit-blocks"],
        ),
        (dead(), "", unset, json!({"expires": 9, "message-ttl": 9}), (3, 10), &["messages-expire", "queue-expires"]),
    ];
    for (queue, argument, value, policies, version, expected) in rows {
        let mut arguments = queue.1.clone();
        match value {
            Value::Null => drop(arguments.remove(argument)),
            value => drop(arguments.insert(argument.to_owned(), value)),
        }
        let name = format!("{} {argument} {policies} {version:?}", queue.0.name());
        let managed = managed(arguments, policies);
        assert_eq!(judged(queue, Standing::AsWanted, Some(&managed), Some(version)), expected, "{name}");
    }
}

#[test]
fn of_a_server_whose_version_nobody_knows_a_limit_is_read_as_the_worst_of_them_would() {
    let limited = |limit: Value| {
        let mut arguments = object(json!({"x-queue-type": "quorum"}));
        if !limit.is_null() {
            arguments.insert("x-delivery-limit".to_owned(), limit);
        }
        judged(plain(Queue::Dead, 1_000_000_000), Standing::AsWanted, Some(&managed(arguments, json!({}))), None)
    };
    assert_eq!(limited(Value::Null), ["delivery-limit-wears-out"]);
    assert_eq!(limited(json!(-1)), ["delivery-limit-destroys"]);
    assert!(limited(json!(1_000_000_000)).is_empty());
}

#[test]
fn the_one_difference_that_a_declaration_is_told_of_is_judged_alike() {
    let differs = |argument: Option<&str>, current| {
        let (argument, words) = (argument.map(str::to_owned), "PRECONDITION_FAILED".to_owned());
        Standing::Differs(Difference { argument, current, words })
    };
    let cases = [
        (differs(Some("x-overflow"), None), "overflow-drops"),
        (differs(Some("x-delivery-limit"), Some(json!(20))), "delivery-limit-wears-out"),
        (differs(Some("x-queue-type"), Some(json!("classic"))), "retry-queue-classic"),
        (differs(Some("durable"), Some(json!("false"))), "queue-not-durable"),
        (differs(Some("x-queue-mode"), Some(json!("lazy"))), "queue-differs"),
        (differs(None, None), "queue-differs"),
    ];
    for (standing, code) in cases {
        assert_eq!(judged(retry(), standing.clone(), None, Some((3, 10))), [code], "{standing:?}");
    }
    for silent in [Standing::Untold, Standing::Missing] {
        assert!(judged(retry(), silent, None, Some((3, 10))).is_empty());
    }
}

#[test]
fn a_queue_that_could_not_outlive_a_node_is_told() {
    let (queue, arguments) = plain(Queue::Dead, 1_000_000_000);
    let whole = managed(arguments.clone(), json!({}));
    let cases = [
        (ManagedQueue { leader: None, online: Vec::new(), ..whole.clone() }, vec!["queue-without-leader"]),
        (ManagedQueue { online: vec!["a".to_owned()], ..whole.clone() }, vec!["queue-member-offline"]),
        (
            ManagedQueue { members: vec!["a".to_owned()], online: vec!["a".to_owned()], ..whole.clone() },
            vec!["queue-not-replicated"],
        ),
        (whole, vec![]),
    ];
    for (managed, codes) in cases {
        let queue = (queue.clone(), arguments.clone());
        assert_eq!(judged(queue, Standing::AsWanted, Some(&managed), Some((4, 0))), codes, "{managed:?}");
    }
}
