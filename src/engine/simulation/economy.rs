//! What the engine costs: calls above the fewest possible, and how long a group can be kept waiting.

use super::world::{Api, Faults};
use super::*;
use crate::contract::{Evidence, ReadBack};

fn one_batch(bad: &str, count: usize, place: usize) -> NewJob {
    let id = |n: usize| if n == place { format!("{bad}{n}") } else { format!("i{n}") };
    fresh("ecs", (0..count).map(id))
}

#[test]
fn one_bad_id_in_a_hundred_costs_at_most_eight_extra_calls_on_average_with_an_atomic_api() {
    // Whether the settings vouch for the API's atomicity or not, and whatever the refusal.
    for (bad, vouched) in [("f", true), ("f", false), ("g", true), ("g", false)] {
        let costs: Vec<u64> = (0..100)
            .map(|place| {
                let mut api = Api::new(true, Faults::NONE);
                let mut engine = engine(EngineSettings { atomic: vouched, ..settings() });
                engine.admit(one_batch(bad, 100, place), Duration::ZERO);
                let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1));
                let released =
                    finished[0].outcomes.iter().filter(|(_, o)| o.outcome == Outcome::Released && !o.presumed);
                assert_eq!(released.count(), 99);
                api.calls - 1
            })
            .collect();
        let mean = costs.iter().sum::<u64>() as f64 / 100.0;
        let worst = costs.iter().max().copied().unwrap();
        println!("bad id {bad:?}, atomic = {vouched}: mean {mean:.2} extra calls, worst {worst}");
        // "Gone" under an API that nobody vouches for may mean that everything is gone: that doubt has its price.
        let price = if bad == "g" && !vouched { 0.5 } else { 0.0 };
        assert!(mean <= 8.0 + price, "mean {mean}");
        assert!(worst <= 14, "worst {worst}");
    }
}

#[test]
fn a_batch_that_landed_but_answered_with_a_time_out_ends_with_the_right_outcome_for_each_id() {
    for atomic in [true, false] {
        let mut api = Api::new(atomic, Faults { ghost: 1000, ..Faults::NONE });
        let mut engine = engine(EngineSettings { atomic: false, ..settings() });
        // One id is refused, so the first call lands in part (or not at all with an atomic API).
        engine.admit(one_batch("f", 100, 42), Duration::ZERO);
        let call = engine.seal(Duration::ZERO).unwrap();
        let verdict = api.call(&call.batch, &mut fastrand::Rng::with_seed(1), Duration::ZERO);
        assert!(matches!(verdict, Verdict::Unknown(_)));
        engine.verdict(call.key, &verdict, Duration::ZERO);
        api.faults = Faults::NONE;
        let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1));
        for (id, outcome) in &finished[0].outcomes {
            let expected = if id.as_str() == "f42" { Outcome::Rejected } else { Outcome::Released };
            assert_eq!(outcome.outcome, expected, "{id}, atomic = {atomic}");
            assert_eq!(outcome.presumed, !atomic && id.as_str() != "f42", "{id}");
        }
        println!("atomic = {atomic}: {} calls", api.calls);
    }
    let mut api = Api::new(true, Faults { ghost: 1000, ..Faults::NONE });
    let mut engine = engine(settings());
    engine.admit(one_batch("i", 100, 0), Duration::ZERO);
    let call = engine.seal(Duration::ZERO).unwrap();
    let verdict = api.call(&call.batch, &mut fastrand::Rng::with_seed(1), Duration::ZERO);
    engine.verdict(call.key, &verdict, Duration::ZERO);
    api.faults = Faults::NONE;
    let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1));
    assert!(finished[0].outcomes.iter().all(|(_, o)| o.outcome == Outcome::Released && o.presumed));
    println!("all landed: {} calls", api.calls);
}

/// Calls, queries and outcomes of a job whose first call is of unknown fate, where suspects are read back.
fn after_a_lost_answer(job: NewJob, atomic: bool, first: Faults, then: Faults) -> (u64, u64, FinishedJob) {
    let mut api = Api::new(atomic, first);
    let mut engine = engine(EngineSettings { read_back: true, ..settings() });
    let mut random = fastrand::Rng::with_seed(1);
    engine.admit(job, Duration::ZERO);
    let call = engine.seal(Duration::ZERO).unwrap();
    let verdict = api.call(&call.batch, &mut random, Duration::ZERO);
    engine.verdict(call.key, &verdict, Duration::ZERO);
    api.faults = then;
    let finished = drive(&mut engine, &mut api, &mut random).remove(0);
    (api.calls, api.queries, finished)
}

