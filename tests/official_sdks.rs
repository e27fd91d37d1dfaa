//! The official SDKs, unmodified and from their registries, against `bulkrelease sandbox` as a process of its own: each
//! sees through its own types what the API documents, and what it saw is what the sandbox's ledger says.

mod calls;
mod installation;
mod ledger;
mod sdk;

use std::collections::BTreeSet;

use self::calls::{Expected, calls};
use self::ledger::Ledger;
use self::sdk::Sdk;
use crate::support::program::{PATIENCE, Program};
use tokio::time::{Instant, sleep};

#[tokio::test]
async fn the_python_sdk_sees_what_the_api_documents() {
    judge(Sdk::python("Python, ACS3-HMAC-SHA256", None).await).await;
}

#[tokio::test]
async fn the_python_sdk_with_the_older_signature_sees_what_the_api_documents() {
    judge(Sdk::python("Python, RPC HMAC-SHA1", Some("v2")).await).await;
}

#[tokio::test]
async fn the_node_sdk_sees_what_the_api_documents() {
    judge(Sdk::node().await).await;
}

#[tokio::test]
async fn the_legacy_python_sdk_sees_what_the_api_documents() {
    judge(Sdk::legacy("legacy Python, POST", "POST").await).await;
}

#[tokio::test]
async fn the_legacy_python_sdk_as_it_is_by_default_sees_what_the_api_documents() {
    judge(Sdk::legacy("legacy Python, GET", "GET").await).await;
}

/// Has an SDK make every call, and holds what it saw against what is documented and against the ledger.
async fn judge(sdk: Sdk) {
    let (mut sandbox, address) = start_sandbox().await;
    let calls = calls();
    let seen = sdk.make(&calls, &address).await;
    let ledger = Ledger::of(&address).await;
    let mut request_ids = BTreeSet::new();
    let mut released = BTreeSet::new();
    for (call, seen) in calls.iter().zip(&seen) {
        let context = format!("{}, {}: {seen:?}", sdk.name, call.name);
        let request_id = sdk.saw_the_expected(call, seen, &context);
        assert!(is_request_id(request_id) && request_ids.insert(request_id), "{context}");
        ledger.tells_the_same(call, request_id, &context);
        if let Expected::Released = call.expected {
            released.extend(call.asked_for());
        }
    }
    assert_eq!(ledger.released, released, "{}", sdk.name);
    println!("{}: {} calls, {} ids released", sdk.name, seen.len(), released.len());
    sandbox.terminate();
    assert_eq!(sandbox.ended(PATIENCE).await.code, Some(0));
}

/// Starts the sandbox of all calls and waits until it serves.
async fn start_sandbox() -> (Program, String) {
    // Every test of the process tries; that one succeeded is all that counts.
    rustls::crypto::ring::default_provider().install_default().ok();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/official_sdks/sandbox.toml");
    let mut sandbox = Program::start(&["sandbox", "--file", file], &[], "");
    let begun = Instant::now();
    loop {
        let output = sandbox.output();
        let address = output.lines().find_map(|line| line.strip_prefix("sandbox: http://")?.split(' ').next());
        if let Some(address) = address {
            return (sandbox, address.to_owned());
        }
        let errors = sandbox.errors();
        assert!(sandbox.runs() && begun.elapsed() < PATIENCE, "the sandbox does not start:\n{output}{errors}");
        sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// A UUID in capitals, as the API writes it.
fn is_request_id(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok() && text == text.to_uppercase()
}
