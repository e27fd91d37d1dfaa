//! One `ReleaseInstance` call, or one query for what is left: building it (`request`), signing it (`signature`,
//! `credentials`), sending it (`client`), and reading from the answer what became of the batch (`answer`, `listing`,
//! `error_table`, `mend`). `greeting` is what anyone is told.
//!
//! It must not know why a call is made or what follows from its verdict.

mod answer;
mod client;
pub mod credentials;
mod error_table;
mod greeting;
mod listing;
mod mend;
mod request;
pub mod signature;

pub use answer::Answer;
pub use client::{CONNECT_FAILED, Client, ClientError};
pub use error_table::ErrorTable;
pub use greeting::Greeting;
pub use listing::Listing;
pub use mend::mend;
pub use request::{QUERY, RELEASE};
