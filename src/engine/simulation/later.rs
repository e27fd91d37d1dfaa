//! What waits for something else than a permit is told apart from what a permit would be spent on, and not left out.

use super::*;
use crate::contract::Evidence;

#[test]
fn what_waits_for_its_retry_or_its_reading_is_told_of_and_asks_for_no_permit() {
    let mut engine = engine(EngineSettings { read_back: true, ..settings() });
    let ids = |job: usize| (0..100).map(move |n| format!("i{job}-{n}"));
    for job in 0..3 {
        engine.admit(fresh("ecs", ids(job)), Duration::ZERO);
    }
    assert_eq!((engine.waiting_calls(), engine.later_calls()), (3, 0));
    let calls: Vec<_> = (0..2).map(|_| engine.seal(Duration::ZERO).unwrap()).collect();
    assert_eq!((engine.waiting_calls(), engine.later_calls()), (1, 0), "two are under way");
    engine.verdict(calls[0].key, &Verdict::Transient(Evidence::own("ServiceUnavailable", "")), Duration::ZERO);
    engine.verdict(calls[1].key, &Verdict::Unknown(Evidence::own("TimedOut", "")), Duration::ZERO);
    assert_eq!((engine.waiting_calls(), engine.later_calls()), (1, 2));
    let later = Duration::from_secs(9);
    engine.advance(later);
    assert!(engine.read_back_ready());
    assert_eq!((engine.waiting_calls(), engine.later_calls()), (2, 1), "one is due again, one waits for its reading");
    engine.forgo_read_back(later);
    assert_eq!((engine.waiting_calls(), engine.later_calls()), (3, 0));
}
