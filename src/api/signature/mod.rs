//! How a request proves whose it is: `v3` (ACS3-HMAC-SHA256), and `v1` (RPC HMAC-SHA1) of older clients.
//!
//! Pure: no I/O, no clock, no randomness. Nonce and time are the caller's to choose and to judge.

mod encoding;
pub mod v1;
pub mod v3;

pub use encoding::{Parameter, canonical_query, decode};

/// Why a request's signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureFault {
    #[error("the request is signed incompletely: {0}")]
    Incomplete(String),
    #[error("x-acs-content-sha256 is not the hash of the body")]
    Body,
    #[error("the signature does not match the request")]
    Mismatch,
}
