//! The sources of access keys, against services on loopback that answer as the vendor's do.

mod files;
mod secrecy;
mod services;
mod surroundings;
