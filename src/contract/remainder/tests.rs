//! What a remainder says and how much of it, and what is no remainder.

use super::*;
use crate::contract::InstanceId;

fn remainder(places: Vec<Place>) -> Remainder {
    let ids = (0..places.len()).map(|n| InstanceId::new(format!("{n:0>128}")).unwrap()).collect();
    let body = br#"{"JobId":"j","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"],
        "NotAfter":"2030-01-01T00:00:00Z","Labels":{"team":"x"}}"#;
    Remainder {
        job: Job { ids, ..Job::parse(body, None).unwrap() },
        result_id: Uuid::from_u128(7),
        received_at: Timestamp::UNIX_EPOCH,
        postponed_at: Timestamp::from_second(60).unwrap(),
        parked: true,
        calls: 4,
        first_failure: Some(Timestamp::from_second(30).unwrap()),
        places,
    }
}

fn outcome(outcome: Outcome, code: &str, message: &str, request_id: &str) -> Place {
    let evidence = Evidence {
        class: Some(Class::Instance),
        code: Some(code.to_owned()),
        message: Some(message.to_owned()),
        request_id: Some(request_id.to_owned()),
    };
    Place::Settled(InstanceOutcome::new(outcome, false, &Arc::new(evidence)))
}

fn failed(attempts: u32, doubt: Doubt) -> Place {
    Place::Open(Open { doubt, attempts, age: (attempts > 0).then_some(Duration::from_millis(1500)) })
}

#[test]
fn a_remainder_survives_being_written_and_read_again() {
    let presumed = Place::Settled(InstanceOutcome {
        presumed: true,
        ..InstanceOutcome::new(Outcome::Released, false, &Arc::new(Evidence::default()))
    });
    let whole = remainder(vec![
        failed(3, Doubt::Unknown),
        outcome(Outcome::Rejected, "InvalidOwner", "not yours", "A"),
        failed(0, Doubt::None),
        outcome(Outcome::Rejected, "InvalidOwner", "not yours", "A"),
        presumed,
        failed(0, Doubt::Refused),
    ]);
    let again = Remainder::parse(&whole.clone().into_body()).unwrap();
    assert_eq!(format!("{whole:?}"), format!("{again:?}"));
}

