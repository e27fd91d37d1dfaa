//! Ledger and control for whoever rehearses, under `/_sandbox/`: JSON, apart from the API's own path, off unless asked for.
//! No signature is asked for here, so it belongs on a private address.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Extract};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::answer::Envelope;
use super::call::Call;
use super::delivery;
use super::faults::{FaultAnswer, FaultRule, Faults, check};
use super::inventory::InstanceState;
use super::ledger::{CallRecord, Ledger};
use super::server::Shared;

const DEFAULT_LIMIT: usize = 1000;
const MAX_LIMIT: usize = 10_000;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/counts", get(counts))
        .route("/calls", get(calls))
        .route("/releases", get(releases))
        .route("/instances/{id}", get(instance))
        .route("/faults", get(faults).put(set_faults))
        .route("/reset", post(reset))
}

/// A part of a long list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    from: usize,
    limit: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Calls<'a> {
    calls: Vec<CallEntry<'a>>,
    next: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct CallEntry<'a> {
    number: usize,
    at: Timestamp,
    request_id: String,
    account: &'a str,
    access_key: &'a str,
    #[serde(flatten)]
    call: &'a Call,
    code: Option<&'a str>,
    fault: Option<FaultAnswer>,
    released: &'a [Arc<str>],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Releases<'a> {
    releases: Vec<ReleaseEntry<'a>>,
    next: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReleaseEntry<'a> {
    instance_id: &'a str,
    call: u64,
    request_id: String,
    at: Timestamp,
}

/// An instance now. What is null is open: it is whatever the caller says.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct InstanceEntry<'a> {
    instance_id: &'a str,
    state: InstanceState,
    owner: Option<&'a str>,
    product_code: Option<&'a str>,
    subscription_type: Option<&'a str>,
    region: Option<&'a str>,
    released: Option<ReleaseEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Problem {
    error: String,
}

impl Part {
    /// The places of its entries in a list so long, and where the next part begins.
    fn of(&self, length: usize) -> (std::ops::Range<usize>, Option<usize>) {
        let from = self.from.min(length);
        let to = from.saturating_add(self.limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)).min(length);
        (from..to, (to < length).then_some(to))
    }
}

impl Ledger {
    fn time_of(&self, record: &CallRecord) -> Timestamp {
        self.since.saturating_add(record.at).unwrap_or(self.since)
    }

    fn release_entry<'a>(&'a self, id: &'a str) -> Option<ReleaseEntry<'a>> {
        let call = *self.released.get(id)?;
        let record = self.calls.get(usize::try_from(call).ok()?)?;
        let (request_id, at) = (upper_case(record), self.time_of(record));
        Some(ReleaseEntry { instance_id: id, call, request_id, at })
    }
}

fn upper_case(record: &CallRecord) -> String {
    format!("{:X}", record.request_id.hyphenated())
}

async fn counts(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let counts = shared.state().ledger.counts.clone();
    json(StatusCode::OK, &counts)
}

async fn calls(Extract(shared): Extract<Arc<Shared>>, part: Result<Query<Part>, QueryRejection>) -> Response {
    let Query(part) = match part {
        Ok(part) => part,
        Err(error) => return wrong(error.body_text()),
    };
    let state = shared.state();
    let ledger = &state.ledger;
    let (places, next) = part.of(ledger.calls.len());
    let entry = |number| {
        let record: &CallRecord = &ledger.calls[number];
        CallEntry {
            number,
            at: ledger.time_of(record),
            request_id: upper_case(record),
            account: &record.account,
            access_key: &record.access_key,
            call: &record.call,
            code: record.code.as_deref(),
            fault: record.fault,
            released: &record.released,
        }
    };
    json(StatusCode::OK, &Calls { calls: places.map(entry).collect(), next })
}

async fn releases(Extract(shared): Extract<Arc<Shared>>, part: Result<Query<Part>, QueryRejection>) -> Response {
    let Query(part) = match part {
        Ok(part) => part,
        Err(error) => return wrong(error.body_text()),
    };
    let state = shared.state();
    let ledger = &state.ledger;
    let (places, next) = part.of(ledger.releases.len());
    let releases = ledger.releases[places].iter().filter_map(|id| ledger.release_entry(id)).collect();
    json(StatusCode::OK, &Releases { releases, next })
}

async fn instance(Extract(shared): Extract<Arc<Shared>>, Path(id): Path<String>) -> Response {
    let state = shared.state();
    let found = shared.fixed.inventory.find(&id);
    let released = state.ledger.release_entry(&id);
    let gone = released.is_some() || found.is_none();
    let now = found.filter(|_| !gone);
    json(
        StatusCode::OK,
        &InstanceEntry {
            instance_id: &id,
            state: now.map_or(InstanceState::Gone, |instance| instance.state),
            owner: found.and_then(|instance| instance.owner),
            product_code: found.and_then(|instance| instance.product),
            subscription_type: found.and_then(|instance| instance.subscription_type),
            region: found.and_then(|instance| instance.region),
            released,
        },
    )
}

async fn faults(Extract(shared): Extract<Arc<Shared>>) -> Response {
    let rules: Vec<FaultRule> = shared.state().faults.rules().cloned().collect();
    json(StatusCode::OK, &rules)
}

/// Takes the place of all rules in force; what they have counted is forgotten.
async fn set_faults(Extract(shared): Extract<Arc<Shared>>, body: Bytes) -> Response {
    let mut json_text = serde_json::Deserializer::from_slice(&body);
    let rules: Vec<FaultRule> = match serde_path_to_error::deserialize(&mut json_text) {
        Ok(rules) => rules,
        Err(error) => return wrong(format!("faults{error}")),
    };
    if let Err(problem) = check(&rules) {
        return wrong(problem.to_string());
    }
    shared.state().faults = Faults::new(&rules);
    json(StatusCode::OK, &rules)
}

async fn reset(Extract(shared): Extract<Arc<Shared>>) -> StatusCode {
    shared.reset();
    StatusCode::NO_CONTENT
}

fn wrong(error: String) -> Response {
    json(StatusCode::BAD_REQUEST, &Problem { error })
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    delivery::whole(Envelope::json(status, value))
}
