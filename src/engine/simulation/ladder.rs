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

#[test]
fn a_search_that_no_delivery_has_time_for_ends_all_the_same() {
    let mut engine = engine(EngineSettings { attempts_in_process: 3, max_attempts: 20, ..settings() });
    let mut api = Api::new(true, Faults::NONE);
    let mut random = fastrand::Rng::with_seed(1);
    let (hold, step, minute) = (Duration::from_secs(300), Duration::from_secs(600), Duration::from_secs(60));
    let ids = (0..100).map(|n| if n == 0 { "f0".to_owned() } else { format!("i{n}") });
    let (mut job, mut now, mut deliveries) = (fresh("ecs", ids), Duration::ZERO, 0);
    let finished = loop {
        deliveries += 1;
        assert!(deliveries <= 20, "it goes round for ever");
        engine.admit(NewJob { held_until: Some(now + hold), ..job }, now);
        while engine.pending_jobs() > 0 {
            if let Some(call) = engine.seal(now) {
                engine.verdict(call.key, &api.call(&call.batch, &mut random, now), now);
            }
            now += minute;
            engine.advance(now);
        }
        let Some(postponed) = engine.take_postponed().pop() else { break engine.take_finished().remove(0) };
        assert!(!postponed.parked, "its calls were refused");
        let open = open(&postponed);
        assert!(open.iter().all(|one| one.attempts <= deliveries && one.age.is_some()), "{open:?}");
        job = NewJob { places: postponed.places, ..fresh("ecs", []) };
        now += step;
    };
    let given_up = finished.outcomes.iter().filter(|(_, o)| o.outcome == Outcome::Unresolved).count();
    println!("one call a minute, five minutes a delivery: {deliveries} deliveries, {given_up} of 100 given up on");
}

#[test]
fn searches_end_one_after_another_where_permits_are_too_few_for_all_that_waits() {
    let mut engine = engine(EngineSettings { attempts_in_process: 3, max_attempts: 8, ..settings() });
    let mut api = Api::new(true, Faults::NONE);
    let mut random = fastrand::Rng::with_seed(1);
    // A call a second, 60 of them in a delivery, for 40 batches that are each refused for one of their ids.
    let (hold, second) = (60, Duration::from_secs(1));
    let batch = |number: u32| {
        fresh("ecs", (0..100).map(|n| if n == 42 { format!("f{number}") } else { format!("i{number}-{n}") }))
    };
    let mut waiting: Vec<_> = (0..40).map(batch).collect();
    let (mut now, mut outcomes) = (Duration::ZERO, Vec::new());
    for _ in 0..20 {
        for job in waiting.drain(..) {
            engine.admit(NewJob { held_until: Some(now + second * hold), first_came: Duration::ZERO, ..job }, now);
        }
        for _ in 0..hold {
            if let Some(call) = engine.seal(now) {
                engine.verdict(call.key, &api.call(&call.batch, &mut random, now), now);
            }
            now += second;
            engine.advance(now);
        }
        outcomes.extend(engine.take_finished().into_iter().flat_map(|job| job.outcomes));
        waiting
            .extend(engine.take_postponed().into_iter().map(|job| NewJob { places: job.places, ..fresh("ecs", []) }));
    }
    let count = |wanted| outcomes.iter().filter(|(_, outcome)| outcome.outcome == wanted).count();
    assert_eq!((count(Outcome::Released), count(Outcome::Rejected), count(Outcome::Unresolved)), (40 * 99, 40, 0));
    println!("40 refused batches in deliveries of 60 calls: {} calls", api.calls);
}

#[test]
fn what_an_id_suffered_before_a_job_wanted_it_is_not_charged_to_the_job() {
    let mut engine = engine(EngineSettings { attempts_in_process: 9, ..settings() });
    let one = || fresh("ecs", ["i1".to_owned()]);
    let both = fresh("ecs", ["i1".to_owned(), "i2".to_owned()]);
    engine.admit(NewJob { held_until: Some(Duration::from_secs(1)), ..both }, Duration::ZERO);
    let fail = |engine: &mut Engine, now: Moment| {
        engine.advance(now);
        let call = engine.seal(now).unwrap();
        engine.verdict(call.key, &down(), now);
    };
    fail(&mut engine, Duration::ZERO);
    fail(&mut engine, Duration::from_millis(500));
    engine.admit(NewJob { held_until: Some(Duration::from_secs(5)), ..one() }, Duration::from_millis(600));
    fail(&mut engine, Duration::from_millis(900));
    engine.advance(Duration::from_secs(1));
    engine.advance(Duration::from_secs(5));
    let attempts: Vec<_> = engine.take_postponed().iter().map(|job| open(job)[0].attempts).collect();
    assert_eq!(attempts, [3, 1]);
}

#[test]
fn a_suspect_that_is_protected_by_now_is_not_called_refused() {
    let told = Open { doubt: Doubt::Refused, ..Open::default() };
    let protected = || InstanceId::new("p1").unwrap();
    let cases = [
        (Place::default(), false, Outcome::Refused),
        (Place::default(), true, Outcome::Unresolved),
        (Place::Open(told), false, Outcome::Unresolved),
    ];
    for (place, redelivered, expected) in cases {
        let mut engine = engine(settings());
        let job = NewJob { places: vec![(protected(), place)], redelivered, ..fresh("ecs", []) };
        engine.admit(job, Duration::ZERO);
        assert_eq!(engine.take_finished()[0].outcomes[0].1.outcome, expected);
    }
}

#[test]
fn told_suspects_share_a_batch_with_each_other_and_never_with_fresh_ids() {
    let mut engine = engine(settings());
    let told = Place::Open(Open { doubt: Doubt::Unknown, ..Open::default() });
    engine.admit(fresh("ecs", (0..50).map(|n| format!("i{n}"))), Duration::ZERO);
    for job in 0..2 {
        let ids = (0..10).map(|n| (InstanceId::new(format!("s{job}-{n}")).unwrap(), told.clone()));
        // One that a fresh job wants as well.
        let shared = (InstanceId::new(format!("i{job}")).unwrap(), told.clone());
        engine.admit(NewJob { places: ids.chain([shared]).collect(), ..fresh("ecs", []) }, Duration::ZERO);
    }
    let now = Duration::from_secs(1);
    let mut sizes: Vec<_> = std::iter::from_fn(|| engine.seal(now)).map(|call| call.batch.len()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [22, 48]);
}
