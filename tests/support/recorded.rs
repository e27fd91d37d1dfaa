//! Requests recorded from the vendor's own SDKs, and everything that could be changed about what they sign. It must not know
//! who verifies them.

use bulkrelease::api::signature::{Parameter, decode, v3};
use serde_json::Value;

/// A request as it stood on the wire.
#[derive(Clone)]
pub struct Recorded {
    pub name: String,
    pub secret: String,
    pub method: String,
    pub query: Vec<Parameter<'static>>,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Recorded {
    pub fn of(vector: &Value) -> Self {
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

    pub fn authorization(&self) -> &str {
        let found = self.headers.iter().find(|(name, _)| name == "authorization");
        &found.expect("a request of this kind carries the header").1
    }

    pub fn signed_headers(&self) -> Vec<String> {
        let list = self.authorization().split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next());
        list.map(|names| names.split(';').map(str::to_owned).collect()).unwrap_or_default()
    }

    /// Everything that could be changed about what is signed, one at a time.
    pub fn changes(&self) -> impl Iterator<Item = (String, Self)> {
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

/// The recordings whose names begin so, in order.
pub fn vectors(prefix: &str) -> Vec<Value> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
    let mut found: Vec<Value> = std::fs::read_dir(directory)
        .expect("the vectors are part of the repository")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
        .map(|path| std::fs::read_to_string(path).expect("a vector can be read"))
        .map(|json| serde_json::from_str(&json).expect("a vector is JSON"))
        .collect();
    assert!(!found.is_empty(), "no vector {prefix}*");
    found.sort_by_key(|vector| text(vector, "/name").to_owned());
    found
}

/// A text in a recording, or nothing.
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
