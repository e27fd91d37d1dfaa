//! Calls that fail: what is on the wire, and whether they took effect.

use std::io::ErrorKind;

use bulkrelease::sandbox::{FaultAnswer, Sandbox};
use reqwest::Method;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sandbox::client::{Client, assert_error, read, release_of};
use crate::sandbox::wire::{Answer, exchange};
use crate::sandbox::{PATIENCE, start};

/// The answer to a call for one id, as it travels.
async fn answer(sandbox: &Sandbox) -> Answer {
    let request = Client::of(sandbox).acs3(&release_of("i-1")).build().expect("a request");
    let url = request.url();
    let mut wire = format!("POST {}?{} HTTP/1.1\r\n", url.path(), url.query().expect("parameters"));
    for (name, value) in request.headers() {
        wire += &format!("{name}: {}\r\n", value.to_str().expect("a text"));
    }
    wire += "content-length: 0\r\n\r\n";
    exchange(sandbox.address(), wire.as_bytes()).await
}

/// The answer to a call that is struck by this rule, and whether it took effect.
async fn struck(rule: &str) -> (Answer, bool) {
    let sandbox = start(&format!("faults = [{{ answer = {rule} }}]")).await;
    let answer = answer(&sandbox).await;
    let ledger = sandbox.ledger();
    assert_eq!(ledger.counts.faults.values().sum::<u64>(), 1, "{rule}");
    (answer, ledger.released.contains_key("i-1"))
}

#[tokio::test]
async fn an_error_in_json_says_what_its_rule_says_and_takes_effect_only_where_it_lands() {
    let cases = [
        ("'internal-error'", 500, "InternalError", false),
        ("'internal-error', lands = true", 500, "InternalError", true),
        ("'service-unavailable'", 503, "ServiceUnavailable", false),
        ("'concurrent-operate'", 200, "SYSTEM.CONCURRENT_OPERATE", false),
        ("'throttled'", 400, "Throttling.User", false),
        ("'token-expired'", 400, "InvalidSecurityToken.Expired", false),
        ("'key-inactive'", 400, "InvalidAccessKeyId.Inactive", false),
        ("'failure-as-success'", 200, "Success", false),
        ("'failure-as-success', lands = true", 200, "Success", true),
        ("'contradictory'", 200, "Success", false),
        ("'contradictory', lands = true", 200, "Success", true),
        ("'honest', latency = '1ms'", 200, "Success", true),
        ("'odd-code', lands = true", 200, "Invalid_Product_Code", true),
        ("'error', status = 429, code = 'Throttling'", 429, "Throttling", false),
        ("'error', status = 400, code = 'Forbidden.RiskControl'", 400, "Forbidden.RiskControl", false),
        ("'error', status = 418, code = 'Teapot'", 418, "Teapot", false),
        ("'error', status = 200, code = 'RESOURCE_NOT_FOUND'", 200, "RESOURCE_NOT_FOUND", false),
        ("'error', status = 500, code = 'Odd', lands = true", 500, "Odd", true),
        ("'hang', hang_for = '1ms'", 500, "InternalError", false),
        ("'hang', hang_for = '1ms', lands = true", 200, "Success", true),
    ];
    for (rule, status, code, effect) in cases {
        let (answer, landed) = struck(rule).await;
        assert_eq!((answer.status(), answer.json()["Code"].as_str(), landed), (status, Some(code), effect), "{rule}");
        assert_eq!(answer.end, None, "{rule}");
    }
}

#[tokio::test]
async fn an_answer_that_contradicts_itself_does_so_in_its_fields() {
    let fields = |answer: &Answer| (answer.json()["Success"].clone(), answer.json()["Data"]["ReleaseResult"].clone());
    assert_eq!(fields(&struck("'contradictory'").await.0), (true.into(), false.into()));
    assert_eq!(fields(&struck("'failure-as-success'").await.0), (false.into(), serde_json::Value::Null));
    assert_eq!(fields(&struck("'concurrent-operate'").await.0).0, false);
    assert_eq!(fields(&struck("'odd-code', lands = true").await.0), (true.into(), true.into()));
    let own = struck("'error', status = 200, code = 'X', message = 'why'").await.0;
    assert_eq!((fields(&own).0, &own.json()["Message"]), (false.into(), &"why".into()));
}

