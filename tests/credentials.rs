//! The sources of access keys, against services on loopback that answer as the vendor's do.

#[path = "credentials/files.rs"]
mod files;
#[path = "credentials/secrecy.rs"]
mod secrecy;
#[path = "credentials/services.rs"]
mod services;
#[path = "credentials/support.rs"]
mod support;
