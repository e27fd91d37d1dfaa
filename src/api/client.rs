//! Sends one call, or one query, and waits for its answer, with a bound on everything. It never tries twice: every try
//! takes a permit.

use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use opentelemetry::trace::TraceContextExt;
use opentelemetry::{Context, KeyValue};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::answer::{Answer, Raw, read};
use super::credentials::{Chain, Credential};
use super::greeting::{Ahead, Greeting};
use super::listing::{self, Listing};
use super::request::{QUERY, RELEASE, VERSION, query_parameters, release_parameters};
use super::signature::{canonical_query, v3};
use super::{ErrorTable, signature::Parameter};
use crate::config::{self, AccountSettings};
use crate::contract::{Batch, Class, Evidence, ReadBack, Verdict};

/// No answer of this API is larger; what is, is not the API's.
const MAX_BODY_BYTES: usize = 256 * 1024;

/// The code of a call that was never sent, for want of a connection.
pub const CONNECT_FAILED: &str = "ConnectFailed";

/// An account's client: one endpoint, one credential, one pool of connections.
#[derive(Debug)]
pub struct Client {
    http: reqwest::Client,
    url: url::Url,
    host: String,
    credentials: Chain,
    table: ErrorTable,
    /// Calls in a row that the API refused because of the security token.
    stale_tokens: AtomicU32,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("accounts.{account}.endpoint is not set: name the API's host, nothing is released anywhere by default")]
    NoEndpoint { account: String },
    #[error("accounts.{account}.endpoint: {problem}")]
    Endpoint { account: String, problem: String },
    #[error("the HTTP client can't be built: {0}")]
    Http(#[from] reqwest::Error),
}

