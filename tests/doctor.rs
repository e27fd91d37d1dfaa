//! `bulkrelease doctor` against one private node with a virtual host for each set-up: every wrong one is found by its code,
//! and nothing is invented.

mod accounts;
mod brokers;
mod clock;
mod house;

use crate::support::program::{PATIENCE, Program, run};
use crate::support::worker::variable;
use brokers::Case;
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use house::{House, codes, examine};
use tokio::time::{Duration, Instant, sleep};

const AT_A_TIME: usize = 4;

/// Everything that asks RabbitMQ, on one node: its start takes longer than all that is asked.
#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_set_up_of_a_broker_is_found_by_its_code_and_nothing_is_invented() {
    let house = House::start().await;
    let cases = brokers::set_up(&house).await;
    house.until_policies_are_told().await;
    let mut wrong = differing(cases.iter().map(|case| (case, case.variables(&house)))).await;
    wrong.extend(without_the_plugin(&house, &cases).await);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    an_alarm_is_felt(&house).await;
    a_worker_starts_only_where_nothing_goes_lost(&house).await;
    a_worker_says_at_its_start_that_it_can_t_share_a_quota(&house).await;
    its_commands_replace_what_is_wrong(&house).await;
    house.assert_nothing_went_astray();
    house.assert_untouched().await;
}

/// Examines every case, a few at a time; those where something else is found than should be.
async fn differing<'a>(cases: impl Iterator<Item = (&'a Case, Vec<(String, String)>)>) -> Vec<String> {
    let examining = cases.map(|(case, variables)| async move {
        let examined = examine(&case.arguments, &variables).await;
        let as_expected = codes(&examined) == case.codes && examined["Soundness"] == case.soundness;
        (!as_expected).then(|| format!("{}: {:?}, and not {examined:#}", case.virtual_host, case.codes))
    });
    stream::iter(examining).buffer_unordered(AT_A_TIME).filter_map(ready).collect().await
}

/// What AMQP alone tells, and that the rest is said to be unchecked.
async fn without_the_plugin(house: &House, cases: &[Case]) -> Vec<String> {
    let elsewhere = variable("BROKER__MANAGEMENT_URL", "http://127.0.0.1:1");
    let seen = cases.iter().filter(|case| case.seen_by_amqp);
    let wrong = differing(seen.map(|case| (case, [case.variables(house), vec![elsewhere.clone()]].concat()))).await;
    let healthy = [house.variables("healthy"), vec![elsewhere]].concat();
    let ended = run(&["doctor", "--consumer-timeout", "30m"], &healthy, "").await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for words in ["not checked: policies, bindings and nodes", "rabbitmq-plugins enable rabbitmq_management"] {
        assert!(ended.output.contains(words), "{words} is missing in\n{}", ended.output);
    }
    wrong
}

async fn an_alarm_is_felt(house: &House) {
    house.node.control(&["set_vm_memory_high_watermark", "0.00001"]);
    house.until_alarm(&[], "memory alarm").await;
    let elsewhere = [variable("BROKER__MANAGEMENT_URL", "http://127.0.0.1:1")];
    house.until_alarm(&elsewhere, "holds publishers up").await;
    house.node.control(&["set_vm_memory_high_watermark", "0.9"]);
    house.until_codes("healthy", &[]).await;
}

async fn a_worker_starts_only_where_nothing_goes_lost(house: &House) {
    for (virtual_host, words) in [("overflow", "overflow-drops"), ("dead-limit", "delivery-limit-wears-out")] {
        let variables = [
            house.variables(virtual_host),
            vec![variable("BROKER__DECLARE", "false"), variable("OPS__LISTEN", "127.0.0.1:0")],
        ]
        .concat();
        let ended = run(&["worker"], &variables, "").await;
        assert_eq!(ended.code, Some(1), "{virtual_host}: {ended:?}");
        assert!(ended.errors.contains("a worker would lose data here") && ended.errors.contains(words), "{ended:?}");
    }
}

async fn a_worker_says_at_its_start_that_it_can_t_share_a_quota(house: &House) {
    let url = house.node.url().replace("amqp://", "amqp://clerk:clerk@") + "mute";
    let own = vec![variable("BROKER__URL", &url), variable("OPS__LISTEN", "127.0.0.1:0")];
    let mut worker = Program::start(&["worker"], &[house.variables("mute"), own].concat(), "");
    let begun = Instant::now();
    while !["beacons-not-permitted", "takes half of it"].iter().all(|words| worker.errors().contains(words)) {
        assert!(begun.elapsed() < PATIENCE, "{}", worker.errors());
        sleep(Duration::from_millis(10)).await;
    }
    worker.terminate();
    assert_eq!(worker.ended(PATIENCE).await.code, Some(0));
}

/// What it says of queues and exchanges of another kind, as it says it.
async fn its_commands_replace_what_is_wrong(house: &House) {
    for name in ["dead-limit", "classic-results", "classic-retry", "alternate"] {
        let examined = examine(&["--consumer-timeout", "30m"], &house.variables(name)).await;
        let mend = examined["Findings"][0]["Mend"].as_str().expect("a command").to_owned();
        let (_, command) = mend.rsplit_once(": ").expect("a command after its condition");
        house.obey(command.split(';').next().unwrap_or_default()).await;
        let ended = run(&["setup"], &house.variables(name), "").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        house.until_codes(name, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_wrong_account_is_found_by_its_code_and_nothing_is_released() {
    accounts::each_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_break_a_rule_are_findings_and_never_show_a_secret() {
    let variables = [variable("BROKER__URL", "http://user:geheim@host"), variable("BROKER__PREFETCH", "0")];
    let examined = examine(&[], &variables).await;
    assert_eq!(codes(&examined), ["setting-invalid", "setting-invalid"]);
    assert!(!examined.to_string().contains("geheim"), "{examined}");
    let ended = run(&["doctor"], &[variable("BROKER__PREFETSCH", "5")], "").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.output.contains("setting-invalid") && ended.output.contains("PREFETSCH"), "{ended:?}");
}
