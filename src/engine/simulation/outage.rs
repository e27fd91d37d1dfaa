//! What an account that can't be called means for its jobs: they leave unharmed, and one stays to probe with.

use super::*;
use crate::contract::{Doubt, Evidence, Open};

fn down() -> Verdict {
    Verdict::Transient(Evidence::own("ServiceUnavailable", "later"))
}

fn lost() -> Verdict {
    Verdict::Unknown(Evidence::own("TimedOut", "no answer"))
}

fn one(id: &str) -> NewJob {
    fresh("ecs", [id.to_owned()])
}

fn open(job: &PostponedJob) -> Open {
    *job.places[0].1.open().unwrap()
}

#[test]
fn all_jobs_but_the_newest_are_parked_at_once_as_if_they_had_never_come() {
    let mut engine = engine(settings());
    let known = Open { doubt: Doubt::Refused, attempts: 4, age: Some(Duration::from_secs(9)) };
    let places = vec![(InstanceId::new("i0").unwrap(), Place::Open(known))];
    let first = engine.admit(NewJob { places, ..fresh("ecs", []) }, Duration::ZERO);
    // The newest wants what an older one wants too.
    let [_, newest] = ["i1", "i1"].map(|id| engine.admit(one(id), Duration::ZERO));
    engine.park(Duration::from_secs(1));
    let parked = engine.take_postponed();
    assert_eq!(parked.iter().map(|job| job.parked).collect::<Vec<_>>(), [true, true]);
    assert_eq!((parked[0].key, open(&parked[0])), (first, known));
    let call = engine.seal(Duration::from_secs(1)).unwrap();
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), Duration::from_secs(2));
    assert_eq!(engine.take_finished()[0].key, newest);
    assert!(engine.pending_ids() == 0 && engine.pending_jobs() == 0);
}

#[test]
fn ids_in_a_call_wait_for_its_verdict_and_a_failure_costs_them_no_attempt() {
    for (verdict, doubt) in [(down(), Doubt::None), (lost(), Doubt::Unknown)] {
        let mut engine = engine(settings());
        let key = engine.admit(one("i1"), Duration::ZERO);
        let call = engine.seal(Duration::ZERO).unwrap();
        engine.admit(one("i2"), Duration::ZERO);
        engine.park(Duration::from_secs(1));
        assert_eq!(engine.take_postponed().len(), 1, "nothing need stay while a call is under way");
        engine.admit(one("i3"), Duration::from_secs(2));
        engine.outage(call.key, &verdict, Duration::from_secs(3));
        let parked = engine.take_postponed();
        assert_eq!((parked.len(), parked[0].key, parked[0].parked), (1, key, true));
        assert_eq!(open(&parked[0]), Open { doubt, ..Open::default() });
        assert_eq!(engine.pending_jobs(), 1, "the newest stays");
    }
}

#[test]
fn a_call_that_takes_its_batch_after_all_settles_it() {
    let mut engine = engine(settings());
    engine.admit(one("i1"), Duration::ZERO);
    let call = engine.seal(Duration::ZERO).unwrap();
    engine.park(Duration::from_secs(1));
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), Duration::from_secs(2));
    assert_eq!(engine.take_finished()[0].outcomes[0].1.outcome, Outcome::Released);
}

#[test]
fn an_outage_of_a_day_gives_nothing_up_however_often_it_is_probed() {
    let mut engine = engine(EngineSettings { max_attempts: 3, max_age: Duration::from_secs(60), ..settings() });
    engine.admit(one("i0"), Duration::ZERO);
    let mut now = Duration::ZERO;
    for probe in 1..3000 {
        let call = engine.seal(now).unwrap();
        // A later job comes while the probe is under way, and then another, before its verdict.
        engine.admit(one(&format!("i{probe}")), now);
        engine.outage(call.key, &down(), now);
        now += Duration::from_secs(30);
        engine.advance(now);
    }
    assert!(engine.take_finished().is_empty());
    let parked = engine.take_postponed();
    assert!(parked.len() == 2999 && parked.iter().all(|job| job.parked && open(job) == Open::default()));
}

#[test]
fn a_product_that_the_account_may_not_release_is_given_up_on_and_others_go_on() {
    let mut engine = engine(EngineSettings { attempts_in_process: 1, max_attempts: 3, ..settings() });
    let refused = Verdict::Account(Evidence::own("NoPermission", "not this product"));
    let mut job = fresh("rds", ["r1".to_owned()]);
    let mut held = 0;
    for round in 0..10_u32 {
        let now = Duration::from_secs(u64::from(round) * 60);
        engine.admit(NewJob { group: group("rds"), ..job }, now);
        let call = engine.seal(now).unwrap();
        if engine.is_at_fault(call.key) {
            engine.verdict(call.key, &refused, now);
        } else {
            held += 1;
            engine.outage(call.key, &refused, now);
        }
        // The next job of another product is the probe, and shows that the account is well.
        engine.admit(one(&format!("i{round}")), now);
        engine.park(now);
        let probe = engine.seal(now).unwrap();
        assert_eq!(probe.batch.group(), &group("ecs"));
        engine.verdict(probe.key, &Verdict::Released(Evidence::own("Success", "done")), now);
        let finished = engine.take_finished();
        if finished.len() == 2 {
            assert!(finished.iter().any(|job| job.outcomes[0].1.outcome == Outcome::Unresolved));
            assert_eq!((held, round), (1, 3), "held up once, and three attempts");
            return;
        }
        let postponed = engine.take_postponed().remove(0);
        job = NewJob { places: postponed.places, ..fresh("rds", []) };
    }
    panic!("it goes round for ever");
}

