//! Requests signed before the clock starts, so that the driver only sends bytes.

use bulkrelease::api::signature::{Parameter, canonical_query, v3};
use uuid::Uuid;

/// So many calls of so many ids each, none asked for twice, divided among connections.
pub fn prepare(address: &str, ids: usize, calls: usize, connections: usize) -> Vec<Vec<Vec<u8>>> {
    let mut prepared = vec![Vec::with_capacity(calls / connections + 1); connections];
    for call in 0..calls {
        prepared[call % connections].push(signed(address, &id_list(call, ids)));
    }
    prepared
}

/// Verifies one request so many times.
pub fn verify(ids: usize, times: usize) {
    let list = id_list(0, ids);
    let (parameters, nonce) = (parameters(&list), Uuid::new_v4().to_string());
    let (date, hash) = (date(), v3::content_hash(b""));
    let headers = headers("127.0.0.1:9470", &date, &nonce, &hash);
    let request = v3::Request { method: "POST", parameters: &parameters, headers: &headers, body: b"" };
    let authorization = request.authorization("sandbox", "sandbox");
    for _ in 0..times {
        let parsed = v3::Authorization::parse(std::hint::black_box(&authorization)).expect("it was just made");
        std::hint::black_box(&request).verify(&parsed, "sandbox").expect("it was just signed");
    }
}

fn id_list(call: usize, ids: usize) -> String {
    (0..ids).map(|id| format!("i-bp67acfmxazb{call:06}{id:02}")).collect::<Vec<_>>().join(",")
}

fn parameters(ids: &str) -> [Parameter<'_>; 3] {
    [
        ("ProductCode".into(), "ecs".into()),
        ("SubscriptionType".into(), "PayAsYouGo".into()),
        ("InstanceIds".into(), ids.into()),
    ]
}

fn date() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn headers<'a>(host: &'a str, date: &'a str, nonce: &'a str, hash: &'a str) -> [(&'a str, &'a str); 6] {
    [
        ("host", host),
        ("x-acs-action", "ReleaseInstance"),
        ("x-acs-version", "2017-12-14"),
        ("x-acs-date", date),
        ("x-acs-signature-nonce", nonce),
        (v3::CONTENT_HASH, hash),
    ]
}

fn signed(address: &str, ids: &str) -> Vec<u8> {
    let (parameters, nonce) = (parameters(ids), Uuid::new_v4().to_string());
    let (date, hash) = (date(), v3::content_hash(b""));
    let headers = headers(address, &date, &nonce, &hash);
    let request = v3::Request { method: "POST", parameters: &parameters, headers: &headers, body: b"" };
    let authorization = request.authorization("sandbox", "sandbox");
    let mut wire = format!("POST /?{} HTTP/1.1\r\n", canonical_query(&parameters));
    for (name, value) in headers {
        wire.extend([name, ": ", value, "\r\n"]);
    }
    wire.extend(["authorization: ", &authorization, "\r\ncontent-length: 0\r\n\r\n"]);
    wire.into_bytes()
}
