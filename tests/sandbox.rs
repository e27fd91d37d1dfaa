//! The sandbox over the wire: what a client that rehearses against it relies on.

use std::net::SocketAddr;
use std::time::Duration;

use bulkrelease::api::signature::{Parameter, canonical_query, v3};
use bulkrelease::sandbox::{AccessKey, Counts, FaultAnswer, FaultRule, InstanceRule, Sandbox, SandboxSettings};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far longer than anything here takes, far shorter than a hanging call hangs.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_released_batch_is_answered_and_written_down() {
    let sandbox = start(any_time()).await;
    let (status, body) = Client::of(&sandbox).release(&["i-1", "i-2"]).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&body["Code"], &body["Success"], &body["Data"]["ReleaseResult"]),
        (&"Success".into(), &true.into(), &true.into())
    );
    assert_eq!(body["Data"]["HostId"], sandbox.address().to_string());
    let request_id = body["RequestId"].as_str().unwrap();
    assert!(request_id.len() == 36 && request_id == request_id.to_uppercase(), "{request_id}");
    let ledger = sandbox.ledger();
    assert_eq!(ledger.counts, Counts { calls: 1, accepted: 1, ids_released: 2, ..Counts::default() });
    assert!(ledger.released_ids().into_iter().eq(["i-1", "i-2"]));
    assert_eq!(ledger.calls[0].call.product_code.as_deref(), Some("ecs"));
    assert_eq!((ledger.calls[0].code.as_deref(), &*ledger.calls[0].access_key), (Some("Success"), "sandbox"));
    sandbox.stop().await.unwrap();
}

#[tokio::test]
async fn a_call_above_a_hundred_ids_releases_nothing_and_is_held_against_the_caller() {
    let sandbox = start(any_time()).await;
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
async fn nobody_without_a_known_key_and_a_fresh_sound_signature_releases_anything() {
    let sandbox = start(SandboxSettings { check_clock: true, ..any_time() }).await;
    let client = Client::of(&sandbox);
    let stranger = Client { access_key_id: "nobody", ..client.clone() };
    assert_error(stranger.release(&["i-1"]).await, 404, "InvalidAccessKeyId.NotFound");
    let forger = Client { secret: "guessed", ..client.clone() };
    assert_error(forger.release(&["i-1"]).await, 400, "SignatureDoesNotMatch");
    let late = Client { date: "2001-01-31T00:00:00Z", ..client.clone() };
    assert_error(late.release(&["i-1"]).await, 400, "InvalidTimeStamp.Expired");
    let unsigned = client.http.post(format!("http://{}/?InstanceIds=i-1", sandbox.address())).send().await;
    assert_error(read(unsigned.unwrap()).await, 400, "MissingAction");
    let mut altered = client.signed(&release_of("i-1")).build().unwrap();
    altered.url_mut().query_pairs_mut().append_pair("Region", "x");
    assert_error(read(client.http.execute(altered).await.unwrap()).await, 400, "SignatureDoesNotMatch");
    assert_eq!(sandbox.counts(), Counts { unauthentic: 5, ..Counts::default() });
}

#[tokio::test]
async fn a_replayed_request_is_refused_although_its_signature_is_good() {
    let sandbox = start(any_time()).await;
    let request = Client::of(&sandbox).signed(&release_of("i-1"));
    let replay = request.try_clone().expect("a request without a stream can be cloned");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::OK);
    assert_error(read(replay.send().await.unwrap()).await, 400, "SignatureNonceUsed");
    assert_eq!(sandbox.counts().calls, 1);
}

#[tokio::test]
async fn another_operation_or_version_is_not_served() {
    let sandbox = start(any_time()).await;
    let client = Client { action: "QueryOrders", ..Client::of(&sandbox) };
    assert_error(client.release(&["i-1"]).await, 404, "InvalidApi.NotFound");
}