const GHOST: Faults = Faults { ghost: 1000, ..Faults::NONE };
const LOST: Faults = Faults { lost: 1000, ..Faults::NONE };

#[test]
fn a_landed_time_out_of_a_hundred_ids_costs_one_query_and_one_call_where_suspects_are_read_back() {
    let (calls, queries, finished) = after_a_lost_answer(one_batch("i", 100, 0), true, GHOST, Faults::NONE);
    println!("landed: {queries} query and {} call more for 100 ids", calls - 1);
    assert_eq!((calls, queries), (2, 1));
    for (id, outcome) in &finished.outcomes {
        assert!(outcome.outcome == Outcome::Released && outcome.presumed, "{id}: {outcome:?}");
        assert_eq!(outcome.evidence.code.as_deref(), Some("NotListed"));
        let words = outcome.evidence.message.as_deref().unwrap();
        assert!(words.contains("lists no id") && words.contains("ResourceNotExists"), "{words}");
    }
    // It did not land, because of one id or at all: those that are still listed travel on together.
    let (calls, queries, finished) = after_a_lost_answer(one_batch("u", 100, 42), true, GHOST, Faults::NONE);
    println!("not landed for one bad id: {queries} query and {} calls more", calls - 1);
    assert!(calls <= 12 && queries == 1, "{calls} calls, {queries} queries");
    assert_eq!(finished.outcomes.iter().filter(|(_, o)| o.outcome == Outcome::Released && !o.presumed).count(), 99);
    // It landed in part.
    let (calls, queries, finished) = after_a_lost_answer(one_batch("u", 100, 42), false, GHOST, Faults::NONE);
    println!("landed in part: {queries} query and {} calls more", calls - 1);
    assert!(calls <= 3 && queries == 1, "{calls} calls, {queries} queries");
    assert_eq!(finished.outcomes.iter().filter(|(_, o)| o.presumed).count(), 99);
}

#[test]
fn an_id_that_never_was_the_accounts_is_not_released_by_being_unlisted() {
    let (calls, queries, finished) = after_a_lost_answer(one_batch("f", 100, 42), false, LOST, Faults::NONE);
    println!("lost, with another account's id: {queries} query and {} calls more", calls - 1);
    assert!(calls <= 3 && queries == 1, "{calls} calls, {queries} queries");
    for (id, outcome) in &finished.outcomes {
        let expected = if id.as_str() == "f42" { Outcome::Rejected } else { Outcome::Released };
        assert!(outcome.outcome == expected && !outcome.presumed, "{id}: {outcome:?}");
    }
}

#[test]
fn a_few_ids_that_are_not_listed_are_called_one_by_one_so_that_each_is_judged_by_itself() {
    let ids = ["g0", "f1", "g2", "i3", "i4"].map(str::to_owned);
    let mut engine = engine(EngineSettings { read_back: true, ..settings() });
    let mut api = Api::new(true, Faults::NONE);
    engine.admit(NewJob { redelivered: true, ..fresh("ecs", ids) }, Duration::ZERO);
    let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1)).remove(0);
    println!("three of five not listed: {} query and {} calls", api.queries, api.calls);
    assert_eq!((api.calls, api.queries), (5, 1), "the refused one, one for those that are there, three single ones");
    let outcomes: Vec<_> = finished.outcomes.iter().map(|(_, outcome)| (outcome.outcome, outcome.presumed)).collect();
    let (released, gone) = ((Outcome::Released, false), (Outcome::Released, true));
    assert_eq!(outcomes, [gone, (Outcome::Rejected, false), gone, released, released]);
}

#[test]
fn a_listing_that_is_empty_by_mistake_releases_nothing_that_a_call_does_not() {
    let blind = Faults { blind: 1000, ..Faults::NONE };
    let (calls, queries, finished) = after_a_lost_answer(one_batch("i", 100, 0), true, LOST, blind);
    println!("lost, and an empty listing: {queries} query and {} call more", calls - 1);
    assert_eq!((calls, queries), (2, 1));
    assert!(finished.outcomes.iter().all(|(_, o)| o.outcome == Outcome::Released && !o.presumed));
}

