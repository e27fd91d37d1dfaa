//! Requests recorded from the vendor's own SDKs, and its published examples: every one must verify, and no longer do so
//! once anything that is signed has changed.

use bulkrelease::api::signature::{Parameter, SignatureFault, canonical_query, decode, v1, v3};
use serde_json::Value;

#[test]
fn every_recorded_acs3_request_verifies_and_none_that_was_changed() {
    for vector in vectors("v3-") {
        let recorded = Recorded::of(&vector);
        recorded.check_v3(&vector);
        for (change, changed) in recorded.changes() {
            assert!(changed.verify_v3().is_err(), "{}: {change}", recorded.name);
        }
    }
}

#[test]
fn every_recorded_rpc_request_verifies_and_none_that_was_changed() {
    for vector in vectors("v1-") {
        let recorded = Recorded::of(&vector);
        let parameters = recorded.all_parameters();
        assert_eq!(v1::verify(&recorded.method, &parameters, &recorded.secret), Ok(()), "{}", recorded.name);
        assert_eq!(
            v1::string_to_sign(&recorded.method, &parameters),
            text(&vector, "/string_to_sign_recomputed"),
            "{}",
            recorded.name
        );
        for (change, changed) in recorded.changes().filter(|(change, _)| !change.starts_with("header")) {
            let verdict = v1::verify(&changed.method, &changed.all_parameters(), &changed.secret);
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

/// A request as it stood on the wire.
#[derive(Clone)]
struct Recorded {
    name: String,
    secret: String,
    method: String,
    query: Vec<Parameter<'static>>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Recorded {
    fn of(vector: &Value) -> Self {
        let headers = vector["wire"]["headers"].as_array().expect("every recording has headers");
        Self {
            name: text(vector, "/name").to_owned(),
            secret: text(vector, "/credentials/access_key_secret").to_owned(),
            method: text(vector, "/wire/method").to_owned(),
            query: owned(text(vector, "/wire/query_raw").as_bytes()),
            headers: headers
                .iter()
                .map(|pair| (text(pair, "/0").to_lowercase(), text(pair, "/1").to_owned()))
                .collect(),
            body: text(vector, "/wire/body").into(),
        }
    }

    fn all_parameters(&self) -> Vec<Parameter<'static>> {
        self.query.iter().cloned().chain(owned(&self.body)).collect()
    }

    fn authorization(&self) -> &str {
        let found = self.headers.iter().find(|(name, _)| name == "authorization");
        &found.expect("a request of this kind carries the header").1
    }

    fn signed_headers(&self) -> Vec<String> {
        let list = self.authorization().split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next());
        list.map(|names| names.split(';').map(str::to_owned).collect()).unwrap_or_default()
    }

    fn check_v3(&self, vector: &Value) {
        assert_eq!(self.verify_v3(), Ok(()), "{}", self.name);
        let canonical = text(vector, "/canonical_request_recomputed");
        assert_eq!(Some(canonical_query(&self.query).as_str()), canonical.split('\n').nth(2), "{}", self.name);
        // The canonical request can't differ from the recorded one and still be signed to the same signature.
        let signed = self.signed_headers();
        let headers: Vec<_> =
            self.pairs().into_iter().filter(|(name, _)| signed.iter().any(|other| other == name)).collect();
        let request = v3::Request { headers: &headers, ..self.request(&headers) };
        let access_key_id = text(vector, "/credentials/access_key_id");
        assert_eq!(request.authorization(access_key_id, &self.secret), self.authorization(), "{}", self.name);
    }

    fn verify_v3(&self) -> Result<(), SignatureFault> {
        let authorization = v3::Authorization::parse(self.authorization())
            .ok_or_else(|| SignatureFault::Incomplete("the Authorization header can't be read".to_owned()))?;
        self.request(&self.pairs()).verify(&authorization, &self.secret)
    }

    fn pairs(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    fn request<'a>(&'a self, headers: &'a [(&'a str, &'a str)]) -> v3::Request<'a> {
        v3::Request { method: &self.method, parameters: &self.query, headers, body: &self.body }
    }

    /// Everything that could be changed about what is signed, one at a time.
    fn changes(&self) -> impl Iterator<Item = (String, Self)> {
        let mut changes = Vec::new();
        let mut note = |what: String, change: &dyn Fn(&mut Self)| {
            let mut changed = self.clone();
            change(&mut changed);
            changes.push((what, changed));
        };
        note("the method".into(), &|it| it.method = if it.method == "GET" { "POST" } else { "GET" }.into());
        note("the secret".into(), &|it| it.secret.push('x'));
        note("a parameter more".into(), &|it| it.query.push(("InstanceIds2".into(), "i-1".into())));
        note("a longer body".into(), &|it| it.body.extend(b"&Region=x"));
        note("a longer body with its hash".into(), &|it| {
            it.body.extend(b"&Region=x");
            let hash = v3::content_hash(&it.body);
            it.headers
                .iter_mut()
                .filter(|(name, _)| name == v3::CONTENT_HASH)
                .for_each(|pair| pair.1.clone_from(&hash));
        });
        for (index, (name, _)) in self.query.iter().enumerate() {
            note(format!("the value of {name}"), &|it| it.query[index].1.to_mut().insert(0, 'x'));
            note(format!("the name of {name}"), &|it| it.query[index].0.to_mut().push('x'));
            note(format!("without {name}"), &|it| drop(it.query.remove(index)));
        }
        let signed = self.headers.iter().position(|(name, _)| name == "authorization").map(|_| self.signed_headers());
        for (index, (name, _)) in self.headers.iter().enumerate() {
            if signed.as_ref().is_some_and(|signed| signed.contains(name)) {
                note(format!("header {name} changed"), &|it| it.headers[index].1.push('x'));
                note(format!("header {name} gone"), &|it| drop(it.headers.remove(index)));
                note(format!("header {name} twice"), &|it| it.headers.push(it.headers[index].clone()));
                note(format!("header {name} not named as signed"), &|it| {
                    let list = self.signed_headers();
                    let shorter = list.iter().filter(|other| *other != name).cloned().collect::<Vec<_>>().join(";");
                    it.replace_authorization(&list.join(";"), &shorter);
                });
            } else if name == "authorization" {
                note("header with a signature cut short".into(), &|it| it.headers[index].1.truncate(100));
                note("header with another last digit".into(), &|it| {
                    let last = it.headers[index].1.pop();
                    it.headers[index].1.push(if last == Some('0') { '1' } else { '0' });
                });
            }
        }
        note("header x-acs-more, not signed".into(), &|it| it.headers.push(("x-acs-more".into(), "1".into())));
        changes.into_iter()
    }

    fn replace_authorization(&mut self, old: &str, new: &str) {
        for (_, value) in self.headers.iter_mut().filter(|(name, _)| name == "authorization") {
            *value = value.replace(old, new);
        }
    }
}

fn owned(wire: &[u8]) -> Vec<Parameter<'static>> {
    decode(wire).map(|(name, value)| (name.into_owned().into(), value.into_owned().into())).collect()
}

fn vectors(prefix: &str) -> Vec<Value> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut found: Vec<Value> = std::fs::read_dir(directory)
        .expect("the vectors stand beside this file")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .map(|path| std::fs::read_to_string(path).expect("a vector can be read"))
        .map(|json| serde_json::from_str(&json).expect("a vector is JSON"))
        .collect();
    assert!(!found.is_empty(), "no vector {prefix}*");
    found.sort_by_key(|vector| text(vector, "/name").to_owned());
    found
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
