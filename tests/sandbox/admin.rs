//! Ledger and control: `/_sandbox/`.

use jiff::Timestamp;
use reqwest::{Method, StatusCode};

use crate::sandbox::client::{Client, is_request_id};
use crate::sandbox::start;

#[tokio::test]
async fn only_a_sandbox_that_was_told_to_shows_anything() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    for (method, page) in [
        (Method::GET, "counts"),
        (Method::GET, "calls"),
        (Method::GET, "releases"),
        (Method::GET, "instances/i-1"),
        (Method::GET, "faults"),
        (Method::PUT, "faults"),
        (Method::POST, "reset"),
    ] {
        let (status, body) = client.admin(method, page, "[]").await;
        assert_eq!((status, body["Code"].as_str()), (StatusCode::NOT_FOUND, Some("InvalidApi.NotFound")), "{page}");
    }
}

#[tokio::test]
async fn every_call_and_every_release_is_shown_in_parts() {
    let sandbox = start("admin = true\ninstances = [{ ids = 'i-gone', state = 'gone' }, { ids = '*' }]").await;
    let client = Client::of(&sandbox);
    let (_, released) = client.release(&["i-1", "i-2"]).await;
    client.release(&["i-gone"]).await;
    client.existing("i-1").await;
    let get = async |page: &str| client.admin(Method::GET, page, "").await.1;

    let calls = get("calls").await;
    assert_eq!((calls["Calls"].as_array().unwrap().len(), &calls["Next"]), (3, &serde_json::Value::Null));
    let first = &calls["Calls"][0];
    assert_eq!(
        (&first["Number"], &first["Account"], &first["AccessKey"]),
        (&0.into(), &"default".into(), &"sandbox".into())
    );
    assert_eq!((&first["Action"], &first["ProductCode"]), (&"ReleaseInstance".into(), &"ecs".into()));
    assert_eq!(
        (&first["InstanceIds"], &first["Released"]),
        (&serde_json::json!(["i-1", "i-2"]), &first["InstanceIds"])
    );
    assert_eq!((&first["Code"], &first["Fault"]), (&"Success".into(), &serde_json::Value::Null));
    assert_eq!(first["RequestId"], released["RequestId"]);
    assert!(is_request_id(&first["RequestId"]) && first["At"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(calls["Calls"][1]["Code"], "ResourceNotExists");
    assert_eq!(calls["Calls"][2]["Action"], "QueryAvailableInstances");

    let part = get("calls?from=1&limit=1").await;
    assert_eq!((&part["Calls"][0]["Number"], &part["Next"]), (&1.into(), &2.into()));
    assert_eq!(get("calls?from=9").await, serde_json::json!({ "Calls": [], "Next": null }));
    let releases = get("releases?from=1").await;
    let second = &releases["Releases"][0];
    assert_eq!((&second["InstanceId"], &second["Call"]), (&"i-2".into(), &0.into()));
    assert_eq!((&second["RequestId"], &second["At"]), (&first["RequestId"], &first["At"]));

    let (status, problem) = client.admin(Method::GET, "calls?form=1", "").await;
    assert!(status == StatusCode::BAD_REQUEST && problem["Error"].as_str().unwrap().contains("form"), "{problem}");
    for (method, page, expected) in [
        (Method::GET, "calls?limit=0", StatusCode::BAD_REQUEST),
        (Method::GET, "releases?limit=0", StatusCode::BAD_REQUEST),
        (Method::GET, "instances/%FF", StatusCode::BAD_REQUEST),
        (Method::DELETE, "calls", StatusCode::METHOD_NOT_ALLOWED),
        (Method::GET, "reset", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let (status, problem) = client.admin(method, page, "").await;
        assert!(status == expected && problem["Error"].is_string(), "{page}: {status} {problem}");
    }
}

#[tokio::test]
async fn an_instance_is_looked_up_and_counts_add_up() {
    let sandbox =
        start("admin = true\ninstances = [{ ids = 'i-*', product = 'ecs', state = 'locked' }, { ids = 'rm-1' }]").await;
    let client = Client::of(&sandbox);
    let look = async |id: &str| client.admin(Method::GET, &format!("instances/{id}"), "").await.1;
    assert_eq!((&look("i-1").await["State"], &look("i-1").await["ProductCode"]), (&"locked".into(), &"ecs".into()));
    assert_eq!(look("x-1").await["State"], "gone");
    client.release(&["rm-1"]).await;
    let released = look("rm-1").await;
    assert_eq!((&released["State"], &released["Released"]["Call"]), (&"gone".into(), &0.into()));
    let counts = client.admin(Method::GET, "counts", "").await.1;
    assert_eq!((&counts["Calls"], &counts["IdsReleased"], &counts["Queries"]), (&1.into(), &1.into(), &0.into()));
}

#[tokio::test]
async fn a_reset_makes_everything_as_it_was_at_the_start() {
    let sandbox = start("admin = true\ncalls_per_second = 0.01").await;
    let client = Client::of(&sandbox);
    client.release(&["i-1"]).await;
    client.admin(Method::PUT, "faults", r#"[{"answer":"hang"}]"#).await;
    assert_eq!(client.admin(Method::POST, "reset", "").await.0, StatusCode::NO_CONTENT);
    assert!(sandbox.ledger().calls.is_empty() && sandbox.ledger().released.is_empty());
    assert_eq!(client.release(&["i-1"]).await.0, StatusCode::OK);
    assert_eq!((sandbox.counts().calls, sandbox.ledger().releases.len()), (1, 1));
}