#[tokio::test]
async fn a_query_that_is_struck_is_answered_in_its_own_shape() {
    let sandbox = start("faults = [{ answer = 'contradictory', action = 'QueryAvailableInstances' }]").await;
    let query = Client { action: "QueryAvailableInstances", ..Client::of(&sandbox) };
    let data = query.call(&[("InstanceIDs", "i-1")]).await.1["Data"].clone();
    assert_eq!((&data["InstanceList"], &data["TotalCount"]), (&serde_json::json!([]), &1.into()));
    assert!(data.get("ReleaseResult").is_none(), "{data}");
}

#[tokio::test]
async fn a_time_to_wait_is_written_as_its_rule_writes_it() {
    for wait in ["0", "-1", "soon", "99999999999999999999"] {
        for status in [200, 400, 429] {
            let rule = format!("'error', status = {status}, code = 'X', retry_after = '{wait}'");
            assert_eq!(struck(&rule).await.0.header("x-acs-retry-after"), Some(wait));
        }
    }
}

#[tokio::test]
async fn ids_that_no_careful_client_sends_count_whatever_the_answer_is() {
    let sandbox = start(
        "calls_per_second = 0.001
        faults = [{ answer = 'reset', action = 'QueryAvailableInstances' }]",
    )
    .await;
    let client = Client::of(&sandbox);
    let many = vec!["i-1"; 101].join(",");
    // The first call has the only token and is unsound besides; the second is throttled; the third gets no answer.
    assert_error(client.call(&[("InstanceIds", &many)]).await, 400, "MissingProductCode");
    assert_error(client.release(&["i-1", " i-2"]).await, 400, "Throttling.User");
    let query = Client { action: "QueryAvailableInstances", ..client.clone() };
    assert!(query.acs3(&[("InstanceIDs", "i-1,,i-2")]).send().await.is_err());
    assert_eq!(sandbox.counts().violations, 3);
    let calls = sandbox.ledger().calls;
    assert_eq!((calls[0].call.instance_ids.len(), calls[0].call.id_count), (101, 101));
}

#[tokio::test]
async fn a_reset_is_a_reset_before_and_after_the_effect() {
    for (rule, effect) in [("'reset'", false), ("'reset', lands = true", true)] {
        let (answer, landed) = struck(rule).await;
        assert_eq!((answer.head.as_str(), answer.end), ("", Some(ErrorKind::ConnectionReset)), "{rule}");
        assert_eq!(landed, effect);
    }
}

#[tokio::test]
async fn a_truncated_answer_promises_more_than_it_sends() {
    for (rule, effect) in [("'truncated'", false), ("'truncated', lands = true", true)] {
        let (answer, landed) = struck(rule).await;
        assert_eq!(answer.status(), if effect { 200 } else { 500 });
        assert!(!answer.body.is_empty() && answer.body.len() < answer.promised(), "{answer:?}");
        assert_eq!((answer.end, landed), (Some(ErrorKind::UnexpectedEof), effect), "{rule}");
    }
}

#[tokio::test]
async fn what_is_not_the_apis_json_looks_as_proxies_and_portals_have_it() {
    let json = "application/json;charset=utf-8";
    for lands in [false, true] {
        let of = async |rule: &str| {
            let (answer, landed) = struck(&format!("'{rule}', lands = {lands}")).await;
            assert_eq!((landed, answer.end), (lands, None), "{rule}");
            answer
        };
        let empty = of("empty").await;
        assert_eq!((empty.status(), empty.promised(), empty.body.len()), (200, 0, 0));
        for (rule, status) in [("html", 200), ("html-error", 502)] {
            let html = of(rule).await;
            assert!(html.body.starts_with(b"<html>") && html.header("content-type").unwrap().starts_with("text/html"));
            assert_eq!(html.status(), status);
        }
        let mislabelled = of("wrong-content-type").await;
        assert_eq!(mislabelled.header("content-type"), Some("text/plain"));
        assert_eq!(mislabelled.json()["Success"] == true, lands);
        let slow = of("slow-body', hang_for = '50ms', action = 'ReleaseInstance").await;
        assert_eq!((slow.body.len(), slow.header("content-type")), (slow.promised(), Some(json)));
        assert_eq!(slow.json()["Success"] == true, lands);
    }
    let (redirect, landed) = struck("'redirect'").await;
    assert_eq!((redirect.status(), redirect.header("location"), landed), (302, Some("/elsewhere"), false));
}

