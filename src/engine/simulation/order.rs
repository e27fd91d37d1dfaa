//! Whose turn it is: priorities order what waits, and nobody waits for ever.

use super::world::{Api, Faults};
use super::*;
use crate::contract::Evidence;

const SECOND: Duration = Duration::from_secs(1);

fn ids(product: &str, from: u64, count: u64, priority: Priority) -> NewJob {
    NewJob { priority, ..fresh(product, (from..from + count).map(|n| format!("i{n}"))) }
}

fn product(call: &Call) -> &str {
    call.batch.group().product_code.as_str()
}

fn release(engine: &mut Engine, call: &Call, now: Moment) {
    engine.verdict(call.key, &Verdict::Released(Evidence::own("Success", "done")), now);
}

#[test]
fn a_high_job_goes_before_normal_and_low_ones_that_came_earlier() {
    let mut engine = engine(settings());
    for (product, from, priority) in [("low", 0, Priority::Low), ("mid", 100, Priority::Normal)] {
        engine.admit(ids(product, from, 100, priority), Duration::ZERO);
    }
    engine.admit(ids("high", 200, 100, Priority::High), SECOND);
    let order: Vec<_> = std::iter::from_fn(|| engine.ready(SECOND).then(|| engine.seal(SECOND)).flatten()).collect();
    assert_eq!(order.iter().map(product).collect::<Vec<_>>(), ["high", "mid", "low"]);
}

#[test]
fn ids_of_all_priorities_share_a_groups_batches_and_the_high_ones_go_with_the_first() {
    let mut engine = engine(settings());
    engine.admit(ids("ecs", 0, 90, Priority::Low), Duration::ZERO);
    engine.admit(ids("ecs", 100, 30, Priority::Normal), Duration::ZERO);
    engine.admit(ids("ecs", 200, 10, Priority::High), SECOND);
    let first = engine.seal(SECOND).unwrap();
    let number = |id: &InstanceId| id.as_str()[1..].parse::<u64>().unwrap();
    let low = first.batch.ids().iter().filter(|id| number(id) < 100).count();
    assert_eq!((first.batch.len(), low), (100, 60));
    assert_eq!(number(&first.batch.ids()[0]), 200);
}

#[test]
fn an_id_that_a_later_job_wants_sooner_goes_sooner() {
    let mut engine = engine(settings());
    engine.admit(ids("slow", 0, 1, Priority::Low), Duration::ZERO);
    engine.admit(ids("ecs", 100, 1, Priority::Normal), Duration::ZERO);
    engine.admit(ids("slow", 0, 1, Priority::High), SECOND);
    let first = engine.seal(SECOND).unwrap();
    assert_eq!(product(&first), "slow");
    release(&mut engine, &first, SECOND);
    assert_eq!(engine.take_finished().len(), 2);
}

#[test]
fn a_job_that_was_postponed_comes_back_to_its_old_place() {
    let mut engine = engine(settings());
    engine.admit(ids("new", 0, 100, Priority::Normal), SECOND * 500);
    let back = NewJob { first_came: Duration::ZERO, ..ids("old", 100, 100, Priority::Low) };
    engine.admit(back, SECOND * 600);
    assert_eq!(product(&engine.seal(SECOND * 600).unwrap()), "old");
}

/// When a product is first called, with a permit a second from then on; more may come before each.
fn called_at(mut engine: Engine, wanted: &str, from: u32, mut comes: impl FnMut(&mut Engine, u32)) -> Duration {
    let mut api = Api::new(true, Faults::NONE);
    let mut random = fastrand::Rng::with_seed(1);
    for second in from..1000 {
        let now = SECOND * second;
        comes(&mut engine, second);
        engine.advance(now);
        let call = engine.seal(now).unwrap();
        if product(&call) == wanted {
            return now;
        }
        engine.verdict(call.key, &api.call(&call.batch, &mut random, now), now);
    }
    panic!("it is starved");
}

