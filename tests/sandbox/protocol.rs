//! Who is let in: signatures, clock, nonces, tokens, operations and versions; and a quota for each account.

use bulkrelease::sandbox::{Counts, Sandbox, SandboxSettings};
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode};

use crate::sandbox::client::{Client, assert_error, milliseconds_to_wait, read, release_of};
use crate::sandbox::start;
use crate::sandbox::wire::exchange;

#[tokio::test]
async fn nobody_without_a_known_key_and_a_fresh_sound_signature_releases_anything() {
    let sandbox = Sandbox::start(SandboxSettings::default()).await.unwrap();
    let client = Client::of(&sandbox);
    assert_error(client.with_key("nobody").release(&["i-1"]).await, 404, "InvalidAccessKeyId.NotFound");
    let forger = Client { secret: "guessed", ..client.clone() };
    assert_error(forger.release(&["i-1"]).await, 400, "SignatureDoesNotMatch");
    let late = Client { date: "2001-01-31T00:00:00Z", ..client.clone() };
    assert_error(late.release(&["i-1"]).await, 400, "InvalidTimeStamp.Expired");
    assert_error(read(late.rpc(&release_of("i-1")).send().await.unwrap()).await, 400, "InvalidTimeStamp.Expired");
    let unsigned = "?Action=ReleaseInstance&Version=2017-12-14&InstanceIds=i-1";
    let unsigned = client.http.post(format!("http://{}/{unsigned}", sandbox.address())).send().await;
    assert_error(read(unsigned.unwrap()).await, 400, "MissingAccessKeyId");
    let mut altered = client.acs3(&release_of("i-1")).build().unwrap();
    altered.url_mut().query_pairs_mut().append_pair("Region", "x");
    assert_error(read(client.http.execute(altered).await.unwrap()).await, 400, "SignatureDoesNotMatch");
    assert_eq!(sandbox.counts(), Counts { unauthentic: 6, ..Counts::default() });
}

#[tokio::test]
async fn both_signatures_are_taken_by_both_methods_from_query_and_form() {
    let sandbox = start("").await;
    let mut calls = 0;
    for (method, form) in [(Method::POST, false), (Method::POST, true), (Method::GET, false)] {
        let client = Client { method, form, ..Client::of(&sandbox) };
        let (one, other) = (format!("i-acs3-{calls}"), format!("i-实例+*~-{calls}"));
        for request in [client.acs3(&release_of(&one)), client.rpc(&release_of(&other))] {
            let (status, body) = read(request.send().await.unwrap()).await;
            assert_eq!((status, &body["Data"]["ReleaseResult"]), (StatusCode::OK, &true.into()), "{body}");
            calls += 1;
        }
        assert!(
            sandbox.ledger().released.contains_key(one.as_str())
                && sandbox.ledger().released.contains_key(other.as_str())
        );
    }
    assert_eq!(sandbox.counts().accepted, calls);
}

#[tokio::test]
async fn a_replayed_request_is_refused_although_its_signature_is_good() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    for request in [client.acs3(&release_of("i-1")), client.rpc(&release_of("i-2"))] {
        let replay = request.try_clone().expect("a request without a stream can be cloned");
        assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
        assert_error(read(replay.send().await.unwrap()).await, 400, "SignatureNonceUsed");
    }
    assert_eq!((sandbox.counts().calls, sandbox.counts().unauthentic), (2, 2));
}

#[tokio::test]
async fn a_nonce_is_what_was_signed_to_the_last_character_and_no_longer_than_anybody_needs() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    let request = client.acs3(&release_of("i-1")).build().unwrap();
    for blank in ["\u{a0}", "\u{2003}"] {
        let mut replay = request.try_clone().unwrap();
        let nonce = replay.headers()["x-acs-signature-nonce"].to_str().unwrap().to_owned() + blank;
        replay.headers_mut().insert("x-acs-signature-nonce", HeaderValue::from_bytes(nonce.as_bytes()).unwrap());
        let refused = read(client.http.execute(replay).await.unwrap()).await;
        assert_error(refused, 400, "SignatureDoesNotMatch");
    }
    assert_eq!(client.http.execute(request).await.unwrap().status(), StatusCode::OK);
    for (length, status) in [(128, 200), (129, 400)] {
        let nonce: &'static str = "n".repeat(length).leak();
        let answer =
            Client { nonce: Some(nonce), ..client.clone() }.acs3(&release_of(&format!("i-{length}"))).send().await;
        assert_eq!(answer.unwrap().status(), status, "{length}");
    }
    assert_eq!((sandbox.counts().accepted, sandbox.counts().unauthentic), (2, 3));
}

