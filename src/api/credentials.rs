//! Where an account's access key comes from: the vendor's default chain of six sources, or one of them by name. A file a
//! source (`environment`, `oidc`, `profile`, `ini`, `instance`, `uri`), what they share (`sts`, `answer`, `http`, `file`),
//! the order in which they are tried (`search`), and the task that keeps the key fresh (`keeper`) for whoever signs
//! (`chain`).
//!
//! It must not know what a credential is used for, and never shows a secret.
//!
//! The facts come from the vendor's own packages, named where they are used: `alibabacloud_credentials` 1.0.12 (Python),
//! `credentials-go` (commit 9ac55b4) and `aliyun-cli` (commit eadd68d).

mod answer;
mod chain;
mod environment;
mod file;
mod http;
mod ini;
mod inquiry;
mod instance;
mod keeper;
mod oidc;
mod profile;
mod search;
mod sts;
mod surroundings;
mod uri;

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

pub use chain::Chain;
pub use inquiry::{Answering, inquire};
pub use surroundings::Surroundings;

/// An access key. Its `Debug` shows the id, which is no secret, and nothing else.
#[derive(Debug, Clone)]
pub struct Credential {
    pub access_key_id: String,
    pub access_key_secret: SecretString,
    /// Of a temporary key.
    pub security_token: Option<SecretString>,
}

/// Whether it is the same key, which is how a rotated one is noticed.
impl PartialEq for Credential {
    fn eq(&self, other: &Self) -> bool {
        let exposed = |key: &Self| key.security_token.as_ref().map(|token| token.expose_secret().to_owned());
        self.access_key_id == other.access_key_id
            && self.access_key_secret.expose_secret() == other.access_key_secret.expose_secret()
            && exposed(self) == exposed(other)
    }
}

/// Why there is no credential: every source that was tried, and what it lacked. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialError {
    pub tried: Vec<Lack>,
}

/// A source, and what it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub source: String,
    pub problem: String,
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("found no access key")?;
        for (index, Lack { source, problem }) in self.tried.iter().enumerate() {
            write!(f, "{} {source}: {problem}", if index == 0 { ":" } else { ";" })?;
        }
        let (id, secret) = (environment::KEY_ID, environment::KEY_SECRET);
        write!(f, ". Set {id} and {secret}, or run `aliyun configure`")
    }
}

impl std::error::Error for CredentialError {}
