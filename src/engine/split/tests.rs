//! What a split costs, against APIs that refuse some of its ids.

use super::*;

fn ids(range: std::ops::Range<usize>) -> Vec<InstanceId> {
    range.map(|n| InstanceId::new(format!("i-{n}")).unwrap()).collect()
}

fn guilt(refusal: Refusal, suspects: bool) -> Guilt {
    Guilt { refusal, evidence: Evidence::own("Code", "no names here"), unknown: suspects }
}

/// Runs a split against an atomic API where `bad` ids are refused; returns the calls made after the first refusal.
fn calls(count: usize, bad: &[usize], refusal: Refusal, suspects: bool) -> (u32, Vec<InstanceId>) {
    let bad: Vec<_> = bad.iter().map(|n| InstanceId::new(format!("i-{n}")).unwrap()).collect();
    let (mut split, mut findings) = Split::begin(ids(0..count), guilt(refusal, suspects), true, 1000);
    let mut calls = 0;
    while let Some(asked) = split.asked() {
        calls += 1;
        assert!(calls < 1000, "no end");
        let refused = asked.iter().any(|id| bad.contains(id));
        findings.extend(if refused { split.refused(guilt(refusal, suspects)) } else { split.released() });
    }
    let (mut culprits, mut seen) = (Vec::new(), 0);
    for finding in findings {
        match finding {
            Finding::Released(ids) => {
                seen += ids.len();
                assert!(ids.iter().all(|id| !bad.contains(id)));
            }
            Finding::Culprits(ids, _) => {
                seen += ids.len();
                culprits.extend(ids);
            }
        }
    }
    assert_eq!(seen, count, "every id has exactly one finding");
    culprits.sort();
    (calls, culprits)
}

#[test]
fn one_bad_id_in_a_hundred_is_found_with_at_most_eight_extra_calls_on_average_and_fourteen_at_worst() {
    for (refusal, suspects) in [(Refusal::Instance, false), (Refusal::Gone, false), (Refusal::Instance, true)] {
        let costs: Vec<u32> = (0..100)
            .map(|bad| {
                let (calls, culprits) = calls(100, &[bad], refusal, suspects);
                assert_eq!(culprits, [InstanceId::new(format!("i-{bad}")).unwrap()]);
                calls
            })
            .collect();
        let mean = f64::from(costs.iter().sum::<u32>()) / 100.0;
        assert!(mean <= 8.0, "{refusal:?}: mean {mean}");
        assert!(costs.iter().all(|cost| *cost <= 14), "{refusal:?}: {costs:?}");
    }
}

#[test]
fn an_unlisted_code_that_depends_on_one_id_is_pinned_on_it_and_one_that_does_not_is_the_requests() {
    for bad in 0..100 {
        let (calls, culprits) = calls(100, &[bad], Refusal::Unlisted, false);
        assert_eq!(culprits.len(), 1);
        assert!(calls <= 14, "{calls}");
    }
    let everything: Vec<usize> = (0..100).collect();
    let (calls, culprits) = calls(100, &everything, Refusal::Unlisted, false);
    assert_eq!((calls, culprits.len()), (2, 100));
}

#[test]
fn many_gone_ids_after_a_crash_cost_little_more_than_a_call_each() {
    let patterns: [(&str, Vec<usize>, u32); 6] = [
        ("all", (0..100).collect(), 102),
        ("the first thirty", (0..30).collect(), 40),
        ("half", (0..50).collect(), 60),
        ("some in the middle", (40..65).collect(), 45),
        ("two runs", (0..10).chain(60..75).collect(), 60),
        ("two far apart", vec![10, 90], 40),
    ];
    for (name, gone, most) in patterns {
        let (calls, culprits) = calls(100, &gone, Refusal::Gone, true);
        println!("{name}: {} gone, {calls} calls", gone.len());
        assert_eq!(culprits.len(), gone.len(), "{name}");
        assert!(calls <= most, "{name}: {calls}");
    }
}