#[tokio::test]
async fn a_form_is_read_only_where_its_being_one_is_signed() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    let unsigned = client.acs3(&[]).build().unwrap();
    // Not part of what was signed, and yet it would say what the body means.
    let body = "ProductCode=ecs&SubscriptionType=PayAsYouGo&InstanceIds=i-1";
    let form = Client { body: Some(body), ..client.clone() }.acs3(&[]);
    let form = form.header("content-type", "application/x-www-form-urlencoded").send().await;
    assert_error(read(form.unwrap()).await, 400, "IncompleteSignature");
    assert_error(read(client.http.execute(unsigned).await.unwrap()).await, 400, "MissingProductCode");
    assert_eq!(sandbox.counts().unauthentic, 1);
}

#[tokio::test]
async fn other_methods_and_what_is_not_utf_8_or_too_large_is_refused_in_json_and_counted() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH] {
        let answer = Client { method: method.clone(), ..client.clone() }.acs3(&release_of("i-1")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{method}");
        if method != Method::HEAD {
            assert_error(read(answer).await, 405, "UnsupportedHTTPMethod");
        }
    }
    let url = format!("http://{}/", sandbox.address());
    let garbled = client.http.post(format!("{url}?Action=ReleaseInstance&InstanceIds=i-%FF")).send().await;
    assert_error(read(garbled.unwrap()).await, 400, "InvalidParameter");
    let large = client.http.post(&url).body("x".repeat(300 * 1024)).send().await;
    assert_error(read(large.unwrap()).await, 413, "InvalidParameter");
    let elsewhere = client.http.post(format!("{url}elsewhere")).send().await;
    assert_error(read(elsewhere.unwrap()).await, 404, "InvalidApi.NotFound");
    assert_eq!(sandbox.counts(), Counts { unauthentic: 8, ..Counts::default() });
}

#[tokio::test]
async fn a_body_that_stays_away_is_answered_with_what_may_be_tried_again() {
    let sandbox = start("").await;
    let wire = "POST /?Action=ReleaseInstance HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\nshort";
    let answer = exchange(sandbox.address(), wire.as_bytes()).await;
    assert_eq!((answer.status(), &answer.json()["Code"]), (503, &"ServiceUnavailable".into()));
    assert_eq!(sandbox.counts().unauthentic, 1);
}

#[tokio::test]
async fn only_http_1_is_spoken() {
    let sandbox = start("").await;
    let http = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    assert!(http.get(format!("http://{}/", sandbox.address())).send().await.is_err());
}

#[tokio::test]
async fn another_operation_version_or_format_is_not_served() {
    let sandbox = start("").await;
    let client = Client::of(&sandbox);
    let cases = [
        ("QueryOrders", "2017-12-14", 404, "InvalidApi.NotFound"),
        ("ReleaseInstance", "2014-11-11", 400, "InvalidVersion"),
        ("", "2017-12-14", 400, "MissingAction"),
        ("ReleaseInstance", "", 400, "MissingVersion"),
    ];
    for (action, version, status, code) in cases {
        let client = Client { action, version, ..client.clone() };
        assert_error(client.release(&["i-1"]).await, status, code);
        assert_error(read(client.rpc(&release_of("i-1")).send().await.unwrap()).await, status, code);
    }
    let in_format = |format| {
        let mut parameters = release_of("i-1").to_vec();
        parameters.push(("Format", format));
        client.rpc(&parameters)
    };
    assert_error(read(in_format("XML").send().await.unwrap()).await, 400, "InvalidFormat");
    assert_eq!(read(in_format("json").send().await.unwrap()).await.0, StatusCode::OK);
    let undated = Client { date: "", ..client.clone() };
    assert_error(read(undated.rpc(&release_of("i-2")).send().await.unwrap()).await, 400, "MissingTimestamp");
    let elsewhere = client.http.get(format!("http://{}/other", sandbox.address())).send().await;
    assert_error(read(elsewhere.unwrap()).await, 404, "InvalidApi.NotFound");
}

