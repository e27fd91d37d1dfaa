//! Ledger and control for whoever rehearses, under `/_sandbox/`: JSON, apart from the API's own path, off unless asked for.
//! No signature is asked for here, so it belongs on a private address.

use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State as Extract};
use axum::http::{Method, StatusCode};
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
use super::server::{Shared, whole_body};

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
        .method_not_allowed_fallback(wrong_method)
}

/// A part of a long list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    #[serde(default)]
    from: usize,
    limit: Option<NonZeroUsize>,
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
        let to = from.saturating_add(self.limit.map_or(DEFAULT_LIMIT, NonZeroUsize::get).min(MAX_LIMIT)).min(length);
        (from..to, (to < length).then_some(to))
    }
}

/// What is known of a release, apart from the ledger: to be written while the sandbox works on.
struct Release {
    id: Arc<str>,
    call: u64,
    record: Arc<CallRecord>,
    since: Timestamp,
}

impl Ledger {
    fn release(&self, id: &str) -> Option<Release> {
        let (id, call) = self.released.get_key_value(id)?;
        let record = self.calls.get(usize::try_from(*call).ok()?)?;
        Some(Release { id: Arc::clone(id), call: *call, record: Arc::clone(record), since: self.since })
    }
}

impl Release {
    fn entry(&self) -> ReleaseEntry<'_> {
        let (request_id, at) = (upper_case(&self.record), time_of(&self.record, self.since));
        ReleaseEntry { instance_id: &self.id, call: self.call, request_id, at }
    }
}

fn time_of(record: &CallRecord, since: Timestamp) -> Timestamp {
    since.saturating_add(record.at).unwrap_or(since)
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
    let (since, records, first, next) = {
        let ledger = &shared.state().ledger;
        let (places, next) = part.of(ledger.calls.len());
        (ledger.since, ledger.calls[places.clone()].to_vec(), places.start, next)
    };
    let calls = (first..).zip(&records).map(|(number, record)| CallEntry {
        number,
        at: time_of(record, since),
        request_id: upper_case(record),
        account: &record.account,
        access_key: &record.access_key,
        call: &record.call,
        code: record.code.as_deref(),
        fault: record.fault,
        released: &record.released,
    });
    json(StatusCode::OK, &Calls { calls: calls.collect(), next })
}

async fn releases(Extract(shared): Extract<Arc<Shared>>, part: Result<Query<Part>, QueryRejection>) -> Response {
    let Query(part) = match part {
        Ok(part) => part,
        Err(error) => return wrong(error.body_text()),
    };
    let (found, next) = {
        let ledger = &shared.state().ledger;
        let (places, next) = part.of(ledger.releases.len());
        let found: Vec<_> = ledger.releases[places].iter().filter_map(|id| ledger.release(id)).collect();
        (found, next)
    };
    json(StatusCode::OK, &Releases { releases: found.iter().map(Release::entry).collect(), next })
}

async fn instance(Extract(shared): Extract<Arc<Shared>>, id: Result<Path<String>, PathRejection>) -> Response {
    let Path(id) = match id {
        Ok(id) => id,
        Err(error) => return wrong(error.body_text()),
    };
    let found = shared.fixed.inventory.find(&id);
    let release = shared.state().ledger.release(&id);
    let released = release.as_ref().map(Release::entry);
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
async fn set_faults(Extract(shared): Extract<Arc<Shared>>, request: Request) -> Response {
    let body = match whole_body(request.into_body()).await {
        Ok(body) => body,
        Err(refusal) => return json(refusal.status, &Problem { error: refusal.message.into_owned() }),
    };
    let rules = match read_rules(&body) {
        Ok(rules) => rules,
        Err(problem) => return wrong(problem),
    };
    if let Err(problem) = check(&rules) {
        return wrong(problem.to_string());
    }
    shared.state().faults = Faults::new(&rules);
    json(StatusCode::OK, &rules)
}

/// A JSON array of rules, and nothing after it.
fn read_rules(body: &[u8]) -> Result<Vec<FaultRule>, String> {
    let mut text = serde_json::Deserializer::from_slice(body);
    let rules = serde_path_to_error::deserialize(&mut text).map_err(|error| match error.path().to_string() {
        path if path == "." => format!("faults: {}", error.inner()),
        path => format!("faults{path}: {}", error.inner()),
    })?;
    text.end().map_err(|error| format!("faults: {error}"))?;
    Ok(rules)
}

async fn wrong_method(method: Method) -> Response {
    let error = format!("{method} is not taken here: GET shows, PUT faults changes them, POST reset begins again");
    json(StatusCode::METHOD_NOT_ALLOWED, &Problem { error })
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