/// More high work than permits, in one group or in many: when a low job is called that came at second 0.
fn called_beside_high_work(low: u64, groups: u64) -> Duration {
    let mut engine = engine(settings());
    engine.admit(ids("low", 0, low, Priority::Low), Duration::ZERO);
    called_at(engine, "low", 0, |engine, second| {
        for group in 0..groups {
            let from = 1000 + (u64::from(second) * groups + group) * 100;
            engine.admit(ids(&format!("high{group}"), from, 100, Priority::High), SECOND * second);
        }
    })
}

#[test]
fn a_low_job_has_its_turn_though_high_ones_never_stop_coming() {
    let settings = settings();
    // A full batch goes before whatever comes later than two head starts after it; one of the size of the backlog is ahead.
    for groups in [1, 2] {
        let ahead = 150 * groups as u32;
        let at = called_beside_high_work(100, groups);
        assert!(at >= settings.head_start * 2 - SECOND, "high ones go first: {at:?}");
        assert!(at <= SECOND * (ahead + 2), "{at:?}");
    }
    // A part-filled one waits no longer than the rule for overdue ones says.
    let at = called_beside_high_work(1, 2);
    assert!(at <= settings.max_wait + SECOND * settings.overdue_share, "{at:?}");
}

/// Searches for ids that are all gone, a call for each: when a batch is called that came after them, a permit a second.
fn called_behind_searches(searches: u64, searched: Priority, later: NewJob) -> Duration {
    let mut engine = engine(settings());
    let mut api = Api::new(true, Faults::NONE);
    let mut random = fastrand::Rng::with_seed(1);
    for search in 0..searches {
        let ids = (search * 100..(search + 1) * 100).map(|n| format!("g{n}"));
        engine.admit(NewJob { priority: searched, ..fresh("gone", ids) }, Duration::ZERO);
    }
    let begun: Vec<_> = (0..searches).map(|_| engine.seal(Duration::ZERO).unwrap()).collect();
    for call in begun {
        engine.verdict(call.key, &api.call(&call.batch, &mut random, Duration::ZERO), Duration::ZERO);
    }
    let wanted = later.group.product_code.clone();
    engine.admit(later, SECOND);
    called_at(engine, wanted.as_str(), 2, |_, _| ())
}

#[test]
fn a_full_batch_waits_behind_searches_no_longer_than_a_part_filled_one() {
    let settings = settings();
    for count in [1, 100] {
        let at = called_behind_searches(50, Priority::Normal, ids("ecs", 0, count, Priority::Normal));
        assert!(at <= SECOND + settings.max_wait + SECOND * settings.overdue_share, "{count} ids: {at:?}");
    }
}

#[test]
fn a_high_job_goes_before_the_search_of_a_low_one_however_few_ids_it_has() {
    for count in [1, 100] {
        let at = called_behind_searches(5, Priority::Low, ids("ecs", 0, count, Priority::High));
        assert_eq!(at, SECOND * 2, "{count} ids");
    }
}

#[test]
fn what_has_expired_takes_no_permit_wherever_it_waits() {
    let mut engine = engine(settings());
    let expiring =
        |product: &str, from| NewJob { expires_at: Some(SECOND * 5), ..ids(product, from, 2, Priority::High) };
    // One waits in a pool, one to be called again, and one between the parts of a search.
    for (product, from) in [("again", 10), ("search", 20)] {
        engine.admit(expiring(product, from), Duration::ZERO);
        let call = engine.seal(Duration::ZERO).unwrap();
        let verdict = match product {
            "again" => Verdict::Throttled(Evidence::own("Throttling", "slow down")),
            _ => Verdict::Refused(crate::contract::Refusal::Instance, Evidence::own("InvalidOwner", "one of them")),
        };
        engine.verdict(call.key, &verdict, Duration::ZERO);
    }
    engine.admit(expiring("pool", 30), Duration::ZERO);
    assert!(engine.ready(SECOND * 4));
    engine.advance(SECOND * 5);
    assert!(!engine.ready(SECOND * 5), "a permit would be spent on nothing");
    let ended = engine.take_finished();
    assert!(ended.len() == 3 && engine.pending_ids() == 0);
    let expired = |job: &&FinishedJob| job.outcomes.iter().all(|(_, outcome)| outcome.outcome == Outcome::Expired);
    assert_eq!(ended.iter().filter(expired).count(), 2, "of the search somebody must know that a call was refused");
}
