//! Results and jobs against what was called.

use super::*;

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
    books.result(result_of(body, 0, &[("i-9", Outcome::DryRun)]));
    books.call(call(0, "ecs", &["i-9"], &["i-9"]));
    let report = books.judged();
    assert!(report.findings.iter().any(|found| matches!(found, Finding::ReleasedUnasked { .. })), "{report:?}");
}

#[test]
fn calls_stay_within_one_account() {
    let other = br#"{"JobId":"b","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-3","i-4"],"Account":"b"}"#;
    let with = |calls: &[(&str, &[&str])]| {
        findings(|books| {
            books.job(other, None);
            books.result(result(&[("i-1", Outcome::Rejected), ("i-2", Outcome::Rejected)]));
            books.result(result_of(other, 0, &[("i-3", Outcome::Rejected), ("i-4", Outcome::Rejected)]));
            books.dead_letter(&dead_letter(&["i-1", "i-2"]));
            let body = other.to_vec();
            books.dead_letter(&Message { body, properties: Properties::default() });
            for (number, (caller, ids)) in (0..).zip(calls) {
                books.call(Call { caller: (*caller).to_owned(), ..call(number, "ecs", ids, &[]) });
            }
        })
    };
    assert_eq!(with(&[("main", &["i-1", "i-2"]), ("second", &["i-3", "i-4"])]), [""; 0]);
    // Two of ours may be one of the API's.
    assert_eq!(with(&[("main", &["i-1", "i-2"]), ("main", &["i-3"])]), [""; 0]);
    assert_eq!(with(&[("main", &["i-1", "i-3"])]), ["call 0 named 2 ids of several accounts, i-1 first"]);
    assert_eq!(
        with(&[("main", &["i-1"]), ("second", &["i-2"]), ("second", &["i-3"])]),
        ["second called for account default with 1 ids, i-2 first, and otherwise main did"]
    );
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
