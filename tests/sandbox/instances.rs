//! What a release does to instances, and what it is refused for.

use bulkrelease::sandbox::{Counts, Sandbox, SandboxSettings};
use reqwest::StatusCode;

use crate::sandbox::client::{Client, assert_error, is_request_id};
use crate::sandbox::start;

#[tokio::test]
async fn a_released_batch_is_answered_and_written_down() {
    let sandbox = start("").await;
    let (status, body) = Client::of(&sandbox).release(&["i-1", "i-2"]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body["Code"], &body["Success"], &body["Data"]["ReleaseResult"]),
        (&"Success".into(), &true.into(), &true.into())
    );
    assert_eq!(body["Data"]["HostId"], sandbox.address().to_string());
    assert!(is_request_id(&body["RequestId"]), "{body}");
    let ledger = sandbox.ledger();
    assert_eq!(ledger.counts, Counts { calls: 1, accepted: 1, ids_released: 2, ..Counts::default() });
    assert!(ledger.released_ids().into_iter().eq(["i-1", "i-2"]));
    assert_eq!(ledger.calls[0].call.product_code.as_deref(), Some("ecs"));
    assert_eq!((ledger.calls[0].code.as_deref(), &*ledger.calls[0].access_key), (Some("Success"), "sandbox"));
    sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_above_a_hundred_ids_releases_nothing_and_is_held_against_the_caller() {
    let sandbox = start("").await;
    let ids: Vec<String> = (0..101).map(|number| format!("i-{number}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let client = Client::of(&sandbox);
    assert_error(client.release(&ids).await, 400, "InvalidParameter");
    assert_eq!(client.release(&ids[..100]).await.0, StatusCode::OK);
    let counts = sandbox.counts();
    assert_eq!((counts.violations, counts.refused, counts.ids_released), (1, 1, 100));
    assert_eq!(sandbox.ledger().times_asked()["i-100"], 1);
}

#[tokio::test]
async fn a_parameter_at_fault_is_named_by_its_code() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    let good = [
        ("ProductCode", "ecs"),
        ("SubscriptionType", "PayAsYouGo"),
        ("InstanceIds", "i-1"),
        ("ProductType", "ecs"),
        ("Region", "cn-hangzhou"),
        ("RenewStatus", "ManualRenewal"),
        ("OwnerId", "1234567890123456"),
    ];
    let cases = [
        (0, "", "MissingProductCode"),
        (1, "", "MissingSubscriptionType"),
        (1, "Monthly", "InvalidSubscriptionType"),
        (2, "", "MissingInstanceIds"),
        (2, "i-1,,i-2", "InvalidParameter"),
        (2, "i-1,i-1", "InvalidParameter"),
        (2, "i-1, i-2", "InvalidParameter"),
        (5, "Never", "InvalidRenewStatus"),
        (6, "9223372036854775808", "InvalidOwnerId"),
    ];
    for (place, value, code) in cases {
        let mut parameters = good;
        parameters[place].1 = value;
        assert_error(client.call(&parameters).await, 400, code);
    }
    assert_eq!((sandbox.counts().ids_released, sandbox.counts().violations), (0, 3));
    assert_eq!(client.call(&good).await.0, StatusCode::OK);
}

#[tokio::test]
async fn an_instance_is_released_once_and_then_does_not_exist() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    assert_eq!(client.release(&["i-1"]).await.0, StatusCode::OK);
    assert_error(client.release(&["i-1"]).await, 400, "ResourceNotExists");
    assert_eq!((sandbox.counts().ids_released, sandbox.ledger().times_asked()["i-1"]), (1, 2));
}

#[tokio::test]
async fn each_instance_is_refused_for_what_is_wrong_with_it() {
    let sandbox = start(
        "instances = [
            { ids = 'i-gone-*', state = 'gone' }, { ids = 'i-locked', state = 'locked' }, { ids = 'i-foreign', owner = 'stranger' },
            { ids = 'i-own', owner = 'default', product = 'ecs', subscription_type = 'PayAsYouGo', region = 'cn-hangzhou' },
            { ids = 'i-rds', product = 'rds' }, { ids = 'i-prepaid', subscription_type = 'Subscription' },
        ]",
    )
    .await;
    let client = Client::of(&sandbox);
    let cases = [
        ("i-gone-1", "ResourceNotExists"),
        ("i-nowhere", "ResourceNotExists"),
        ("i-locked", "ResourceStatusError"),
        ("i-foreign", "InvalidOwner"),
        ("i-rds", "InvalidInstanceId"),
        ("i-prepaid", "InvalidInstanceId"),
    ];
    for (id, code) in cases {
        assert_error(client.release(&[id]).await, 400, code);
    }
    assert_eq!(client.release(&["i-own"]).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bad_id_spoils_its_whole_batch_only_where_calls_are_atomic() {
    for atomic in [true, false] {
        let rules = "{ ids = 'foreign-*', owner = 'stranger' }, { ids = 'gone-*', state = 'gone' }, { ids = '*' }";
        let sandbox = start(&format!("atomic = {atomic}\nname_ids = {}\ninstances = [{rules}]", !atomic)).await;
        let answer = Client::of(&sandbox).release(&["i-1", "foreign-1", "gone-1"]).await;
        assert_eq!(answer.1["Message"].as_str().unwrap().contains("foreign-1"), !atomic);
        assert_error(answer, 400, "InvalidOwner");
        assert_eq!(sandbox.ledger().released_ids().contains("i-1"), !atomic);
    }
}

#[tokio::test]
async fn five_million_instances_are_there_at_once_and_cost_what_is_done_to_them() {
    let sandbox = start("instances = [{ ids = 'i-{0000000..4999999}' }]").await;
    let client = Client::of(&sandbox);
    assert_eq!(client.release(&["i-0000000", "i-4999999"]).await.0, StatusCode::OK);
    assert_error(client.release(&["i-5000000"]).await, 400, "ResourceNotExists");
    assert_error(client.release(&["i-4999999"]).await, 400, "ResourceNotExists");
    assert_eq!(sandbox.ledger().released.len(), 2);
}

#[tokio::test]
async fn a_files_instances_are_there_and_rules_come_before_them() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "InstanceId,ProductCode,State\ni-1,,\ni-2,rds,\ni-3,,locked\n").unwrap();
    let path = file.path().display();
    let sandbox = start(&format!("instances_file = '{path}'\ninstances = [{{ ids = 'i-3' }}]")).await;
    let client = Client::of(&sandbox);
    assert_eq!(client.release(&["i-1", "i-3"]).await.0, StatusCode::OK);
    assert_error(client.release(&["i-2"]).await, 400, "InvalidInstanceId");
    assert_error(client.release(&["i-4"]).await, 400, "ResourceNotExists");
}

#[tokio::test]
async fn settings_that_can_not_be_are_refused_by_name() {
    let cases = [
        ("faults = [{ answer = 'hang', share = 2 }]", "faults[0].share is 2"),
        ("faults = [{ answer = 'redirect', lands = true }]", "faults[0].lands can't be true"),
        ("access_keys = []", "access_keys is empty"),
        ("access_keys = [{ id = 'a', secret = 'b', account = 'c' }]", "access_keys[0].account is \"c\""),
        ("instances_file = '/no/such/file.csv'", "instances_file names /no/such/file.csv"),
        ("calls_per_second = 0", "calls_per_second is 0"),
    ];
    for (text, expected) in cases {
        let settings: SandboxSettings = text.parse().unwrap();
        let problem = Sandbox::start(settings).await.err().expect(text).to_string();
        assert!(problem.starts_with(expected), "{text}: {problem}");
    }
}
