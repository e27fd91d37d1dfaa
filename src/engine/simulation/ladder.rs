//! Postponement, step by step: when a job leaves, with what, and how it goes on.

use super::*;
use crate::contract::{Doubt, Evidence, Open};

fn down() -> Verdict {
    Verdict::Transient(Evidence::own("ServiceUnavailable", "later"))
}

/// Calls what is due until the job is let go of, each call answered with the same verdict; when that was.
fn fail_until_let_go(engine: &mut Engine, verdict: &Verdict, mut now: Moment) -> (u32, Moment) {
    let mut calls = 0;
    for _ in 0..1000 {
        engine.advance(now);
        if engine.pending_jobs() == 0 {
            return (calls, now);
        }
        match engine.seal(now) {
            Some(call) => {
                calls += 1;
                engine.verdict(call.key, verdict, now);
            }
            None => now = engine.wakes_at(now).expect("something is waited for"),
        }
    }
    panic!("no end");
}

fn open(job: &PostponedJob) -> Vec<Open> {
    job.places.iter().filter_map(|(_, place)| place.open().copied()).collect()
}

#[test]
fn a_batch_that_fails_is_postponed_again_and_again_and_given_up_on_after_all_its_attempts() {
    let mut engine = engine(EngineSettings { attempts_in_process: 3, max_attempts: 8, ..settings() });
    let mut job = fresh("ecs", (0..50).map(|n| format!("i{n}")));
    let (mut now, mut rounds) = (Duration::ZERO, Vec::new());
    loop {
        engine.admit(job, now);
        let (calls, then) = fail_until_let_go(&mut engine, &down(), now);
        now = then + Duration::from_secs(10);
        let Some(postponed) = engine.take_postponed().pop() else {
            rounds.push((calls, 8));
            break;
        };
        assert!(!postponed.parked && postponed.calls == calls);
        let open = open(&postponed);
        assert!(open.len() == 50 && open.iter().all(|one| *one == open[0]), "they suffered together: {open:?}");
        rounds.push((calls, open[0].attempts));
        job = NewJob { places: postponed.places, ..fresh("ecs", []) };
    }
    assert_eq!(rounds, [(3, 3), (3, 6), (2, 8)]);
    let finished = engine.take_finished();
    assert!(finished[0].outcomes.iter().all(|(_, o)| o.outcome == Outcome::Unresolved && !o.suspect));
    assert_eq!(finished[0].outcomes[0].1.evidence.code.as_deref(), Some("ServiceUnavailable"));
}

#[test]
fn an_id_is_given_up_on_when_it_has_failed_for_too_long() {
    let mut engine = engine(EngineSettings { max_age: Duration::from_secs(60), ..settings() });
    for (age, expected) in [(50, None), (61, Some(Outcome::Unresolved))] {
        let open = Open { doubt: Doubt::None, attempts: 4, age: Some(Duration::from_secs(age)) };
        let places = vec![(InstanceId::new(format!("i{age}")).unwrap(), Place::Open(open))];
        engine.admit(NewJob { places, ..fresh("ecs", []) }, Duration::ZERO);
        fail_until_let_go(&mut engine, &down(), Duration::ZERO);
        assert_eq!(engine.take_finished().first().map(|job| job.outcomes[0].1.outcome), expected, "age {age}");
    }
}

#[test]
fn a_job_whose_turn_never_comes_is_parked_and_loses_neither_attempts_nor_youth() {
    let mut engine = engine(settings());
    let waiting = Open { doubt: Doubt::Refused, attempts: 2, age: Some(Duration::from_secs(7)) };
    let settled = InstanceOutcome::new(Outcome::Released, false, &Evidence::own("Success", "done"));
    let ids = ["i1", "i2"].map(|id| InstanceId::new(id).unwrap());
    let places: Vec<_> = ids.into_iter().zip([Place::Open(waiting), Place::Settled(settled)]).collect();
    let job = NewJob { places: places.clone(), held_until: Some(Duration::from_secs(300)), ..fresh("ecs", []) };
    engine.admit(job, Duration::ZERO);
    assert_eq!(engine.wakes_at(Duration::from_secs(1)), Some(Duration::from_secs(300)));
    engine.advance(Duration::from_secs(300));
    let postponed = engine.take_postponed().pop().unwrap();
    assert!(postponed.parked);
    assert_eq!(postponed.places, places);
    assert!(engine.pending_ids() == 0 && engine.pending_jobs() == 0 && !engine.ready(Duration::from_secs(301)));
}

#[test]
fn a_job_held_too_long_waits_for_the_verdict_of_the_call_that_is_under_way() {
    let mut engine = engine(settings());
    engine
        .admit(NewJob { held_until: Some(Duration::from_secs(5)), ..fresh("ecs", ["i1".to_owned()]) }, Duration::ZERO);
    let call = engine.seal(Duration::ZERO).unwrap();
    engine.advance(Duration::from_secs(6));
    assert!(engine.take_postponed().is_empty());
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), Duration::from_secs(6));
    assert_eq!(engine.take_finished()[0].outcomes[0].1.outcome, Outcome::Released);
}

#[test]
fn a_job_that_leaves_takes_nothing_from_others_that_want_the_same_id() {
    let mut engine = engine(settings());
    let both = || fresh("ecs", ["i1".to_owned()]);
    engine.admit(NewJob { held_until: Some(Duration::from_secs(5)), ..both() }, Duration::ZERO);
    let patient = engine.admit(both(), Duration::ZERO);
    engine.advance(Duration::from_secs(5));
    assert_eq!(engine.take_postponed().len(), 1);
    let call = engine.seal(Duration::from_secs(5)).unwrap();
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), Duration::from_secs(6));
    let finished = engine.take_finished();
    assert_eq!((finished.len(), finished[0].key), (1, patient));
}

#[test]
fn a_worker_that_stops_tells_which_ids_its_calls_may_have_released() {
    let mut engine = engine(settings());
    let keys = [fresh("ecs", ["i1".to_owned()]), fresh("rds", ["i2".to_owned()])];
    let keys = keys.map(|job| engine.admit(job, Duration::ZERO));
    engine.seal(Duration::from_secs(1)).unwrap();
    engine.abandon(&keys, Duration::from_secs(2));
    let mut doubts: Vec<_> = engine.take_postponed().iter().map(|job| (job.key, open(job)[0].doubt)).collect();
    doubts.sort_by_key(|(key, _)| *key);
    assert_eq!(doubts, [(keys[0], Doubt::Unknown), (keys[1], Doubt::None)]);
}