#[tokio::test]
async fn a_call_that_hangs_has_or_has_not_taken_effect_as_its_fault_says() {
    for effect in [true, false] {
        let sandbox = start(&format!("faults = [{{ answer = 'hang', lands = {effect} }}]")).await;
        let client = Client::of(&sandbox);
        tokio::select! {
            _ = client.release(&["i-1"]) => panic!("a hanging call was answered"),
            arrived = timeout(PATIENCE, sandbox.until_calls(1)) => arrived.unwrap(),
        }
        assert_eq!(sandbox.ledger().released_ids().contains("i-1"), effect);
    }
}

#[tokio::test]
async fn a_sandbox_that_stops_answers_what_hangs_and_leaves_its_port() {
    let sandbox = start("faults = [{ answer = 'hang' }]").await;
    let (client, address) = (Client::of(&sandbox), sandbox.address());
    let hanging = tokio::spawn(async move { client.release(&["i-1"]).await });
    timeout(PATIENCE, sandbox.until_calls(1)).await.unwrap();
    timeout(PATIENCE, sandbox.stop()).await.unwrap().unwrap();
    assert_error(timeout(PATIENCE, hanging).await.unwrap().unwrap(), 500, "InternalError");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_rule_strikes_only_its_ids_its_operation_and_every_nth_call() {
    let sandbox = start(
        "faults = [{ answer = 'service-unavailable', ids = 'i-bad-*' }, { answer = 'internal-error', every = 3 },
            { answer = 'throttled', action = 'QueryAvailableInstances' }]",
    )
    .await;
    let client = Client::of(&sandbox);
    assert_error(client.release(&["i-1", "i-bad-1"]).await, 503, "ServiceUnavailable");
    for (number, status) in [200, 200, 500, 200].into_iter().enumerate() {
        assert_eq!(client.release(&[&format!("i-{number}")]).await.0.as_u16(), status, "{number}");
    }
    let query = Client { action: "QueryAvailableInstances", ..client };
    assert_error(query.call(&[("InstanceIDs", "i-1")]).await, 400, "Throttling.User");
    assert_eq!(sandbox.ledger().calls[0].fault, Some(FaultAnswer::ServiceUnavailable));
}

#[tokio::test]
async fn faults_are_switched_while_the_sandbox_runs() {
    let sandbox = start("admin = true").await;
    let client = Client::of(&sandbox);
    let rules = r#"[{"answer":"internal-error","lands":true,"share":1}]"#;
    let (status, now) = client.admin(Method::PUT, "faults", rules).await;
    assert_eq!((status.as_u16(), &now[0]["answer"], &now[0]["lands"]), (200, &"internal-error".into(), &true.into()));
    assert_error(client.release(&["i-1"]).await, 500, "InternalError");
    assert_eq!(client.admin(Method::GET, "faults", "").await.1, now);
    assert_eq!(client.admin(Method::PUT, "faults", "[]").await.0.as_u16(), 200);
    assert_error(client.release(&["i-1"]).await, 400, "ResourceNotExists");
    for (body, named) in [
        ("nonsense", "faults: expected ident"),
        ("[] []", "faults: trailing characters"),
        (r#"[{"answer":"reset"}]x"#, "faults: trailing characters"),
        (r#"[{"answer":"boom"}]"#, "faults[0].answer: unknown variant `boom`"),
        (r#"[{"answer":"reset"},{"answer":"redirect","lands":true}]"#, "faults[1].lands"),
        (r#"[{"answer":"reset","shear":1}]"#, "shear"),
    ] {
        let (status, problem) = client.admin(Method::PUT, "faults", body).await;
        assert_eq!(status.as_u16(), 400);
        assert!(problem["Error"].as_str().unwrap().contains(named), "{body}: {problem}");
    }
    assert_eq!(read(client.acs3(&release_of("i-2")).send().await.unwrap()).await.0.as_u16(), 200);
}