#[test]
fn ids_that_share_an_outcome_share_an_entry() {
    let released = || outcome(Outcome::Released, "Success", "done", "A");
    let body = remainder(vec![released(), released(), failed(0, Doubt::None), released()]).into_body();
    let text = String::from_utf8(body).unwrap();
    assert!(text.contains(r#""Settled":[{"Outcome":"Released""#) && text.contains(r#""Places":[0,1,3]}]"#), "{text}");
    assert!(text.contains(r#""Open":[{"Attempts":0,"Places":[2]}]"#), "{text}");
}

#[test]
fn the_remainder_of_the_largest_job_fits_into_one_message() {
    for code in ["InvalidOwner".to_owned(), "\u{1}".repeat(128)] {
        let places = (0..50_000).map(|n| match n {
            0 => failed(3, Doubt::Unknown),
            n => outcome(Outcome::Unresolved, &format!("{n}{code}"), &"m".repeat(1000), &format!("{n:0>64}")),
        });
        let body = remainder(places.collect()).into_body();
        assert!(body.len() <= MAX_BODY_BYTES, "{} bytes", body.len());
        let read = Remainder::parse(&body).unwrap();
        assert!(read.places.len() == 50_000 && matches!(&read.places[7], Place::Settled(_)));
    }
    let every_other = (0..50_000).map(|n| failed(n % 1000, Doubt::Unknown)).collect();
    assert!(remainder(every_other).into_body().len() <= MAX_BODY_BYTES);
}

#[test]
fn a_malformed_remainder_is_refused_with_the_field() {
    let job = r#"{"JobId":"j","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]}"#;
    let with = |job: &str, settled: &str, open: &str, more: &str| {
        format!(
            r#"{{"Job":{job},"ResultId":"00000000-0000-0000-0000-000000000007","ReceivedAt":"2026-01-01T00:00:00Z",
            "PostponedAt":"2026-01-01T00:01:00Z","Parked":false,"Calls":1,"Settled":{settled},"Open":{open}{more}}}"#
        )
    };
    let released = r#"[{"Outcome":"Released","Places":[0]}]"#;
    let open = r#"[{"Attempts":0,"Places":[1]}]"#;
    assert!(Remainder::parse(with(job, released, open, "").as_bytes()).is_ok());
    let cases = [
        (String::new(), "empty"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "missing field `Job`"),
        (job.to_owned(), "unknown field `JobId`"),
        (with(job, released, open, r#","Extra":1"#), "unknown field `Extra`"),
        (with(job, released, open, r#","FirstFailure":"now""#), "FirstFailure: "),
        (with(r#"{"ProductCode":"ecs"}"#, released, open, ""), "Job.InstanceIds: is missing"),
        (with(&job.replace(r#""JobId":"j","#, ""), released, open, ""), "Job.JobId: is missing"),
        (with(&job.replace(r#""i-2""#, r#""i-1""#), released, open, ""), "Job.InstanceIds[1]: "),
        (with(&job.replace('}', r#","SuspectIds":["i-1"]}"#), released, open, ""), "Job.SuspectIds: "),
        (with(&job.replace("ecs", "e s"), released, open, ""), "Job.ProductCode: "),
        (with(job, r#"[{"Outcome":"Done","Places":[0]}]"#, open, ""), "Settled[0].Outcome: "),
        (with(job, r#"[{"Outcome":"Released","Places":[0],"X":1}]"#, open, ""), "unknown field `X`"),
        (with(job, r#"[{"Outcome":"Rejected","Presumed":true,"Places":[0]}]"#, open, ""), "Settled[0]: Presumed"),
        (with(job, r#"[{"Outcome":"Released","Places":[]}]"#, open, ""), "Settled[0].Places: is empty"),
        (with(job, r#"[{"Outcome":"Released","Places":[-1]}]"#, open, ""), "Settled[0].Places[0]: "),
        (with(job, "[]", open, ""), "place 0 stands neither here nor in Open"),
        (with(job, released, "[]", ""), "place 1 stands neither here nor in Open"),
        (with(job, released, r#"[{"Attempts":0,"Places":[2]}]"#, ""), "Open[0].Places: 2 is no place"),
        (with(job, released, r#"[{"Attempts":0,"Places":[0,1]}]"#, ""), "place 0 stands in the remainder twice"),
        (with(job, released, r#"[{"Attempts":0,"Places":[1,1]}]"#, ""), "place 1 stands in the remainder twice"),
        (with(job, released, r#"[{"Attempts":0,"Age":"PT1S","Places":[1]}]"#, ""), "Open[0]: Age"),
        (with(job, released, r#"[{"Attempts":1,"Age":"-PT1S","Places":[1]}]"#, ""), "Open[0]: Age is below zero"),
        (with(job, released, r#"[{"Attempts":1,"Doubt":"Some","Places":[1]}]"#, ""), "Open[0].Doubt: "),
        (with(job, r#"[{"Outcome":"Released","Places":[0,1]}]"#, "[]", ""), "Open: lists no place"),
    ];
    for (body, expected) in cases {
        let error = Remainder::parse(body.as_bytes()).expect_err(&body).to_string();
        assert!(error.contains(expected), "{body}: {error}");
        assert!(error.len() < 1000, "{body:.80}: {} bytes of error", error.len());
    }
}

#[test]
fn a_remainder_of_more_ids_than_any_job_may_have_is_refused() {
    let id = |number: usize| InstanceId::new(format!("i-{number}")).unwrap();
    for (ids, taken) in [(MAX_IDS_PER_JOB, true), (MAX_IDS_PER_JOB + 1, false)] {
        let job = Job::parse(
            br#"{"JobId":"j","ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#,
            None,
        );
        let remainder = Remainder {
            job: Job { ids: (0..ids).map(id).collect(), ..job.unwrap() },
            result_id: Uuid::nil(),
            received_at: Timestamp::UNIX_EPOCH,
            postponed_at: Timestamp::UNIX_EPOCH,
            parked: true,
            calls: 0,
            first_failure: None,
            places: vec![Place::default(); ids],
        };
        let read = Remainder::parse(&remainder.into_body());
        assert_eq!(read.is_ok(), taken, "{ids} ids");
        if let Err(error) = read {
            assert!(error.to_string().starts_with("Job.InstanceIds: holds 50001 ids"), "{error}");
        }
    }
}