#[test]
fn an_id_that_the_account_is_always_blamed_for_is_given_up_on_though_others_of_its_product_are_released() {
    let mut engine = engine(EngineSettings { attempts_in_process: 1, max_attempts: 3, ..settings() });
    let refused = Verdict::Account(Evidence::own("NoPermission", "not this one"));
    let well = Verdict::Released(Evidence::own("Success", "done"));
    let mut job = one("bad");
    for round in 0..10_u32 {
        let now = Duration::from_secs(u64::from(round) * 60);
        engine.admit(job, now);
        let call = engine.seal(now).unwrap();
        if engine.is_at_fault(call.key) {
            engine.verdict(call.key, &refused, now);
        } else {
            engine.outage(call.key, &refused, now);
        }
        // The probe is another of the same product.
        engine.admit(one(&format!("i{round}")), now);
        engine.park(now);
        let probe = engine.seal(now).unwrap();
        engine.verdict(probe.key, &well, now);
        let finished = engine.take_finished();
        if finished.len() == 2 {
            assert!(finished.iter().any(|job| job.outcomes[0].1.outcome == Outcome::Unresolved) && round == 3);
            return;
        }
        let postponed = engine.take_postponed().remove(0);
        job = NewJob { places: postponed.places, ..one("any") };
    }
    panic!("it goes round for ever");
}

#[test]
fn an_outage_that_comes_again_is_one_for_every_product_and_costs_no_attempt() {
    let mut engine = engine(EngineSettings { attempts_in_process: 1, ..settings() });
    let refused = Verdict::Account(Evidence::own("InvalidAccessKeyId.Inactive", "switched off"));
    let well = Verdict::Released(Evidence::own("Success", "done"));
    for round in 0..4_u32 {
        let now = Duration::from_secs(u64::from(round) * 60);
        let job =
            |product: &str, number: u32| NewJob { group: group(product), ..one(&format!("{product}{round}{number}")) };
        for product in ["ecs", "rds"] {
            engine.admit(job(product, 0), now);
            let call = engine.seal(now).unwrap();
            assert!(!engine.is_at_fault(call.key), "round {round}: {call:?}");
            engine.outage(call.key, &refused, now);
        }
        // It is mended, and both are called.
        for product in ["ecs", "rds"] {
            engine.admit(job(product, 1), now);
        }
        while let Some(call) = engine.seal(now) {
            engine.verdict(call.key, &well, now);
        }
        assert!(engine.take_postponed().iter().all(|job| job.parked && open(job) == Open::default()));
        let finished = engine.take_finished();
        assert!(finished.len() >= 2 && finished.iter().all(|job| job.outcomes[0].1.outcome == Outcome::Released));
    }
}

#[test]
fn a_job_that_fails_alone_is_told_from_an_outage_however_often_it_comes_again() {
    let mut engine = engine(EngineSettings { attempts_in_process: 1, max_attempts: 9, ..settings() });
    let mut job = fresh("ecs", (0..150).map(|n| format!("i{n}")));
    for round in 0..3_u32 {
        let now = Duration::from_secs(u64::from(round) * 60);
        engine.admit(job, now);
        for _ in 0..2 {
            let call = engine.seal(now).unwrap();
            assert!(engine.fails_alone(call.key), "its second batch is no witness either");
            engine.verdict(call.key, &down(), now);
        }
        job = NewJob { places: engine.take_postponed().remove(0).places, ..fresh("ecs", []) };
    }
    let now = Duration::from_secs(600);
    engine.admit(one("j1"), now);
    let call = engine.seal(now).unwrap();
    assert!(!engine.fails_alone(call.key));
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), now);
    engine.admit(one("j2"), now);
    let call = engine.seal(now).unwrap();
    assert!(engine.fails_alone(call.key), "nothing failed since a call was answered");
}

#[test]
fn what_is_protected_while_it_waits_is_never_called() {
    let mut engine = engine(settings());
    engine.admit(fresh("ecs", ["i1", "i2", "i3"].map(str::to_owned)), Duration::ZERO);
    engine.protect(Protection::new(["i1"]).unwrap());
    let call = engine.seal(Duration::ZERO).unwrap();
    assert_eq!(call.batch.len(), 2);
    engine.verdict(call.key, &lost(), Duration::ZERO);
    // Again, before the retry.
    engine.protect(Protection::new(["i1", "i2"]).unwrap());
    let now = Duration::from_secs(9);
    engine.advance(now);
    let retry = std::iter::from_fn(|| engine.ready(now).then(|| engine.seal(now))).flatten().next().unwrap();
    assert_eq!(retry.batch.ids()[0].as_str(), "i3");
    engine.verdict(retry.key, &Verdict::Released(Evidence::own("Success", "done")), now);
    let outcomes: Vec<_> = engine.take_finished()[0].outcomes.iter().map(|(_, outcome)| outcome.outcome).collect();
    assert_eq!(outcomes, [Outcome::Refused, Outcome::Unresolved, Outcome::Released]);
}
