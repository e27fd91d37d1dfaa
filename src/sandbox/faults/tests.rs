use super::super::call::Action;
use super::*;

fn rules(lines: &[&str]) -> Vec<FaultRule> {
    lines.iter().map(|line| line.parse().unwrap_or_else(|problem| panic!("{line}: {problem}"))).collect()
}

fn call(ids: &[&str]) -> Call {
    Call { instance_ids: ids.iter().map(|id| (*id).into()).collect(), ..Call::default() }
}

/// The places of the rules' answers over so many calls of the same kind, one a second.
fn struck(lines: &[&str], seed: u64, calls: u64) -> Vec<Option<FaultAnswer>> {
    let mut faults = Faults::new(&rules(lines));
    let call = call(&["i-1"]);
    let strike = |number| faults.strike(&call, Duration::from_secs(number), &mut draws_of(seed, number));
    (0..calls).map(strike).map(|rule| rule.map(|rule| rule.answer)).collect()
}

fn count(struck: &[Option<FaultAnswer>], answer: FaultAnswer) -> usize {
    struck.iter().filter(|each| **each == Some(answer)).count()
}

#[test]
fn a_share_is_of_the_calls_that_no_rule_before_took() {
    let struck = struck(&["internal-error share=0.1", "hang share=0.5"], 7, 10_000);
    assert!((900..1100).contains(&count(&struck, FaultAnswer::InternalError)));
    assert!((4300..4700).contains(&count(&struck, FaultAnswer::Hang)));
}

#[test]
fn the_same_seed_fails_the_same_calls() {
    let lines = ["reset share=0.5"];
    assert_eq!(struck(&lines, 1, 1000), struck(&lines, 1, 1000));
    assert_ne!(struck(&lines, 1, 1000), struck(&lines, 2, 1000));
}

#[test]
fn every_nth_call_counts_what_the_rule_looks_at() {
    let hit = |lines: &[&str]| -> Vec<usize> {
        let struck = struck(lines, 0, 10);
        (0..10).filter(|place| struck[*place].is_some()).collect()
    };
    assert_eq!(hit(&["reset every=3"]), [2, 5, 8]);
    assert_eq!(hit(&["reset from=2s until=5s"]), [2, 3, 4]);
    assert_eq!(hit(&["reset from=4s every=2"]), [5, 7, 9]);
    assert_eq!(hit(&["reset share=0"]), [0; 0]);
    assert_eq!(struck(&["reset every=2", "hang"], 0, 4), {
        let (reset, hang) = (Some(FaultAnswer::Reset), Some(FaultAnswer::Hang));
        [hang, reset, hang, reset]
    });
}

#[test]
fn a_rule_strikes_only_its_ids_and_its_action() {
    let mut faults = Faults::new(&rules(&["reset ids=i-slow-*", "hang action=QueryAvailableInstances"]));
    let mut answer = |call: &Call| faults.strike(call, Duration::ZERO, &mut draws_of(0, 0)).map(|rule| rule.answer);
    assert_eq!(answer(&call(&["i-1", "i-slow-1"])), Some(FaultAnswer::Reset));
    assert_eq!(answer(&call(&["i-1"])), None);
    let query = Call { action: Action::QueryAvailableInstances, ..call(&["i-slow-1"]) };
    assert_eq!(answer(&query), Some(FaultAnswer::Hang));
}

#[test]
fn a_rule_in_one_line_is_its_table_and_comes_back_as_it_was() {
    let line = "slow-body lands=true share=0.25 every=10 ids=i-{1..9} from=10s until=70s action=ReleaseInstance latency=5ms \
                latency_p99=1s hang_for=2s";
    let [rule] = &rules(&[line])[..] else { panic!("one rule") };
    let json = serde_json::to_string(rule).unwrap();
    assert_eq!(&serde_json::from_str::<FaultRule>(&json).unwrap(), rule);
    let second = Duration::from_secs(1);
    let expected = FaultRule {
        lands: true,
        share: 0.25,
        every: 10,
        ids: Some("i-{1..9}".parse().unwrap()),
        from: 10 * second,
        until: Some(70 * second),
        latency: Some(second / 200),
        latency_p99: Some(second),
        hang_for: 2 * second,
        ..FaultRule::new(FaultAnswer::SlowBody)
    };
    assert_eq!(rule, &expected);
    assert_eq!(rules(&["html-error"]), [FaultRule::new(FaultAnswer::HtmlError)]);
}

#[test]
fn a_rule_that_can_not_be_is_refused_by_name() {
    let cases = [
        ("reset share=1.5", "faults[0].share is 1.5"),
        ("reset share=-0.1", "faults[0].share"),
        ("reset every=0", "faults[0].every"),
        ("reset from=5s until=5s", "faults[0].until"),
        ("honest", "faults[0].latency is missing"),
        ("reset latency_p99=1s", "faults[0].latency is missing"),
        ("honest latency=2s latency_p99=1s", "faults[0].latency_p99"),
    ];
    for (line, expected) in cases {
        let problem = check(&rules(&[line])).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{line}: {problem}");
    }
    let own = [
        ("error code=A", "faults[0].status is missing"),
        ("error status=302 code=A", "faults[0].status"),
        ("error status=400", "faults[0].code is missing"),
        ("error status=400 code=A lands=true", "faults[0].lands can't be true with error"),
        ("error status=200 code=A lands=true", "faults[0].lands can't be true with error"),
        ("error status=429 code=A retry_after=\u{7}", "faults[0].retry_after"),
        ("reset status=400", "faults[0].status goes with the answer error alone"),
        ("reset retry_after=1", "faults[0].retry_after goes with the answer error alone"),
        ("odd-code", "faults[0].lands must be true with odd-code"),
    ];
    for (line, expected) in own {
        let problem = check(&rules(&[line])).unwrap_err().to_string();
        assert!(problem.starts_with(expected), "{line}: {problem}");
    }
    assert_eq!(check(&rules(&["error status=500 code=A lands=true", "odd-code lands=true"])), Ok(()));
    for answer in
        ["service-unavailable", "concurrent-operate", "throttled", "token-expired", "key-inactive", "redirect"]
    {
        let problem = check(&rules(&["empty", &format!("{answer} lands=true")])).unwrap_err().to_string();
        assert!(problem.starts_with(&format!("faults[1].lands can't be true with {answer}")), "{problem}");
    }
    for (line, expected) in
        [("boom", "unknown variant `boom`"), ("reset share=much", "share=much"), ("reset 5", "no value")]
    {
        let problem = line.parse::<FaultRule>().unwrap_err();
        assert!(problem.contains(expected), "{line}: {problem}");
    }
}
