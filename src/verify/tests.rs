//! The judgement, case by case: facts in, findings out.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::contract::{
    Counts, InstanceId, InstanceResult, Job, JobId, JobResult, Message, Outcome, Properties, Status, header, result_id,
};

const BODY: &[u8] = br#"{"JobId":"a","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]}"#;

type Fact = Box<dyn Fn(&mut Books)>;

fn result_of(body: &[u8], replay: u32, status: Status, outcomes: &[(&str, Outcome)]) -> JobResult {
    let job = Job::parse(body, None).map_or_else(|_| JobId::of_body(body), |job| job.id);
    let instance = |(id, outcome): &(&str, Outcome)| InstanceResult {
        instance_id: InstanceId::new(id).unwrap(),
        outcome: *outcome,
        code: None,
        message: None,
        request_id: None,
        presumed: false,
    };
    JobResult {
        result_id: result_id(&job, body, replay),
        job_id: job,
        status,
        counts: Counts::default(),
        instances: outcomes.iter().map(instance).collect(),
        attempts: 1,
        received_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        worker: "w".to_owned(),
        labels: BTreeMap::new(),
    }
}

fn result(outcomes: &[(&str, Outcome)]) -> JobResult {
    result_of(BODY, 0, Status::Partial, outcomes)
}

fn dead_letter(ids: &[&str]) -> Message {
    let ids: Vec<_> = ids.iter().map(|id| InstanceId::new(id).unwrap()).collect();
    let body = Job::parse(BODY, None).unwrap().narrowed(&ids, &[]);
    Message { body, properties: Properties { message_id: Some("a".to_owned()), ..Properties::default() } }
}

fn call(number: u64, product: &str, ids: &[&str], released: &[&str]) -> Call {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let group = [Some(product.to_owned()), Some("PayAsYouGo".to_owned()), None, None, None];
    Call { number, group, instance_ids: owned(ids), released: owned(released) }
}

/// What is wrong in the books of the job `BODY` with these facts besides.
fn findings(facts: impl FnOnce(&mut Books)) -> Vec<String> {
    let mut books = Books::default();
    books.job(BODY, None);
    facts(&mut books);
    let report = books.judged();
    assert_eq!(report.summary.missing + report.summary.wrong, report.findings.len() as u64);
    let mut found: Vec<_> = report.findings.iter().map(ToString::to_string).collect();
    found.sort();
    found
}

#[test]
fn what_went_well_is_found_to_be_well() {
    use Outcome::*;
    assert!(
        findings(|books| {
            books.result(result(&[("i-1", Released), ("i-2", AlreadyGone)]));
            books.call(call(0, "ecs", &["i-1", "i-2"], &["i-1"]));
            let open = books.gone_without_a_call();
            assert_eq!(open.iter().map(InstanceId::as_str).collect::<Vec<_>>(), ["i-2"]);
            open.into_iter().for_each(|id| books.never_there(id));
        })
        .is_empty()
    );
    // Given up on and kept, whatever became of it.
    for released in [&[][..], &["i-2"]] {
        assert!(
            findings(|books| {
                books.dead_letter(&dead_letter(&["i-2"]));
                books.result(result(&[("i-1", Refused), ("i-2", Unresolved)]));
                books.call(call(0, "ecs", &["i-2"], released));
            })
            .is_empty()
        );
    }
}

#[test]
fn what_is_lost_is_told() {
    use Outcome::*;
    assert_eq!(findings(|_| ()), ["job a has no result (0 of its 2 ids are in dead letters)"]);
    assert_eq!(
        findings(|books| books.dead_letter(&dead_letter(&["i-1", "i-2"]))),
        ["job a has no result (2 of its 2 ids are in dead letters)"]
    );
    assert_eq!(
        findings(|books| books.result(result(&[("i-1", Released)]))),
        ["a result of job a lists other ids than the job"]
    );
    assert_eq!(
        findings(|books| {
            books.dead_letter(&dead_letter(&["i-2"]));
            books.result(result(&[("i-1", Rejected), ("i-2", Rejected)]));
        }),
        ["i-1 of job a is Rejected, and in no dead letter"]
    );
    assert_eq!(
        findings(|books| books.result(result_of(BODY, 0, Status::Invalid, &[("i-1", Refused), ("i-2", Refused)]))),
        ["i-1 of job a is Refused, and in no dead letter", "i-2 of job a is Refused, and in no dead letter"]
    );
}

#[test]
fn results_that_the_ledger_contradicts_are_told() {
    use Outcome::*;
    assert_eq!(
        findings(|books| {
            books.result(result(&[("i-1", Released), ("i-2", Refused)]));
            books.call(call(7, "ecs", &["i-1", "i-2"], &["i-2"]));
        }),
        [
            "i-1 is Released by its results, and still there by the ledger",
            "i-2 was released by call 7, and by its results is Refused"
        ]
    );
}

