//! All that is judged.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::api::Greeting;
use crate::api::credentials::{Answering, CredentialError};
use crate::broker::inspection::{Inspection, NoInspection};
use crate::config::Settings;
use crate::contract::{AccountName, ReadBack};

#[derive(Debug)]
pub struct Facts<'a> {
    pub settings: &'a Settings,
    /// Those that name an endpoint.
    pub accounts: BTreeMap<AccountName, AccountFacts>,
    pub broker: Result<Inspection, NoInspection>,
    /// The broker's own, as the operator says: it tells nobody but its command line.
    pub consumer_timeout: Option<Duration>,
}

#[derive(Debug)]
pub struct AccountFacts {
    /// `Err` with the reason.
    pub greeting: Result<Greeting, String>,
    pub credential: Result<Answering, CredentialError>,
    /// What a query that changes nothing came to; `None` where there was nobody to ask, or nothing to sign with.
    pub query: Option<ReadBack>,
}