#[tokio::test]
async fn a_temporary_credential_needs_its_own_token_while_it_is_good() {
    let sandbox = start(
        "access_keys = [
            { id = 'plain', secret = 'plain' }, { id = 'off', secret = 'off', active = false },
            { id = 'STS.1', secret = 'STS.1', security_token = 'token-1', expires_after = '1h' },
            { id = 'STS.2', secret = 'STS.2', security_token = 'token-2', expires_after = '0s' },
        ]",
    )
    .await;
    let with = |key, security_token| Client { security_token, ..Client::of(&sandbox).with_key(key) };
    let cases = [
        ("off", None, "InvalidAccessKeyId.Inactive"),
        ("STS.1", None, "MissingSecurityToken"),
        ("STS.1", Some("token"), "InvalidSecurityToken.Malformed"),
        ("STS.1", Some("token-2"), "InvalidSecurityToken.MismatchWithAccessKey"),
        ("plain", Some("token-1"), "InvalidSecurityToken.MismatchWithAccessKey"),
        ("STS.2", Some("token-2"), "InvalidSecurityToken.Expired"),
    ];
    for (key, token, code) in cases {
        assert_error(with(key, token).release(&["i-1"]).await, 400, code);
        let rpc = with(key, token).rpc(&release_of("i-1")).send().await;
        assert_error(read(rpc.unwrap()).await, 400, code);
    }
    assert_eq!(sandbox.counts().calls, 0);
    assert_eq!(with("STS.1", Some("token-1")).release(&["i-1"]).await.0, StatusCode::OK);
    let rpc = with("STS.1", Some("token-1")).rpc(&release_of("i-2")).send().await;
    assert_eq!(rpc.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn each_account_and_operation_has_a_quota_of_its_own_that_its_keys_share() {
    let sandbox = start(
        "calls_per_second = 0.01
        retry_after = true
        accounts = { one = {}, two = { calls_per_second = 0.02 } }
        access_keys = [
            { id = 'one', secret = 'one', account = 'one' }, { id = 'user', secret = 'user', account = 'one' },
            { id = 'two', secret = 'two', account = 'two' },
        ]",
    )
    .await;
    let client = |key| Client::of(&sandbox).with_key(key);
    assert_eq!(client("one").release(&["i-1"]).await.0, StatusCode::OK);
    for (key, longest) in [("user", 100_000), ("two", 50_000)] {
        if key == "two" {
            assert_eq!(client(key).release(&["i-2"]).await.0, StatusCode::OK);
        }
        let throttled = client(key).acs3(&release_of("i-3")).send().await.unwrap();
        let wait = milliseconds_to_wait(throttled.headers()).unwrap();
        assert!((longest / 2..=longest).contains(&wait), "{wait}");
        assert_error(read(throttled).await, 400, "Throttling.User");
    }
    assert_eq!(client("one").existing("i-1,i-9").await, ["i-9"]);
    let counts = sandbox.counts();
    assert_eq!((counts.calls, counts.throttled, counts.ids_released, counts.queries), (4, 2, 2, 1));
}

#[tokio::test]
async fn without_being_asked_a_sandbox_does_not_say_how_long_to_wait() {
    let sandbox = start("calls_per_second = 0.01").await;
    let client = Client::of(&sandbox);
    client.release(&["i-1"]).await;
    let throttled = client.acs3(&release_of("i-2")).send().await.unwrap();
    assert_eq!(milliseconds_to_wait(throttled.headers()), None);
}