#[test]
fn one_id_that_is_listed_says_that_an_atomic_call_did_not_land() {
    let mut engine = engine(EngineSettings { atomic: true, read_back: true, ..settings() });
    engine.admit(fresh("ecs", ["i1", "i2", "f3", "f4"].map(str::to_owned)), Duration::ZERO);
    let mut api = Api::new(true, LOST);
    let mut random = fastrand::Rng::with_seed(1);
    let call = engine.seal(Duration::ZERO).unwrap();
    engine.verdict(call.key, &api.call(&call.batch, &mut random, Duration::ZERO), Duration::ZERO);
    engine.advance(Duration::from_secs(9));
    let query = engine.seal_read_back(Duration::from_secs(9)).unwrap();
    engine.read_back(query.key, &api.query(&query.batch, &mut random), Duration::from_secs(9));
    assert_eq!(engine.seal(Duration::from_secs(9)).unwrap().batch.len(), 4, "nobody is set apart as not listed");
}

#[test]
fn a_query_that_can_not_be_made_now_is_asked_again_after_a_delay_and_three_times_at_most() {
    let mut engine = engine(EngineSettings { read_back: true, ..settings() });
    let ids = ["g1", "g2", "i3"].map(str::to_owned);
    engine.admit(NewJob { redelivered: true, ..fresh("ecs", ids) }, Duration::ZERO);
    let call = engine.seal(Duration::ZERO).unwrap();
    let gone = Verdict::Refused(crate::contract::Refusal::Gone, Evidence::own("ResourceNotExists", "one of them"));
    engine.verdict(call.key, &gone, Duration::ZERO);
    let (mut now, mut queries) = (Duration::ZERO, 0);
    while let Some(query) = engine.seal_read_back(now) {
        queries += 1;
        let later = ReadBack::Failed(Verdict::Throttled(Evidence::own("Throttling.User", "slow down")));
        engine.read_back(query.key, &later, now);
        assert!(!engine.read_back_ready(), "not at once");
        now += Duration::from_secs(1);
        engine.advance(now);
    }
    assert_eq!(queries, 3);
    assert!(engine.seal(now).is_some_and(|call| call.batch.len() < 3), "the search goes on with calls");
}

#[test]
fn after_a_crash_a_hundred_gone_ids_cost_a_handful_of_calls_where_suspects_are_read_back() {
    for gone in [100, 60, 1] {
        let mut api = Api::new(true, Faults::NONE);
        let mut engine = engine(EngineSettings { read_back: true, ..settings() });
        let job = fresh("ecs", (0..100).map(|n| format!("{}{n}", if n < gone { "g" } else { "i" })));
        engine.admit(NewJob { redelivered: true, ..job }, Duration::ZERO);
        let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1));
        println!("{gone} of 100 gone after a crash: {} calls and {} query", api.calls, api.queries);
        assert!(api.calls <= 3 && api.queries == 1, "{} calls, {} queries", api.calls, api.queries);
        assert!(finished[0].outcomes.iter().all(|(_, o)| o.outcome == Outcome::Released));
        assert_eq!(finished[0].outcomes.iter().filter(|(_, o)| o.presumed).count(), gone);
    }
}

#[test]
fn a_query_that_fails_changes_nothing_and_costs_no_attempt() {
    let mut outcomes = Vec::new();
    for (read_back, query_failed) in [(false, 0), (true, 1000)] {
        let mut api = Api::new(true, Faults { query_failed, ..Faults::NONE });
        let mut engine = engine(EngineSettings { read_back, attempts_in_process: 1, ..settings() });
        let job = fresh("ecs", (0..100).map(|n| format!("{}{n}", if n % 3 == 0 { "g" } else { "i" })));
        engine.admit(NewJob { redelivered: true, ..job }, Duration::ZERO);
        let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1)).remove(0);
        assert!(if read_back { (1..=3).contains(&api.queries) } else { api.queries == 0 }, "{} queries", api.queries);
        outcomes.push((api.calls, format!("{:?}", finished.outcomes)));
    }
    assert_eq!(outcomes[0], outcomes[1]);
}

#[test]
fn an_id_that_no_call_of_unknown_fate_carried_is_never_judged_by_its_absence() {
    let mut api = Api::new(false, Faults::NONE);
    let mut engine = engine(EngineSettings { read_back: true, ..settings() });
    // Refused for the gone one, by an API that releases the others: all are suspect, and nothing is unknown.
    engine.admit(fresh("ecs", ["f1", "g2", "i3"].map(str::to_owned)), Duration::ZERO);
    let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(1)).remove(0);
    assert_eq!(api.queries, 0);
    assert_eq!(finished.outcomes[0].1.outcome, Outcome::Rejected);
}

