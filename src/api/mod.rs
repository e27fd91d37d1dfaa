//! ReleaseInstance: request, signature, credentials, error table, client.

pub mod credentials;
