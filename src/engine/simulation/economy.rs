//! What the engine costs: calls above the fewest possible, and how long a group can be kept waiting.

use super::world::{Api, Faults};
use super::*;

fn one_batch(bad: &str, count: usize, place: usize) -> NewJob {
    let id = |n: usize| if n == place { format!("{bad}{n}") } else { format!("i{n}") };
    NewJob {
        group: group("ecs"),
        ids: (0..count).map(|n| InstanceId::new(id(n)).unwrap()).collect(),
        suspects: Suspects::These(HashSet::new()),
        dry_run: false,
        expires_at: None,
    }
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

#[test]
fn a_batch_that_needs_a_hundred_calls_survives_an_api_that_fails_some_of_them() {
    for seed in 0..20 {
        let mut api = Api::new(true, Faults { transient: 100, ghost: 50, ..Faults::NONE });
        let mut engine = engine(settings());
        let ids = (0..100).map(|n| InstanceId::new(format!("g{n}")).unwrap()).collect();
        let job = NewJob { group: group("ecs"), ids, suspects: Suspects::All, dry_run: false, expires_at: None };
        engine.admit(job, Duration::ZERO);
        let finished = drive(&mut engine, &mut api, &mut fastrand::Rng::with_seed(seed));
        let open = finished[0].outcomes.iter().filter(|(_, o)| o.outcome == Outcome::Unresolved).count();
        assert_eq!(open, 0, "seed {seed}: given up on after {} calls", api.calls);
    }
}

/// 12 groups of skewed shares, more work than permits: what comes in, in virtual time, and what it costs.
#[test]
fn under_saturation_calls_stay_within_one_per_cent_of_the_fewest_possible_and_no_group_starves() {
    let settings = settings();
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
            let ids = (next_id..next_id + size).map(|n| InstanceId::new(format!("i{n}")).unwrap()).collect();
            next_id += size;
            let suspects = Suspects::These(HashSet::new());
            let job = NewJob { group: Arc::clone(&groups[which]), ids, suspects, dry_run: false, expires_at: None };
            engine.admit(job, now);
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
    let bound = settings.max_wait + period * settings.overdue_share * 12 + period * 1000 * 50 / 100;
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
        let ids = (next..next + size).map(|n| InstanceId::new(format!("i{n}")).unwrap()).collect();
        next += size;
        let suspects = Suspects::These(HashSet::new());
        engine.admit(NewJob { group: group(name), ids, suspects, dry_run: false, expires_at: None }, now);
    };
    admit(&mut engine, "busy", 300, Duration::ZERO);
    admit(&mut engine, "lone", 1, Duration::ZERO);
    for step in 1..100_u32 {
        let now = Duration::from_millis(100) * step;
        engine.advance(now);
        admit(&mut engine, "busy", 100, now);
        let call = engine.seal(now).unwrap();
        if call.batch.group().product_code.as_str() == "lone" {
            assert_eq!(call.reason, SealReason::Overdue);
            served_at.get_or_insert(now);
        }
        let verdict = api.call(&call.batch, &mut random, now);
        engine.verdict(call.key, &verdict, now);
    }
    let bound = Duration::from_secs(1) + Duration::from_millis(100) * 10 * 2;
    assert!(served_at.is_some_and(|at| at <= bound), "served at {served_at:?}, bound {bound:?}");
}