#[test]
fn a_batch_that_needs_a_hundred_calls_survives_an_api_that_fails_some_of_them() {
    for seed in 0..20 {
        let mut api = Api::new(true, Faults { transient: 100, ghost: 50, ..Faults::NONE });
        let mut engine = engine(settings());
        let job = fresh("ecs", (0..100).map(|n| format!("g{n}")));
        engine.admit(NewJob { redelivered: true, ..job }, Duration::ZERO);
        let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(seed));
        let open = finished[0].outcomes.iter().filter(|(_, o)| o.outcome == Outcome::Unresolved).count();
        assert_eq!(open, 0, "seed {seed}: given up on after {} calls", api.calls);
    }
}

/// 12 groups of skewed shares, more work than permits: what comes in, in virtual time, and what it costs.
#[test]
fn under_saturation_calls_stay_within_one_per_cent_of_the_fewest_possible_and_no_group_starves() {
    let settings = EngineSettings { head_start: Duration::from_secs(2), ..settings() };
    let period = Duration::from_millis(50);
    let groups: Vec<_> = (0..12).map(|n| group(&format!("product{n}"))).collect();
    let mut random = fastrand::Rng::with_seed(3);
    let mut api = Api::new(true, Faults::NONE);
    let mut engine = engine(settings.clone());
    let (mut now, mut next_id, mut jobs_left, mut open) = (Duration::ZERO, 0_u64, 10_000, 0);
    let (mut per_group, mut longest) = (vec![0_u64; 12], Duration::ZERO);
    while jobs_left > 0 || open > 0 {
        while jobs_left > 0 && open < 1000 {
            let which = random.usize(0..12).min(random.usize(0..12));
            let size = random.u64(1..=50);
            per_group[which] += size;
            let job = fresh("any", (next_id..next_id + size).map(|n| format!("i{n}")));
            next_id += size;
            let priority = [Priority::High, Priority::Normal, Priority::Low][random.usize(0..3)];
            engine.admit(NewJob { group: Arc::clone(&groups[which]), priority, ..job }, now);
            (jobs_left, open) = (jobs_left - 1, open + 1);
        }
        now += period;
        engine.advance(now);
        if engine.ready(now)
            && let Some(call) = engine.seal(now)
        {
            longest = longest.max(call.waited);
            let verdict = api.call(&call.batch, &mut random, now);
            engine.verdict(call.key, &verdict, now);
        }
        open -= engine.take_finished().len();
    }
    let fewest: u64 = per_group.iter().map(|ids| ids.div_ceil(100)).sum();
    let ratio = api.calls as f64 / fewest as f64;
    let bound =
        settings.max_wait + settings.head_start * 2 + period * settings.overdue_share * 12 + period * 1000 * 50 / 100;
    println!("{} calls, fewest {fewest}: {ratio:.4}; longest wait {longest:?} (bound {bound:?})", api.calls);
    assert!(ratio <= 1.01, "{ratio}");
    assert!(longest <= bound, "{longest:?} > {bound:?}");
}

#[test]
fn an_overdue_group_is_served_though_full_batches_never_stop_coming() {
    let settings = EngineSettings { max_wait: Duration::from_secs(1), ..settings() };
    let mut engine = engine(settings);
    let mut random = fastrand::Rng::with_seed(3);
    let mut api = Api::new(true, Faults::NONE);
    let (mut next, mut served_at) = (0_u64, None);
    let mut admit = |engine: &mut Engine, name: &str, size: u64, now| {
        engine.admit(fresh(name, (next..next + size).map(|n| format!("i{n}"))), now);
        next += size;
    };
    admit(&mut engine, "busy", 300, Duration::ZERO);
    admit(&mut engine, "lone", 1, Duration::ZERO);
    for step in 1..100_u32 {
        let now = Duration::from_millis(100) * step;
        engine.advance(now);
        admit(&mut engine, "busy", 100, now);
        let call = engine.seal(now).unwrap();
        if call.batch.group().product_code.as_str() == "lone" {
            assert!(matches!(call.kind, CallKind::Release { reason: SealReason::Overdue, .. }));
            served_at.get_or_insert(now);
        }
        let verdict = api.call(&call.batch, &mut random, now);
        engine.verdict(call.key, &verdict, now);
    }
    let bound = Duration::from_secs(1) + Duration::from_millis(100) * 10 * 2;
    assert!(served_at.is_some_and(|at| at <= bound), "served at {served_at:?}, bound {bound:?}");
}
