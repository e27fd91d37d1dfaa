//! Who may call: parent accounts, their access keys and RAM users. Everything that is fixed when the sandbox starts.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};
use sha2::{Digest, Sha256};

use super::policy::Policy;
use super::settings::{DEFAULT_ACCOUNT, InvalidSettings, SandboxSettings};

/// An account that owns instances and a quota.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ParentAccount {
    /// Whether it is a Virtual Network Operator: nobody else may release.
    pub vno: bool,
    /// A quota of its own in place of the sandbox's.
    pub calls_per_second: Option<f64>,
}

impl Default for ParentAccount {
    fn default() -> Self {
        Self { vno: true, calls_per_second: None }
    }
}

/// An access key, in one line `ID:SECRET` or `ID:SECRET@ACCOUNT`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessKey {
    pub id: String,
    #[serde(deserialize_with = "secret")]
    pub secret: SecretString,
    #[serde(default = "default_account")]
    pub account: String,
    /// The RAM user (or, with a token, the role session) whose key it is. Without one it is the parent account's own,
    /// which may do everything.
    #[serde(default)]
    pub user: Option<String>,
    /// The RAM user's policies; without one everything is denied.
    #[serde(default)]
    pub policies: Vec<Policy>,
    /// Makes it a temporary credential (STS): calls must carry this token.
    #[serde(default, deserialize_with = "some_secret")]
    pub security_token: Option<SecretString>,
    /// How long after the sandbox's start the token is good.
    #[serde(default, deserialize_with = "super::duration::deserialize")]
    pub expires_after: Option<Duration>,
    /// Whether it is enabled.
    #[serde(default = "enabled")]
    pub active: bool,
}

/// Reads a text, and never says what else stands there.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretString, D::Error> {
    let text = String::deserialize(deserializer).map_err(|_| de::Error::custom("is no text: write it in quotes"))?;
    Ok(text.into())
}

fn some_secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    secret(deserializer).map(Some)
}

fn default_account() -> String {
    DEFAULT_ACCOUNT.to_owned()
}

fn enabled() -> bool {
    true
}

impl AccessKey {
    fn new(id: &str, secret: &str, account: &str) -> Self {
        Self {
            id: id.to_owned(),
            secret: secret.into(),
            account: account.to_owned(),
            user: None,
            policies: Vec::new(),
            security_token: None,
            expires_after: None,
            active: true,
        }
    }

    pub(super) fn check(&self, setting: &str) -> Result<(), InvalidSettings> {
        let problem = |field, problem| Err(InvalidSettings::new(format!("{setting}.{field}"), problem));
        if self.id.is_empty() || self.secret.expose_secret().is_empty() {
            return problem("id", "or its secret is empty: write both");
        }
        if self.user.as_deref() == Some("") {
            return problem("user", "is empty: name the RAM user, or remove it for the account's own key");
        }
        if self.security_token.as_ref().is_some_and(|token| token.expose_secret().is_empty()) {
            return problem("security_token", "is empty: write one, or remove it for a key that needs none");
        }
        if self.user.is_none() && !self.policies.is_empty() {
            return problem("policies", "bind nobody: name the RAM user with user, or remove them");
        }
        if self.security_token.is_none() && self.expires_after.is_some() {
            return problem("expires_after", "needs a security_token: only a temporary credential expires");
        }
        Ok(())
    }
}

impl Default for AccessKey {
    fn default() -> Self {
        Self::new("sandbox", "sandbox", DEFAULT_ACCOUNT)
    }
}

impl FromStr for AccessKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (id, rest) = text.split_once(':').unwrap_or((text, ""));
        let (secret, account) = rest.rsplit_once('@').unwrap_or((rest, DEFAULT_ACCOUNT));
        if id.is_empty() || secret.is_empty() || account.is_empty() {
            return Err("an access key is written ID:SECRET or ID:SECRET@ACCOUNT".to_owned());
        }
        Ok(Self::new(id, secret, account))
    }
}

/// An access key and what belongs to it.
#[derive(Debug)]
pub(super) struct Key {
    pub settings: AccessKey,
    pub id: Arc<str>,
    pub account: Arc<str>,
    /// The account's place among all.
    pub account_index: usize,
    pub vno: bool,
}

/// All access keys.
#[derive(Debug)]
pub(super) struct Keys {
    keys: Vec<Key>,
    by_id: HashMap<Arc<str>, usize>,
}

impl Keys {
    /// The keys of settings that were checked.
    pub(super) fn new(settings: &SandboxSettings) -> Self {
        let accounts: Vec<(Arc<str>, &ParentAccount)> =
            settings.accounts.iter().map(|(name, account)| (name.as_str().into(), account)).collect();
        let keys: Vec<Key> = settings
            .access_keys
            .iter()
            .filter_map(|key| {
                let account_index = accounts.iter().position(|(name, _)| **name == *key.account)?;
                let (account, parent) = &accounts[account_index];
                let (id, account) = (key.id.as_str().into(), Arc::clone(account));
                Some(Key { settings: key.clone(), id, account, account_index, vno: parent.vno })
            })
            .collect();
        let by_id = keys.iter().enumerate().map(|(index, key)| (Arc::clone(&key.id), index)).collect();
        Self { keys, by_id }
    }

    pub(super) fn find(&self, id: &str) -> Option<usize> {
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, index: usize) -> &Key {
        &self.keys[index]
    }

    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether any key's credential has this token.
    pub(super) fn knows_token(&self, token: &str) -> bool {
        let tokens = self.keys.iter().filter_map(|key| key.settings.security_token.as_ref());
        tokens.into_iter().any(|known| known.expose_secret() == token)
    }
}

/// An account's number, as the API shows it: 16 digits, made from its name.
pub(super) fn number_of(account: &str) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = Sha256::digest(account).0;
    1_000_000_000_000_000 + u64::from_be_bytes([a, b, c, d, e, f, g, h]) % 9_000_000_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_key_in_one_line_names_its_account_or_takes_the_default() {
        let read = |text: &str| {
            text.parse::<AccessKey>().map(|key| (key.id, key.secret.expose_secret().to_owned(), key.account))
        };
        let of = |id: &str, secret: &str, account: &str| Ok((id.to_owned(), secret.to_owned(), account.to_owned()));
        assert_eq!(read("a:b"), of("a", "b", "default"));
        assert_eq!(read("a:b@c"), of("a", "b", "c"));
        assert_eq!(read("a:b:c@d@e"), of("a", "b:c@d", "e"));
        for wrong in ["", "a", "a:", ":b", "a:@c", "a:b@"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_accounts_number_has_sixteen_digits_and_stays_the_same() {
        assert_eq!(number_of("default"), number_of("default"));
        assert_ne!(number_of("default"), number_of("plain"));
        for name in ["", "default", "plain", "x"] {
            assert_eq!(number_of(name).to_string().len(), 16);
        }
    }
}