#[tokio::test]
async fn each_account_has_a_quota_of_its_own() {
    let sandbox = start(SandboxSettings {
        accounts: ["one", "two"].map(|name| (name.to_owned(), Default::default())).into(),
        access_keys: vec!["one:1@one".parse().unwrap(), "two:2@two".parse().unwrap()],
        calls_per_second: Some(0.01),
        retry_after: true,
        ..any_time()
    })
    .await;
    let one = Client { access_key_id: "one", secret: "1", ..Client::of(&sandbox) };
    let two = Client { access_key_id: "two", secret: "2", ..one.clone() };
    assert_eq!(one.release(&["i-1"]).await.0, StatusCode::OK);
    let throttled = one.signed(&release_of("i-2")).send().await.unwrap();
    let wait: u64 = throttled.headers()["x-acs-retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=100_000).contains(&wait), "{wait}");
    assert_error(read(throttled).await, 400, "Throttling.User");
    assert_eq!(two.release(&["i-2"]).await.0, StatusCode::OK);
    let counts = sandbox.counts();
    assert_eq!((counts.calls, counts.throttled, counts.ids_released), (3, 1, 2));
}

#[tokio::test]
async fn an_instance_is_released_once_and_then_does_not_exist() {
    let sandbox = start(any_time()).await;
    let client = Client::of(&sandbox);
    assert_eq!(client.release(&["i-1"]).await.0, StatusCode::OK);
    assert_error(client.release(&["i-1"]).await, 400, "ResourceNotExists");
    assert_eq!((sandbox.counts().ids_released, sandbox.ledger().times_asked()["i-1"]), (1, 2));
}

#[tokio::test]
async fn a_bad_id_spoils_its_whole_batch_only_where_calls_are_atomic() {
    for atomic in [true, false] {
        let instances = instances(&["foreign-* owner=stranger", "gone-* state=gone", "*"]);
        let sandbox = start(SandboxSettings { instances, atomic, name_ids: !atomic, ..any_time() }).await;
        let answer = Client::of(&sandbox).release(&["i-1", "foreign-1", "gone-1"]).await;
        assert_eq!(answer.1["Message"].as_str().unwrap().contains("foreign-1"), !atomic);
        assert_error(answer, 400, "InvalidOwner");
        assert_eq!(sandbox.ledger().released_ids().contains("i-1"), !atomic);
    }
}

#[tokio::test]
async fn a_ghost_releases_in_spite_of_its_answer() {
    let faults = faults(&["internal-error lands=true"]);
    let sandbox = start(SandboxSettings { faults, ..any_time() }).await;
    assert_error(Client::of(&sandbox).release(&["i-1"]).await, 500, "InternalError");
    let ledger = sandbox.ledger();
    assert!(ledger.released_ids().contains("i-1"));
    assert_eq!((ledger.counts.accepted, ledger.counts.faults[&FaultAnswer::InternalError]), (0, 1));
}

#[tokio::test]
async fn a_call_that_hangs_has_or_has_not_taken_effect_as_its_fault_says() {
    for (fault, effect) in [("hang lands=true", true), ("hang", false)] {
        let sandbox = start(SandboxSettings { faults: faults(&[fault]), ..any_time() }).await;
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
    let faults = faults(&["hang"]);
    let sandbox = start(SandboxSettings { faults, ..any_time() }).await;
    let (client, address) = (Client::of(&sandbox), sandbox.address());
    let hanging = tokio::spawn(async move { client.release(&["i-1"]).await });
    timeout(PATIENCE, sandbox.until_calls(1)).await.unwrap();
    timeout(PATIENCE, sandbox.stop()).await.unwrap().unwrap();
    assert_error(timeout(PATIENCE, hanging).await.unwrap().unwrap(), 500, "InternalError");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn the_ledger_is_shown_only_by_a_sandbox_that_was_told_to() {
    for admin in [true, false] {
        let sandbox = start(SandboxSettings { admin, ..any_time() }).await;
        let client = Client::of(&sandbox);
        client.release(&["i-1"]).await;
        let url = |page| format!("http://{}/_sandbox/{page}", sandbox.address());
        let (status, counts) = read(client.http.get(url("counts")).send().await.unwrap()).await;
        assert_eq!(status == StatusCode::OK, admin);
        assert_eq!(counts["IdsReleased"] == 1, admin);
        let (_, calls) = read(client.http.get(url("calls")).send().await.unwrap()).await;
        assert_eq!(calls["Calls"][0]["InstanceIds"][0] == "i-1", admin);
    }
}

#[tokio::test]
async fn impossible_settings_are_refused_by_name() {
    let faults = faults(&["hang share=2"]);
    let problem = Sandbox::start(SandboxSettings { faults, ..any_time() }).await.err().unwrap();
    assert!(problem.to_string().starts_with("faults[0].share is 2"), "{problem}");
}

#[tokio::test]
async fn every_request_recorded_from_the_vendors_sdks_is_served_byte_for_byte() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut served = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let vector: Value = serde_json::from_str(&std::fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap();
        let text = |pointer| vector.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        if text("/wire/request_line").is_empty() {
            continue;
        }
        let sandbox = start(SandboxSettings {
            access_keys: vec![AccessKey {
                id: text("/credentials/access_key_id").into(),
                secret: text("/credentials/access_key_secret").into(),
                security_token: vector.pointer("/credentials/security_token").and_then(Value::as_str).map(Into::into),
                ..AccessKey::default()
            }],
            ..any_time()
        })
        .await;
        let mut wire = format!("{}\r\n", text("/wire/request_line"));
        for header in vector["wire"]["headers"].as_array().unwrap() {
            wire += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
        }
        wire += &format!("\r\n{}", text("/wire/body"));
        let answer = timeout(PATIENCE, exchange(sandbox.address(), &wire)).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{}: {answer}", text("/name"));
        let asked: Vec<&str> = text("/input_params/InstanceIds").split(',').collect();
        let ledger = sandbox.ledger();
        assert_eq!(ledger.released_ids(), asked.into_iter().collect(), "{}", text("/name"));
        served += 1;
    }
    assert_eq!(served, 27);
}

/// Settings that take the fixed date of [`Client`] and of the recordings.
fn any_time() -> SandboxSettings {
    SandboxSettings { check_clock: false, ..SandboxSettings::default() }
}

fn faults(lines: &[&str]) -> Vec<FaultRule> {
    lines.iter().map(|line| line.parse().expect("a fault")).collect()
}

fn instances(lines: &[&str]) -> Vec<InstanceRule> {
    lines.iter().map(|line| line.parse().expect("a rule")).collect()
}

async fn start(settings: SandboxSettings) -> Sandbox {
    // Every test of the process tries; that one succeeded is all that counts.
    rustls::crypto::ring::default_provider().install_default().ok();
    Sandbox::start(settings).await.expect("a sandbox on a free port starts")
}

/// Sends bytes as they are, and reads up to the end of the answer's JSON.
async fn exchange(address: SocketAddr, wire: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("the sandbox listens");
    stream.write_all(wire.as_bytes()).await.expect("the sandbox reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let read = stream.read_buf(&mut answer).await.expect("the sandbox answers");
        assert_ne!(read, 0, "the connection ended early");
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn release_of(ids: &str) -> [(&str, &str); 3] {
    [("ProductCode", "ecs"), ("SubscriptionType", "PayAsYouGo"), ("InstanceIds", ids)]
}

async fn read(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.bytes().await.expect("an answer has a body");
    (status, serde_json::from_slice(&body).expect("every answer is JSON"))
}

#[track_caller]
fn assert_error((status, body): (StatusCode, Value), expected: u16, code: &str) {
    assert_eq!((status.as_u16(), body["Code"].as_str()), (expected, Some(code)), "{body}");
    for field in ["RequestId", "HostId", "Message", "Recommend"] {
        assert!(body[field].is_string(), "{field}: {body}");
    }
}

#[derive(Clone)]
struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    access_key_id: &'static str,
    secret: &'static str,
    action: &'static str,
    date: &'static str,
}

impl Client {
    fn of(sandbox: &Sandbox) -> Self {
        Self {
            http: reqwest::Client::builder().timeout(PATIENCE).build().expect("a plain client can be built"),
            address: sandbox.address(),
            access_key_id: "sandbox",
            secret: "sandbox",
            action: "ReleaseInstance",
            date: "2026-01-31T00:00:00Z",
        }
    }

    async fn release(&self, ids: &[&str]) -> (StatusCode, Value) {
        read(self.signed(&release_of(&ids.join(","))).send().await.expect("the sandbox answers")).await
    }

    fn signed(&self, parameters: &[(&str, &str)]) -> RequestBuilder {
        let parameters: Vec<Parameter<'_>> =
            parameters.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let (host, nonce, hash) = (self.address.to_string(), uuid::Uuid::new_v4().to_string(), v3::content_hash(b""));
        let headers = [
            ("host", host.as_str()),
            ("x-acs-action", self.action),
            ("x-acs-version", "2017-12-14"),
            ("x-acs-date", self.date),
            ("x-acs-signature-nonce", &nonce),
            (v3::CONTENT_HASH, &hash),
        ];
        let request = v3::Request { method: "POST", parameters: &parameters, headers: &headers, body: b"" };
        let authorization = request.authorization(self.access_key_id, self.secret);
        let url = format!("http://{host}/?{}", canonical_query(&parameters));
        let unsigned = self.http.request(Method::POST, url).header("authorization", authorization);
        headers.into_iter().fold(unsigned, |request, (name, value)| request.header(name, value))
    }
}
