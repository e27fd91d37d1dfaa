//! Reading back: `QueryAvailableInstances`.

use reqwest::StatusCode;

use crate::sandbox::client::{Client, assert_error, is_request_id};
use crate::sandbox::start;

#[tokio::test]
async fn what_was_released_is_no_longer_available() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    client.release(&["i-2"]).await;
    assert_eq!(client.existing("i-1,i-2,i-3").await, ["i-1", "i-3"]);
    let counts = sandbox.counts();
    assert_eq!((counts.calls, counts.queries), (1, 1));
    assert_eq!(sandbox.ledger().times_asked()["i-2"], 1);
}

#[tokio::test]
async fn an_instance_is_shown_in_the_vendors_shape_with_what_is_known_of_it() {
    let sandbox =
        start("instances = [{ ids = 'i-1', product = 'ecs', region = 'cn-hangzhou', state = 'locked' }]").await;
    let client = Client { action: "QueryAvailableInstances", ..Client::of(&sandbox) };
    let (status, body) = client.call(&[("InstanceIDs", "i-1"), ("SubscriptionType", "Subscription")]).await;
    assert_eq!((status, &body["Code"], &body["Success"]), (StatusCode::OK, &"Success".into(), &true.into()));
    assert!(is_request_id(&body["RequestId"]), "{body}");
    let instance = &body["Data"]["InstanceList"][0];
    let expected = serde_json::json!({
        "InstanceID": "i-1", "OwnerId": instance["OwnerId"], "Status": "Normal", "SubStatus": "Locked", "ProductCode": "ecs",
        "SubscriptionType": "Subscription", "Region": "cn-hangzhou",
    });
    assert_eq!(instance, &expected);
    assert!(instance["OwnerId"].is_u64());
}

#[tokio::test]
async fn only_an_accounts_own_instances_that_fit_are_listed_a_page_at_a_time() {
    let sandbox = start(
        "instances = [{ ids = 'i-{01..25}', product = 'ecs' }, { ids = 'i-07', owner = 'stranger' }, { ids = 'rm-1', product = 'rds' },
            { ids = 'x-1', owner = 'stranger' }, { ids = 'y-*' }]",
    )
    .await;
    let client = Client { action: "QueryAvailableInstances", ..Client::of(&sandbox) };
    let page = async |parameters: &[(&str, &str)]| {
        let (status, body) = client.call(parameters).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let data = body["Data"].clone();
        let list = data["InstanceList"].as_array().unwrap().clone();
        let ids: Vec<String> =
            list.iter().map(|instance| instance["InstanceID"].as_str().unwrap().to_owned()).collect();
        (ids, data["TotalCount"].as_u64().unwrap(), data["PageSize"].as_u64().unwrap())
    };
    let (ids, total, size) = page(&[]).await;
    assert_eq!((ids.len(), ids[0].as_str(), total, size), (20, "i-01", 26, 20));
    let (ids, total, _) = page(&[("PageNum", "2")]).await;
    assert_eq!((ids.len(), ids[5].as_str(), total), (6, "rm-1", 26));
    let (ids, total, _) = page(&[("ProductCode", "ecs"), ("PageSize", "10"), ("PageNum", "3")]).await;
    assert_eq!((ids.len(), ids[4].as_str(), total), (5, "i-25", 25));
    let (ids, ..) = page(&[("InstanceIDs", "x-1,y-9,z-1,i-03")]).await;
    assert_eq!(ids, ["y-9", "i-03"]);
}

#[tokio::test]
async fn a_query_is_refused_by_the_parameter_at_fault() {
    let sandbox = start("instances = [{ ids = 'i-{00000..10000}' }]").await;
    let client = Client { action: "QueryAvailableInstances", ..Client::of(&sandbox) };
    let many = (0..101).map(|number| format!("i-{number}")).collect::<Vec<_>>().join(",");
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[("InstanceIDs", &many)], "InvalidParameter"),
        (&[("Region", "cn-hangzhou")], "MissingProductCode"),
        (&[("PageNum", "0")], "InvalidPageNum"),
        (&[("PageNum", "+2")], "InvalidPageNum"),
        (&[("PageSize", "301")], "InvalidPageSize"),
        (&[("PageSize", "many")], "InvalidPageSize"),
        (&[("RenewStatus", "Never")], "InvalidRenewStatus"),
        (&[("SubscriptionType", "Monthly")], "InvalidSubscriptionType"),
        (&[("CreateTimeStart", "2016-05-23T12:00:00Z")], "UnsupportedParameter"),
        (&[], "InvalidParameter"),
    ];
    for (parameters, code) in cases {
        assert_error(client.call(parameters).await, 400, code);
    }
}
