//! Surroundings of a test's own: variables, a home, and a server that answers as the test says.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use bulkrelease::api::credentials::{Chain, Credential, Surroundings};
use bulkrelease::api::signature::decode;
use bulkrelease::config::CredentialSource;
use secrecy::ExposeSecret;
use url::Url;

/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:9/";
pub const KEY: &str =
    r#""AccessKeyId":"id","AccessKeySecret":"hush-s","SecurityToken":"hush-t","Expiration":"2999-01-01T01:00:00Z""#;

pub struct Given {
    pub home: tempfile::TempDir,
    variables: Vec<(String, String)>,
    sts: Option<Url>,
    metadata: Url,
}

impl Given {
    pub fn new() -> Self {
        // Every test of the process tries; that one succeeded is all that counts.
        rustls::crypto::ring::default_provider().install_default().ok();
        let home = tempfile::tempdir().expect("there is room for a folder");
        Self { home, variables: Vec::new(), sts: None, metadata: NOWHERE.parse().expect("it is a URL") }
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.to_owned(), value.into()));
        self
    }

    pub fn file(self, path: &str, text: impl AsRef<[u8]>) -> Self {
        let path = self.home.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it is in the home")).expect("the home takes a folder");
        std::fs::write(path, text).expect("the home takes a file");
        self
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.home.path().join(path)
    }

    pub fn services(mut self, server: &Server) -> Self {
        (self.sts, self.metadata) = (Some(server.url.clone()), server.url.clone());
        self
    }

    pub fn chain(&self, source: &CredentialSource) -> Chain {
        let variables = self.variables.clone();
        let variable =
            move |name: &str| variables.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        Chain::within(
            source,
            Surroundings {
                variable: Box::new(variable),
                home: Some(self.home.path().to_owned()),
                sts: self.sts.clone(),
                metadata: self.metadata.clone(),
            },
        )
    }

    pub async fn found(&self, source: &CredentialSource) -> (String, String, Option<String>) {
        shown(&self.chain(source).current().await.unwrap_or_else(|error| panic!("{error}")))
    }

    /// Why there is none, in words; that they hold no secret is checked here for every test.
    pub async fn refused(&self, source: &CredentialSource) -> String {
        let Err(error) = self.chain(source).current().await else { panic!("a key was found") };
        assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        error.to_string()
    }
}

pub fn shown(credential: &Credential) -> (String, String, Option<String>) {
    let token = credential.security_token.as_ref().map(|token| token.expose_secret().to_owned());
    (credential.access_key_id.clone(), credential.access_key_secret.expose_secret().to_owned(), token)
}

/// A key as [`KEY`] has it.
pub fn temporary() -> (String, String, Option<String>) {
    ("id".into(), "hush-s".into(), Some("hush-t".into()))
}

pub struct Seen {
    pub method: Method,
    pub path: String,
    pub headers: HeaderMap,
    /// Of query and body alike.
    pub parameters: Vec<(String, String)>,
    pub query: String,
}

impl Seen {
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, String)>,
    seen: Vec<Seen>,
}

/// Gives its answers one after the other, then 500.
pub struct Server {
    pub url: Url,
    script: Arc<Mutex<Script>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    pub async fn start(answers: impl IntoIterator<Item = (u16, String)>) -> Self {
        let script = Arc::new(Mutex::new(Script { answers: answers.into_iter().collect(), seen: Vec::new() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("it serves") });
        Self { url: format!("http://{address}/").parse().expect("it is a URL"), script, serving }
    }

    pub fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.script.lock().expect("nobody panicked").seen)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut script = script.lock().expect("nobody panicked");
    let query = uri.query().unwrap_or_default().to_owned();
    let parameters = decode(query.as_bytes()).chain(decode(&body));
    let parameters = parameters.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
    script.seen.push(Seen { method, path: uri.path().to_owned(), headers, parameters, query });
    let (status, text) = script.answers.pop_front().unwrap_or((500, String::new()));
    (StatusCode::from_u16(status).expect("it is a status"), text)
}
