//! One request to a service that hands out keys, with a bound on everything. No redirect is followed, nothing is tried
//! twice, and no error shows an address, which may hold a password.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Method, RequestBuilder};
use url::Url;

/// No answer of these services is larger.
const MAX_BODY_BYTES: usize = 64 * 1024;

pub struct Http(Client);

pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why there is no answer.
pub enum Failure {
    /// There was no connection, or nobody answered on it in time.
    Unreachable(String),
    Broken(String),
}

impl Http {
    pub fn new(connect: Duration, whole: Duration) -> Result<Self, String> {
        Self::build(builder(connect, whole))
    }

    /// Past every proxy: for a service of this machine's own network.
    pub fn direct(connect: Duration, whole: Duration) -> Result<Self, String> {
        Self::build(builder(connect, whole).no_proxy())
    }

    fn build(builder: ClientBuilder) -> Result<Self, String> {
        builder.build().map(Self).map_err(|error| format!("the HTTP client can't be built: {error}"))
    }

    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.0.request(method, url)
    }

    pub async fn send(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(Failure::of)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(Failure::of)? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(Failure::Broken(format!("the answer is larger than {MAX_BODY_BYTES} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}

fn builder(connect: Duration, whole: Duration) -> ClientBuilder {
    Client::builder()
        .connect_timeout(connect)
        .timeout(whole)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .user_agent(concat!("bulkrelease/", env!("CARGO_PKG_VERSION")))
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        let unreachable = error.is_connect() || error.is_timeout();
        let reason = if error.is_timeout() {
            "no answer in time".to_owned()
        } else {
            // The error's own text holds the address; the innermost says what happened.
            let mut cause: &dyn std::error::Error = &error.without_url();
            while let Some(source) = cause.source() {
                cause = source;
            }
            cause.to_string()
        };
        if unreachable { Self::Unreachable(reason) } else { Self::Broken(reason) }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(reason) => write!(f, "can't be reached: {reason}"),
            Self::Broken(reason) => f.write_str(reason),
        }
    }
}