impl Client {
    /// Builds the client of an account. No connection is made yet.
    pub fn new(account: &str, settings: &AccountSettings, credentials: Chain) -> Result<Self, ClientError> {
        let named = settings.endpoint.as_deref();
        let endpoint = named.ok_or_else(|| ClientError::NoEndpoint { account: account.to_owned() })?;
        let invalid =
            |problem: &str| ClientError::Endpoint { account: account.to_owned(), problem: problem.to_owned() };
        let url = config::endpoint(endpoint).map_err(invalid)?;
        let mut host = url.host_str().ok_or_else(|| invalid("it has no host"))?.to_owned();
        if let Some(port) = url.port() {
            host = format!("{host}:{port}");
        }
        let http = reqwest::Client::builder()
            .connect_timeout(settings.connect_timeout)
            .timeout(settings.call_timeout)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            // A connection that idles longer than the gateway keeps it would lose a call to a reset.
            .pool_idle_timeout(std::time::Duration::from_secs(10))
            .tcp_nodelay(true)
            .user_agent(concat!("bulkrelease/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let table = ErrorTable::new(&settings.error_classes);
        Ok(Self { http, url, host, credentials, table, stale_tokens: AtomicU32::new(0) })
    }

    /// Whether there is a credential to sign with, or one may still come; what every source lacked if not.
    pub fn credential(&self) -> Result<(), String> {
        self.credentials.problem().map_or(Ok(()), |error| Err(error.to_string()))
    }

    /// Releases a batch. `attempt` counts the failed calls of this batch so far.
    pub async fn release(&self, batch: &Batch, attempt: u32) -> Answer {
        let answer = match self.send(RELEASE, &release_parameters(batch), attempt).await {
            Ok(received) => read(received.raw(), &self.table),
            Err(verdict) => Answer { verdict, pause: None },
        };
        Answer { verdict: self.mind_the_credential(answer.verdict), ..answer }
    }

    /// Asks which ids of a batch the account still lists. Releases nothing, and says nothing unless the listing is whole.
    pub async fn query(&self, batch: &Batch) -> Listing {
        let listing = match self.send(QUERY, &query_parameters(batch), 0).await {
            Ok(received) => listing::read(received.raw(), batch, &self.table),
            Err(verdict) => Listing { read_back: ReadBack::Failed(verdict), pause: None },
        };
        let read_back = match listing.read_back {
            ReadBack::Failed(verdict) => ReadBack::Failed(self.mind_the_credential(verdict)),
            listed @ ReadBack::Listed { .. } => {
                self.stale_tokens.store(0, Ordering::Relaxed);
                listed
            }
        };
        Listing { read_back, ..listing }
    }

    /// Asks for nothing, without a signature: whether the API is there, and its clock. `Err` says why there is no answer.
    pub async fn greet(&self) -> Result<Greeting, String> {
        let mut url = self.url.clone();
        url.set_query(Some("Format=JSON"));
        let (sent, begun) = (Timestamp::now(), std::time::Instant::now());
        let answered = self.http.get(url).send().await;
        let response = answered.map_err(|error| not_answered(&error).evidence().message.clone().unwrap_or_default())?;
        let took = begun.elapsed();
        let date = response.headers().get("date").and_then(|date| date.to_str().ok());
        let ahead = date.and_then(|date| Ahead::read(date, sent, took));
        let received = receive(response).await;
        let is_api = String::from_utf8_lossy(&received.body).contains("RequestId");
        Ok(Greeting { status: received.status, is_api, ahead })
    }

    async fn send(&self, action: &str, parameters: &[Parameter<'_>], attempt: u32) -> Result<Received, Verdict> {
        let credential = match self.credentials.current().await {
            Ok(credential) => credential,
            Err(error) => {
                self.credentials.refresh();
                return Err(Verdict::of(Class::Account, Evidence::words("NoCredential", error.to_string())));
            }
        };
        let request = self
            .request(action, parameters, attempt, &credential)
            .map_err(|problem| Verdict::of(Class::Account, Evidence::words("InvalidRequest", problem)))?;
        note(|| {
            let (host, port) = (self.url.host_str().unwrap_or_default(), self.url.port_or_known_default());
            [
                KeyValue::new("http.request.method", "POST"),
                KeyValue::new("server.address", host.to_owned()),
                KeyValue::new("server.port", i64::from(port.unwrap_or_default())),
            ]
        });
        match self.http.execute(request).await {
            Ok(response) => {
                note(|| [KeyValue::new("http.response.status_code", i64::from(response.status().as_u16()))]);
                Ok(receive(response).await)
            }
            Err(error) => Err(not_answered(&error)),
        }
    }

    fn request(
        &self,
        action: &str,
        parameters: &[Parameter<'_>],
        attempt: u32,
        credential: &Credential,
    ) -> Result<reqwest::Request, String> {
        let date = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let (nonce, hash, attempt) = (Uuid::new_v4().simple().to_string(), v3::content_hash(b""), attempt.to_string());
        let mut headers = vec![
            ("host", self.host.as_str()),
            ("x-acs-action", action),
            ("x-acs-version", VERSION),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
            (v3::CONTENT_HASH, &hash),
        ];
        if attempt != "0" {
            headers.push(("x-acs-retry-attempts", &attempt));
        }
        if let Some(token) = &credential.security_token {
            headers.push(("x-acs-security-token", token.expose_secret()));
            headers.push(("x-acs-accesskey-id", &credential.access_key_id));
        }
        let signed = v3::Request { method: "POST", parameters, headers: &headers, body: b"" };
        let authorization =
            signed.authorization(&credential.access_key_id, credential.access_key_secret.expose_secret());
        let mut sent = HeaderMap::with_capacity(headers.len() + 1);
        for (name, value) in headers.into_iter().chain([("authorization", authorization.as_str())]) {
            let mut value =
                HeaderValue::from_str(value).map_err(|_| format!("the header {name} has control characters"))?;
            value.set_sensitive(matches!(name, "authorization" | "x-acs-security-token"));
            sent.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?, value);
        }
        let mut url = self.url.clone();
        url.set_query(Some(&canonical_query(parameters)));
        let mut request = reqwest::Request::new(reqwest::Method::POST, url);
        *request.headers_mut() = sent;
        Ok(request)
    }

    /// A refused credential is read again at its source. The first time a token is stale that alone may mend it, so the
    /// batch is simply tried again; only then is it the account's problem.
    fn mind_the_credential(&self, verdict: Verdict) -> Verdict {
        let Verdict::Account(evidence) = &verdict else {
            self.stale_tokens.store(0, Ordering::Relaxed);
            return verdict;
        };
        self.credentials.refresh();
        let stale = evidence.code.as_deref().is_some_and(|code| code.starts_with("InvalidSecurityToken"));
        if stale && self.stale_tokens.fetch_add(1, Ordering::Relaxed) == 0 {
            return Verdict::of(Class::Transient, Evidence::clone(evidence));
        }
        verdict
    }
}

/// Notes something on the span of the call that is being made, if there is one. Never the URL: the ids stand in it.
fn note<const N: usize>(attributes: impl FnOnce() -> [KeyValue; N]) {
    Context::map_current(|context| {
        let span = context.span();
        if span.is_recording() {
            span.set_attributes(attributes());
        }
    });
}

/// An answer, read as far as it came.
struct Received {
    status: u16,
    retry_after_milliseconds: Option<String>,
    retry_after_seconds: Option<String>,
    body: Vec<u8>,
    whole: bool,
}

impl Received {
    fn raw(&self) -> Raw<'_> {
        Raw {
            status: self.status,
            retry_after_milliseconds: self.retry_after_milliseconds.as_deref(),
            retry_after_seconds: self.retry_after_seconds.as_deref(),
            body: &self.body,
            whole: self.whole,
        }
    }
}

async fn receive(mut response: reqwest::Response) -> Received {
    let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let (retry_after_milliseconds, retry_after_seconds) = (header("x-acs-retry-after"), header("retry-after"));
    let mut body = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_BODY_BYTES => body.extend_from_slice(&chunk),
            Ok(None) => break true,
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    Received { status: response.status().as_u16(), retry_after_milliseconds, retry_after_seconds, body, whole }
}

/// A call without an answer: not done if it never left, else of unknown fate.
fn not_answered(error: &reqwest::Error) -> Verdict {
    // The error's own text holds the URL, and so every id of the batch.
    let mut reasons = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reasons.push(cause.to_string());
        source = cause.source();
    }
    let reason = reasons.pop().unwrap_or_else(|| "no further reason".to_owned());
    let (class, code, words) = if error.is_connect() {
        (Class::Transient, CONNECT_FAILED, format!("no connection to the endpoint: {reason}"))
    } else if error.is_timeout() {
        (Class::Unknown, "TimedOut", "the API did not answer within the account's call_timeout".to_owned())
    } else {
        (Class::Unknown, "ConnectionLost", format!("the connection was lost before the answer: {reason}"))
    };
    Verdict::of(class, Evidence::words(code, words))
}
