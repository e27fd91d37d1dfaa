//! Requests recorded from the vendor's own SDKs, and its published examples: every one must verify, and no longer do so
//! once anything that is signed has changed.

use crate::support::recorded::{Recorded, text, vectors};
use bulkrelease::api::signature::{Parameter, SignatureFault, canonical_query, decode, v1, v3};
use serde_json::Value;

#[test]
fn every_recorded_acs3_request_verifies_and_none_that_was_changed() {
    for vector in vectors("v3-") {
        let recorded = Recorded::of(&vector);
        check_v3(&recorded, &vector);
        for (change, changed) in recorded.changes() {
            assert!(verify_v3(&changed).is_err(), "{}: {change}", recorded.name);
        }
    }
}

#[test]
fn every_recorded_rpc_request_verifies_and_none_that_was_changed() {
    for vector in vectors("v1-") {
        let recorded = Recorded::of(&vector);
        let parameters = all_parameters(&recorded);
        assert_eq!(v1::verify(&recorded.method, &parameters, &recorded.secret), Ok(()), "{}", recorded.name);
        assert_eq!(
            v1::string_to_sign(&recorded.method, &parameters),
            text(&vector, "/string_to_sign_recomputed"),
            "{}",
            recorded.name
        );
        for (change, changed) in recorded.changes().filter(|(change, _)| !change.starts_with("header")) {
            let verdict = v1::verify(&changed.method, &all_parameters(&changed), &changed.secret);
            assert!(verdict.is_err(), "{}: {change}", recorded.name);
        }
    }
}

#[test]
fn the_published_rpc_examples_verify() {
    for vector in vectors("doc-v1-") {
        let method = text(&vector, "/method");
        let mut parameters: Vec<Parameter<'_>> = vector["params"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, value)| (name.into(), value.as_str().unwrap().into()))
            .collect();
        assert_eq!(canonical_query(&parameters), text(&vector, "/canonical_query"));
        assert_eq!(v1::string_to_sign(method, &parameters), text(&vector, "/string_to_sign"));
        parameters.push(("Signature".into(), text(&vector, "/signature").into()));
        let secret = text(&vector, "/credentials/access_key_secret");
        assert_eq!(v1::verify(method, &parameters, secret), Ok(()));
        parameters[0].1.to_mut().push('x');
        assert_eq!(v1::verify(method, &parameters, secret), Err(SignatureFault::Mismatch));
    }
}

#[test]
fn the_published_acs3_example_is_signed_to_the_published_signature() {
    let vectors = vectors("doc-v3-");
    let vector = &vectors[0];
    // The example is published in its canonical form, with the publisher's own placeholders for the key.
    let mut lines = text(vector, "/canonical_request").split('\n');
    let (method, _, query) = (lines.next().unwrap(), lines.next(), lines.next().unwrap());
    let headers: Vec<_> = lines.map_while(|line| line.split_once(':')).collect();
    let parameters: Vec<_> = decode(query.as_bytes()).collect();
    let request = v3::Request { method, parameters: &parameters, headers: &headers, body: b"" };
    assert_eq!(
        request
            .authorization(text(vector, "/credentials/access_key_id"), text(vector, "/credentials/access_key_secret")),
        format!(
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;\
             x-acs-signature-nonce;x-acs-version,Signature={}",
            text(vector, "/signature")
        )
    );
}

fn check_v3(recorded: &Recorded, vector: &Value) {
    assert_eq!(verify_v3(recorded), Ok(()), "{}", recorded.name);
    let canonical = text(vector, "/canonical_request_recomputed");
    assert_eq!(Some(canonical_query(&recorded.query).as_str()), canonical.split('\n').nth(2), "{}", recorded.name);
    // The canonical request can't differ from the recorded one and still be signed to the same signature.
    let signed = recorded.signed_headers();
    let headers: Vec<_> =
        pairs(recorded).into_iter().filter(|(name, _)| signed.iter().any(|other| other == name)).collect();
    let request = v3::Request { headers: &headers, ..request_of(recorded, &headers) };
    let access_key_id = text(vector, "/credentials/access_key_id");
    assert_eq!(request.authorization(access_key_id, &recorded.secret), recorded.authorization(), "{}", recorded.name);
}

fn verify_v3(recorded: &Recorded) -> Result<(), SignatureFault> {
    let authorization = v3::Authorization::parse(recorded.authorization())
        .ok_or_else(|| SignatureFault::Incomplete("the Authorization header can't be read".to_owned()))?;
    request_of(recorded, &pairs(recorded)).verify(&authorization, &recorded.secret)
}

fn request_of<'a>(recorded: &'a Recorded, headers: &'a [(&'a str, &'a str)]) -> v3::Request<'a> {
    v3::Request { method: &recorded.method, parameters: &recorded.query, headers, body: &recorded.body }
}

fn pairs(recorded: &Recorded) -> Vec<(&str, &str)> {
    recorded.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn all_parameters(recorded: &Recorded) -> Vec<Parameter<'_>> {
    recorded.query.iter().cloned().chain(decode(&recorded.body)).collect()
}
