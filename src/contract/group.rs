//! What the ids of one call have in common.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::AccountName;

/// A parameter's value that is passed through to the API: 1 to 64 of `A-Z a-z 0-9 - _ .`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Arc<str>);

impl Token {
    /// Checks and takes a value.
    pub fn new(text: &str) -> Result<Self, String> {
        let valid = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(format!("{text:?} must be 1 to 64 characters of A-Z, a-z, 0-9, -, _ and ."))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(de::Error::custom)
    }
}

/// How an instance is paid for, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SubscriptionType {
    Subscription,
    PayAsYouGo,
}

impl SubscriptionType {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Subscription => "Subscription",
            Self::PayAsYouGo => "PayAsYouGo",
        }
    }
}

/// The renewal setting that a call may name, as the API writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RenewStatus {
    AutoRenewal,
    ManualRenewal,
    NotRenewal,
}

impl RenewStatus {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AutoRenewal => "AutoRenewal",
            Self::ManualRenewal => "ManualRenewal",
            Self::NotRenewal => "NotRenewal",
        }
    }
}

/// Everything that the ids of one call must share. Two ids of different groups never travel together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    pub account: AccountName,
    pub product_code: Token,
    pub subscription_type: SubscriptionType,
    pub product_type: Option<Token>,
    pub region: Option<Token>,
    pub renew_status: Option<RenewStatus>,
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.account, self.product_code, self.subscription_type.as_str())?;
        for part in [
            self.product_type.as_ref().map(Token::as_str),
            self.region.as_ref().map(Token::as_str),
            self.renew_status.map(RenewStatus::as_str),
        ]
        .into_iter()
        .flatten()
        {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}
