//! Requests recorded from the vendor's own SDKs: each is served, and none that was changed.

use bulkrelease::api::signature::canonical_query;
use bulkrelease::sandbox::Sandbox;
use serde_json::Value;

use crate::sandbox::start;
use crate::sandbox::wire::exchange;
use crate::support::recorded::{Recorded, text, vectors};

/// A sandbox with the key of a recording.
async fn for_key_of(vector: &Value) -> Sandbox {
    let token = text(vector, "/credentials/security_token");
    let token = if token.is_empty() { String::new() } else { format!(", security_token = '{token}'") };
    let (id, secret) = (text(vector, "/credentials/access_key_id"), text(vector, "/credentials/access_key_secret"));
    start(&format!("access_keys = [{{ id = '{id}', secret = '{secret}'{token} }}]")).await
}

#[tokio::test]
async fn every_request_recorded_from_the_vendors_sdks_is_served_byte_for_byte() {
    let (mut served, mut odd) = (0, 0);
    for vector in vectors("v1-").into_iter().chain(vectors("v3-")) {
        let sandbox = for_key_of(&vector).await;
        let mut wire = format!("{}\r\n", text(&vector, "/wire/request_line"));
        for header in vector["wire"]["headers"].as_array().unwrap() {
            wire += &format!("{}: {}\r\n", header[0].as_str().unwrap(), header[1].as_str().unwrap());
        }
        wire += &format!("\r\n{}", text(&vector, "/wire/body"));
        let answer = exchange(sandbox.address(), wire.as_bytes()).await;
        if has_blanks(&vector) {
            // Sound, and yet no list of ids.
            assert_eq!(answer.json()["Code"], "InvalidParameter", "{}: {answer:?}", text(&vector, "/name"));
            assert_eq!((sandbox.counts().unauthentic, sandbox.counts().violations), (0, 1));
            odd += 1;
            continue;
        }
        assert_eq!(answer.status(), 200, "{}: {answer:?}", text(&vector, "/name"));
        let asked: Vec<&str> = text(&vector, "/input_params/InstanceIds").split(',').collect();
        assert_eq!(sandbox.ledger().released_ids(), asked.into_iter().collect(), "{}", text(&vector, "/name"));
        served += 1;
    }
    assert_eq!((served, odd), (24, 3));
}

#[tokio::test]
async fn a_recorded_request_with_any_change_to_what_is_signed_is_refused_and_as_it_was_taken() {
    let mut refused = 0;
    for vector in vectors("v1-").into_iter().chain(vectors("v3-")) {
        let (recorded, sandbox) = (Recorded::of(&vector), for_key_of(&vector).await);
        let rpc = text(&vector, "/name").starts_with("v1-");
        // The secret isn't on the wire; RPC signs no headers, and no body that isn't a form.
        let matters = |change: &str| {
            change != "the secret" && !(rpc && (change.starts_with("header") || change.starts_with("a longer body")))
        };
        for (change, changed) in recorded.changes().filter(|(change, _)| matters(change)) {
            let answer = exchange(sandbox.address(), &wire(&changed)).await;
            assert!((400..500).contains(&answer.status()), "{}: {change}: {answer:?}", recorded.name);
            assert!(answer.json()["Code"].is_string(), "{}: {change}: {answer:?}", recorded.name);
            refused += 1;
        }
        assert_eq!(sandbox.counts().calls, 0, "{}", recorded.name);
        let answer = exchange(sandbox.address(), &wire(&recorded)).await;
        assert_eq!((answer.status() == 200, sandbox.counts().calls), (!has_blanks(&vector), 1), "{}", recorded.name);
    }
    assert!(refused > 1000, "{refused}");
}

/// Whether the recorded call lists ids with white space, which an SDK sends and no list of ids may have.
fn has_blanks(vector: &Value) -> bool {
    text(vector, "/input_params/InstanceIds").contains(' ')
}

/// A request as it travels; its body is as long as its headers say.
fn wire(recorded: &Recorded) -> Vec<u8> {
    let mut wire = format!("{} /?{} HTTP/1.1\r\n", recorded.method, canonical_query(&recorded.query));
    for (name, value) in recorded.headers.iter().filter(|(name, _)| name != "content-length") {
        wire += &format!("{name}: {value}\r\n");
    }
    wire += &format!("content-length: {}\r\n\r\n", recorded.body.len());
    [wire.as_bytes(), &recorded.body].concat()
}
