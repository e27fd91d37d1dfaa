//! The judgement, case by case: facts in, findings out.

mod ledger;
mod letters;

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::*;
use crate::contract::{
    Counts, DeadLetter, InstanceId, InstanceResult, Job, JobId, JobResult, Message, Outcome, Properties, Status,
    header, result_id,
};

const BODY: &[u8] = br#"{"JobId":"a","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]}"#;

type Fact = Box<dyn Fn(&mut Books)>;

fn result_of(body: &[u8], replay: u32, outcomes: &[(&str, Outcome)]) -> JobResult {
    let Job { id: job, dry_run, .. } = Job::parse(body, None).unwrap();
    let counts = Counts::of(outcomes.iter().map(|(_, outcome)| *outcome));
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
        status: counts.status(dry_run),
        counts,
        instances: outcomes.iter().map(instance).collect(),
        attempts: 1,
        received_at: Timestamp::UNIX_EPOCH,
        finished_at: Timestamp::UNIX_EPOCH,
        worker: "w".to_owned(),
        labels: BTreeMap::new(),
    }
}

fn result(outcomes: &[(&str, Outcome)]) -> JobResult {
    result_of(BODY, 0, outcomes)
}

fn dead_letter(ids: &[&str]) -> Message {
    let ids: Vec<_> = ids.iter().map(|id| InstanceId::new(id).unwrap()).collect();
    let body = Job::parse(BODY, None).unwrap().narrowed(&ids, &[]);
    Message { body, properties: Properties { message_id: Some("a".to_owned()), ..Properties::default() } }
}

fn call(number: u64, product: &str, ids: &[&str], released: &[&str]) -> Call {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
    let group = [Some(product.to_owned()), Some("PayAsYouGo".to_owned()), None, None, None];
    Call { number, caller: "main".to_owned(), group, instance_ids: owned(ids), released: owned(released) }
}

/// What is wrong in the books of the job `BODY` with these facts besides.
fn findings(facts: impl FnOnce(&mut Books)) -> Vec<String> {
    let mut books = Books::default();
    books.job(BODY, None);
    facts(&mut books);
    told(books)
}

/// What is found in these books, in words.
fn told(books: Books) -> Vec<String> {
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
        findings(|books| {
            let refused = result(&[("i-1", Refused), ("i-2", Refused)]);
            books.result(JobResult { status: Status::Invalid, ..refused });
        }),
        ["i-1 of job a is Refused, and in no dead letter", "i-2 of job a is Refused, and in no dead letter"]
    );
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
fn outcomes_against_the_jobs_own_wish_are_told() {
    use Outcome::*;
    let job = |more: &str| {
        format!(
            r#"{{"JobId":"a","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]{more}}}"#
        )
    };
    let cases: [(&str, [Outcome; 2], &[&str]); 9] = [
        ("", [DryRun, Released], &["job a is no dry run, and 1 of its ids are DryRun, i-1 first"]),
        ("", [Expired, Expired], &["job a has no NotAfter, and 2 of its ids are Expired, i-1 first"]),
        (r#","DryRun":false"#, [Released, Rejected], &["i-2 of job a is Rejected, and in no dead letter"]),
        (r#","DryRun":true"#, [DryRun, Refused], &[]),
        (r#","DryRun":true"#, [DryRun, Released], &["job a is a dry run, and 1 of its ids are Released, i-2 first"]),
        (r#","NotAfter":"1970-01-01T00:00:00Z""#, [Expired, Expired], &[]),
        (r#","NotAfter":"1969-12-31T00:00:00Z""#, [Released, Expired], &[]),
        (
            r#","NotAfter":"1970-01-01T00:00:01Z""#,
            [Expired, Released],
            &["job a may be done until 1970-01-01T00:00:01Z, and 1 of its ids are Expired, i-1 first"],
        ),
        (r#","NotAfter":"1970-01-01T00:00:01Z""#, [Released, Released], &[]),
    ];
    for (more, outcomes, found) in cases {
        let mut books = Books::default();
        let body = job(more);
        books.job(body.as_bytes(), None);
        books.result(result_of(body.as_bytes(), 0, &[("i-1", outcomes[0]), ("i-2", outcomes[1])]));
        assert_eq!(told(books), found, "{more} {outcomes:?}");
    }
}

#[test]
fn a_job_that_was_sent_twice_has_two_results_and_garbage_two_letters() {
    assert_eq!(
        findings(|books| {
            books.job(BODY, None);
            books.result(result(&[("i-1", Outcome::Released), ("i-2", Outcome::Released)]));
        }),
        ["job a was sent 2 times and has 1 results"]
    );
    let mut books = Books::default();
    books.job(b"nonsense", Some("n"));
    books.job(b"nonsense", Some("n"));
    books.dead_letter(&Message { body: b"nonsense".to_vec(), properties: Properties::default() });
    assert_eq!(told(books), ["the message n is no job and was sent 2 times, and 1 dead letters keep it"]);
}

#[test]
fn a_result_that_contradicts_itself_or_its_name_is_told() {
    use Outcome::*;
    let right = result(&[("i-1", Released), ("i-2", Refused)]);
    let result_id = right.result_id;
    let miscounted = JobResult { counts: Counts { released: 2, ..Counts::default() }, ..right.clone() };
    let misnamed = JobResult { job_id: JobId::new("b").unwrap(), ..right.clone() };
    let cases = [
        (miscounted, format!("a result of job a ({result_id}) counts other outcomes than it lists")),
        (misnamed, "a result of job a says that it is of job b".to_owned()),
        (
            JobResult { status: Status::Released, ..right.clone() },
            "a result of job a says Released, and its outcomes make it Partial".to_owned(),
        ),
        (
            JobResult { status: Status::Invalid, ..right },
            "a result of job a says Invalid, and its outcomes make it Partial".to_owned(),
        ),
    ];
    for (wrong, told) in cases {
        let found = findings(|books| books.result(wrong.clone()));
        assert!(found.contains(&told), "{found:?}");
    }
}