#[test]
fn any_set_of_bad_ids_is_found_exactly() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..500 {
        let count = random.usize(2..=100);
        let bad: Vec<usize> = (0..count).filter(|_| random.u8(0..20) == 0).collect();
        let refusal = if random.bool() { Refusal::Instance } else { Refusal::Gone };
        if bad.is_empty() {
            continue;
        }
        let (_, culprits) = calls(count, &bad, refusal, random.bool());
        assert_eq!(culprits.len(), bad.len());
    }
}

#[test]
fn ids_that_the_message_names_are_dropped_and_the_rest_travel_together() {
    let evidence = Evidence::own("InvalidOwner", "instance i-1, i-30: not yours");
    let refused = Guilt { refusal: Refusal::Instance, evidence, unknown: false };
    let (split, findings) = Split::begin(ids(0..40), refused, true, 32);
    let [Finding::Culprits(culprits, _)] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!(culprits.iter().map(InstanceId::as_str).collect::<Vec<_>>(), ["i-1", "i-30"]);
    assert_eq!(split.asked().unwrap().len(), 38);
}

#[test]
fn of_several_ids_that_a_message_names_none_is_taken_for_gone_unasked() {
    for (message, count) in [("no such instance: i-3", 1), ("no such instances: i-3, i-4", 0)] {
        let guilt = Guilt { evidence: Evidence::own("NotFound", message), ..guilt(Refusal::Gone, false) };
        assert_eq!(named(&ids(0..40), &guilt).len(), count, "{message}");
    }
}

#[test]
fn what_a_message_says_of_a_batch_is_not_taken_for_a_word_about_its_half() {
    let guilt = Guilt { evidence: Evidence::own("NotFound", "none of these: i-1, i-3"), ..guilt(Refusal::Gone, false) };
    let (mut split, findings) = Split::begin(ids(0..8), guilt, true, 32);
    assert!(findings.is_empty());
    let findings = split.released();
    assert!(matches!(&findings[..], [Finding::Released(ids)] if ids.len() == 4), "{findings:?}");
}

#[test]
fn an_echo_of_the_request_names_nobody_wherever_it_is_cut_off() {
    let asked = ids(0..40);
    let echo = format!("InstanceIds:{}", asked.iter().map(InstanceId::as_str).collect::<Vec<_>>().join(","));
    for length in 0..=echo.len() {
        let guilt =
            Guilt { evidence: Evidence::own("InvalidOwner", &echo[..length]), ..guilt(Refusal::Instance, false) };
        assert_eq!(named(&asked, &guilt), [], "{}", &echo[..length]);
    }
}

#[test]
fn a_message_names_an_id_by_a_whole_word_only() {
    let cases = [
        ("i-1 is not yours", true),
        ("not yours: \"i-1\".", true),
        ("not yours: [i-7,i-1]", true),
        ("InstanceId=i-1 is not yours", true),
        ("实例i-1不存在", true),
        ("i-12 is not yours", false),
        ("eni-1 is not yours", false),
        ("i-1.example is not yours", false),
        ("zone:i-1 is not yours", false),
        ("i-1-a and i-1_b are not yours", false),
    ];
    for (message, is_named) in cases {
        let guilt = Guilt { evidence: Evidence::own("InvalidOwner", message), ..guilt(Refusal::Instance, false) };
        assert_eq!(!named(&ids(0..2), &guilt).is_empty(), is_named, "{message}");
    }
}

#[test]
fn ids_that_leave_take_every_inference_with_them() {
    let (mut split, _) = Split::begin(ids(0..8), guilt(Refusal::Instance, false), true, 32);
    split.retain(|id| id.as_str() != "i-0");
    assert_eq!(split.asked().unwrap().len(), 7);
    split.retain(|_| false);
    assert!(split.asked().is_none() && split.open().is_empty());
}
