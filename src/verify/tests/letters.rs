//! Dead letters: whose they are, and what comes of a replay.

use super::*;

/// A letter that came, and whether it waits still: without that nothing is known of replays.
fn left_its_queue(books: &mut Books, letter: &Message, waits: bool) {
    books.dead_letter(letter);
    if waits {
        books.waits(letter);
    }
    books.no_other_waits();
}

#[test]
fn a_letter_that_left_and_was_never_answered_is_told() {
    use Outcome::*;
    let letter = dead_letter(&["i-2"]);
    let given_up = || result(&[("i-1", Released), ("i-2", Rejected)]);
    let with = |waits: bool, answer: Option<JobResult>| {
        findings(|books| {
            books.result(given_up());
            answer.into_iter().for_each(|answer| books.result(answer));
            left_its_queue(books, &letter, waits);
        })
    };
    assert_eq!(
        with(false, None),
        ["a dead letter of job a with 1 ids is gone from its queue and the archive, and its replay 1 has no result"]
    );
    assert_eq!(with(true, None), [""; 0]);
    assert_eq!(with(false, Some(result_of(&letter.body, 1, &[("i-2", Released)]))), [""; 0]);
    // For another account: the body is another, and so is the result's id.
    let elsewhere = String::from_utf8(letter.body.clone()).unwrap().replace(r#""default""#, r#""other""#).into_bytes();
    assert_eq!(with(false, Some(result_of(&elsewhere, 1, &[("i-2", Released)]))), [""; 0]);
    // Where others hold letters nobody knows.
    assert_eq!(
        findings(|books| {
            books.result(given_up());
            books.dead_letter(&letter);
        }),
        [""; 0]
    );
}

#[test]
fn an_id_that_is_lost_with_its_letter_is_missing() {
    let mut books = Books::default();
    books.job(BODY, None);
    books.result(result(&[("i-1", Outcome::Released), ("i-2", Outcome::Rejected)]));
    left_its_queue(&mut books, &dead_letter(&["i-2"]), false);
    let report = books.judged();
    assert_eq!(report.summary.ended, BTreeMap::from([(Ended::Released, 1), (Ended::Missing, 1)]));
    assert!(!report.jobs[0].instances[1].in_dead_letters);
}

#[test]
fn a_replays_result_lists_the_letters_ids_and_what_it_gives_up_is_a_letter_again() {
    use Outcome::*;
    let letter = dead_letter(&["i-1", "i-2"]);
    let with = |replayed: &[(&str, Outcome)], again: bool| {
        findings(|books| {
            books.result(result(&[("i-1", Rejected), ("i-2", Rejected)]));
            books.dead_letter(&letter);
            books.result(result_of(&letter.body, 1, replayed));
            if again {
                let mut again = letter.clone();
                again.properties.headers.insert(header::REPLAY.to_owned(), "1".to_owned());
                books.dead_letter(&again);
            }
        })
    };
    assert_eq!(
        with(&[("i-1", Released)], false),
        ["the result of replay 1 of job a lists other ids than the dead letter"]
    );
    assert_eq!(
        with(&[("i-1", Released), ("i-2", Rejected)], false),
        ["i-2 of job a is Rejected, and in no dead letter"]
    );
    assert_eq!(with(&[("i-1", Released), ("i-2", Rejected)], true), [""; 0]);
}

#[test]
fn a_letter_that_was_imported_is_the_one_that_it_was() {
    use Outcome::*;
    const IMPORTED: u32 = 1_700_000_000;
    let letter = dead_letter(&["i-2"]);
    let numbered = |number: u32| {
        let mut letter = letter.clone();
        letter.properties.headers.insert(header::REPLAY.to_owned(), number.to_string());
        letter
    };
    let report = |facts: &dyn Fn(&mut Books)| {
        let mut books = Books::default();
        books.job(BODY, None);
        books.result(result(&[("i-1", Released), ("i-2", Rejected)]));
        books.dead_letter(&letter);
        facts(&mut books);
        books.no_other_waits();
        books.judged()
    };
    // It waits, as if it had never left.
    let waits = report(&|books| books.waits(&numbered(IMPORTED)));
    assert_eq!((waits.findings.len(), waits.summary.ended[&Ended::DeadLetter]), (0, 1), "{waits:?}");
    // It was replayed, and released.
    let released = report(&|books| books.result(result_of(&letter.body, IMPORTED + 1, &[("i-2", Released)])));
    assert!(released.findings.is_empty(), "{released:?}");
    assert_eq!(
        (released.summary.replays, released.summary.namesakes, released.summary.ended[&Ended::Released]),
        (1, 0, 2)
    );
    // It was replayed, and died again.
    let again = report(&|books| {
        books.result(result_of(&letter.body, IMPORTED + 1, &[("i-2", Rejected)]));
        books.dead_letter(&numbered(IMPORTED + 1));
        books.waits(&numbered(IMPORTED + 1));
    });
    assert_eq!((again.findings.len(), again.summary.ended[&Ended::DeadLetter]), (0, 1), "{again:?}");
    // Another one of the job that waits says nothing of it.
    let other = report(&|books| books.waits(&dead_letter(&["i-1"])));
    assert!(matches!(&other.findings[..], [Finding::ReplayUnanswered { .. }]), "{other:?}");
}

#[test]
fn a_repeat_is_no_replay_and_a_replay_no_repeat_in_whatever_order_they_come() {
    use Outcome::*;
    let letter = dead_letter(&["i-2"]);
    let replayed = result_of(&letter.body, 1, &[("i-2", Released)]);
    let mut again = letter.clone();
    again.properties.headers.insert(header::REPLAY.to_owned(), "1".to_owned());
    let twice_replayed = result_of(&letter.body, 2, &[("i-2", Released)]);
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
fn jobs_of_one_name_are_told_apart_by_what_they_ask_for() {
    use Outcome::*;
    let other = br#"{"JobId":"a","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"],"Account":"b"}"#;
    let given_up = &[("i-1", Released), ("i-2", Rejected)];
    let both = |books: &mut Books| {
        books.job(other, None);
        books.result(result(given_up));
        books.result(result_of(other, 0, given_up));
    };
    let one = ["i-2 of job a is Rejected, and in no dead letter"];
    assert_eq!(findings(both), [one[0], one[0]]);
    // The letter of one is not the other's.
    assert_eq!(
        findings(|books| {
            both(books);
            books.dead_letter(&dead_letter(&["i-2"]));
        }),
        one
    );
    // A result of a third one says nothing of them.
    let mut books = Books::default();
    books.job(BODY, None);
    books.result(result_of(other, 0, given_up));
    let report = books.judged();
    assert_eq!(report.summary.namesakes, 1);
    assert_eq!(report.summary.ended, BTreeMap::from([(Ended::Missing, 2)]));
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
fn a_body_in_parts_is_kept_when_every_part_is() {
    let body = vec![b'x'; 31 * 1024 * 1024];
    let letter = DeadLetter::malformed(body.clone());
    let parts = letter.into_messages(&Properties { message_id: Some("large".to_owned()), ..Properties::default() });
    assert_eq!(parts.len(), 3);
    let mut books = Books::default();
    books.job(&body, Some("large"));
    books.dead_letter(&parts[0]);
    books.dead_letter(&parts[0]);
    books.dead_letter(&parts[2]);
    let vanished = books.garbage.vanished().map(|found| found.to_string()).collect::<Vec<_>>();
    assert_eq!(vanished, ["the message large is no job and was sent 1 times, and 0 dead letters keep it"]);
    books.dead_letter(&parts[1]);
    let report = books.judged();
    assert!(report.findings.is_empty() && report.summary.others == 0, "{report:?}");
}