#[test]
fn calls_that_nobody_should_make_are_told() {
    let many: Vec<String> = (0..101).map(|number| format!("i-{number}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let done = || result(&[("i-1", Outcome::Released), ("i-2", Outcome::Released)]);
    assert_eq!(
        findings(|books| {
            books.result(done());
            books.call(call(1, "ecs", &["i-1"], &["i-1"]));
            books.call(call(2, "rds", &["i-2"], &["i-2"]));
            books.call(call(3, "ecs", &["i-3", "i-3"], &["i-3"]));
            books.call(call(4, "ecs", &many, &[]));
        }),
        [
            "call 2 named 1 ids of another group, i-2 first",
            "call 3 named 2 ids that no job asked for, i-3 first",
            "call 3 named an id twice",
            "call 4 named 101 ids",
            "call 4 named 99 ids that no job asked for, i-0 first",
            "i-3 was released by call 3, and by its results is not mentioned",
            "i-3 was released by call 3, and no job asked for it",
        ]
    );
}

#[test]
fn a_dry_run_asks_for_no_call() {
    let body =
        br#"{"JobId":"d","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-9"],"DryRun":true}"#;
    let mut books = Books::default();
    books.job(body, None);
    books.result(result_of(body, 0, Status::DryRun, &[("i-9", Outcome::DryRun)]));
    books.call(call(0, "ecs", &["i-9"], &["i-9"]));
    let report = books.judged();
    assert!(report.findings.iter().any(|found| matches!(found, Finding::ReleasedUnasked { .. })), "{report:?}");
}

#[test]
fn a_repeat_is_no_replay_and_a_replay_no_repeat_in_whatever_order_they_come() {
    use Outcome::*;
    let letter = dead_letter(&["i-2"]);
    let replayed = result_of(&letter.body, 1, Status::Released, &[("i-2", Released)]);
    let mut again = letter.clone();
    again.properties.headers.insert(header::REPLAY.to_owned(), "1".to_owned());
    let twice_replayed = result_of(&letter.body, 2, Status::Released, &[("i-2", Released)]);
    let first = result(&[("i-1", Released), ("i-2", Rejected)]);
    let mut facts: Vec<Fact> = vec![
        Box::new(move |books| books.result(replayed.clone())),
        Box::new(move |books| books.result(twice_replayed.clone())),
        Box::new(move |books| books.result(first.clone())),
        Box::new(move |books| books.dead_letter(&again)),
        Box::new(move |books| books.dead_letter(&letter)),
    ];
    let second = result(&[("i-1", Released), ("i-2", Rejected)]);
    facts.push(Box::new(move |books| books.result(second.clone())));
    for _ in 0..facts.len() {
        facts.rotate_left(1);
        let mut books = Books::default();
        books.job(BODY, None);
        facts.iter().for_each(|fact| fact(&mut books));
        let report = books.judged();
        assert!(report.findings.is_empty(), "{report:?}");
        let Summary { results, repeats, replays, namesakes, .. } = report.summary;
        assert_eq!((results, repeats, replays, namesakes), (2, 1, 2, 0));
        assert_eq!(report.summary.ended, BTreeMap::from([(Ended::Released, 2)]));
    }
}

#[test]
fn a_body_that_is_no_job_ends_in_a_dead_letter_and_nowhere_else() {
    let mut books = Books::default();
    books.job(b"nonsense", Some("n"));
    books.job(b"more of it", None);
    books.dead_letter(&Message { body: b"nonsense".to_vec(), properties: Properties::default() });
    books.dead_letter(&Message { body: b"of somebody else".to_vec(), properties: Properties::default() });
    let report = books.judged();
    assert!(matches!(&report.findings[..], [Finding::Vanished { .. }]), "{report:?}");
    assert_eq!((report.summary.jobs, report.summary.dead_letters, report.summary.others), (2, 2, 1));
}

#[test]
fn the_same_message_sent_twice_may_have_two_results() {
    let mut books = Books::default();
    for _ in 0..2 {
        books.job(BODY, None);
        books.result(result(&[("i-1", Outcome::Released), ("i-2", Outcome::Released)]));
    }
    let report = books.judged();
    assert_eq!((report.summary.jobs, report.summary.repeats, report.findings.len()), (1, 0, 0));
}

#[test]
fn without_jobs_results_and_ledger_are_held_against_each_other() {
    let mut books = Books::default();
    books.result(result(&[("i-1", Outcome::Released), ("i-2", Outcome::Released)]));
    books.call(call(0, "ecs", &["i-1", "i-3"], &["i-1", "i-3"]));
    let mut found: Vec<_> = books.judged().findings.iter().map(ToString::to_string).collect();
    found.sort();
    assert_eq!(
        found,
        [
            "i-2 is Released by its results, and still there by the ledger",
            "i-3 was released by call 0, and by its results is not mentioned"
        ]
    );
}
