//! A remainder: a job that must wait before it goes on, with what became of its ids so far. It goes through a retry queue
//! back to the jobs, so any worker may take it up; in the end the job has one result that lists every id.
//!
//! Ids are told by their places in the job, and those that share an outcome's evidence share an entry, so the remainder
//! of the largest job fits into one message. Parsing is strict: only a worker writes these.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::job::{self, MalformedJob};
use super::{Class, Doubt, Evidence, InstanceOutcome, Job, MAX_BODY_BYTES, MAX_IDS_PER_JOB, Open, Outcome, Place};

/// AMQP's `type` of a remainder.
pub const KIND: &str = "release.remainder.v1";

/// A job between two deliveries.
#[derive(Debug, Clone)]
pub struct Remainder {
    /// The whole job. Its suspects stand in `places`.
    pub job: Job,
    /// Of the original delivery: the one result of the job carries it.
    pub result_id: Uuid,
    pub received_at: Timestamp,
    pub postponed_at: Timestamp,
    /// It only waits for permits, or for its account: this wait counts for no id's age.
    pub parked: bool,
    /// The most calls that any one id took part in, added up over the deliveries so far.
    pub calls: u32,
    /// When a call with one of the ids first failed or was refused.
    pub first_failure: Option<Timestamp>,
    /// One for each id, in the job's order; at least one is open.
    pub places: Vec<Place>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, expecting = "a remainder: a JSON object")]
struct Wire {
    job: job::Wire,
    result_id: Uuid,
    received_at: Timestamp,
    postponed_at: Timestamp,
    parked: bool,
    calls: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_failure: Option<Timestamp>,
    settled: Vec<SettledWire>,
    open: Vec<OpenWire>,
}

/// Ids that share an outcome and what it rests on.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SettledWire {
    outcome: Outcome,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    presumed: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    suspect: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    class: Option<Class>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
    places: Vec<u32>,
}

/// Open ids of which the same is known.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct OpenWire {
    #[serde(default, skip_serializing_if = "is_none")]
    doubt: Doubt,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    age: Option<SignedDuration>,
    places: Vec<u32>,
}

fn is_none(doubt: &Doubt) -> bool {
    *doubt == Doubt::None
}

/// How much of the evidence is written, from all of it downwards: what every outcome needs stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    Everything,
    Codes,
    Outcomes,
}

impl Remainder {
    /// Reads a remainder from a message's body.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedJob> {
        let text = job::text(body)?;
        let wire: Wire = serde_json::from_str(text).map_err(|_| job::explain::<Wire>(text))?;
        let mut job = wire.job;
        if job.suspect_ids.take().is_some() {
            return Err(MalformedJob::field("Job.SuspectIds", "a remainder says it in Open: remove it"));
        }
        let unnamed = MalformedJob::field("Job.JobId", "is missing: every remainder names its job");
        let job = Job::from_wire(job, || Err(unnamed)).map_err(|error| error.within("Job"))?;
        if job.ids.len() > MAX_IDS_PER_JOB {
            let problem = format!("holds {} ids: no job has more than {MAX_IDS_PER_JOB}", job.ids.len());
            return Err(MalformedJob::field("Job.InstanceIds", problem));
        }
        let mut places = vec![None; job.ids.len()];
        let settled =
            wire.settled.iter().enumerate().map(|(index, entry)| (format!("Settled[{index}]"), &entry.places));
        let open = wire.open.iter().enumerate().map(|(index, entry)| (format!("Open[{index}]"), &entry.places));
        let values = wire.settled.iter().map(SettledWire::place).chain(wire.open.iter().map(OpenWire::place));
        for ((field, listed), value) in settled.chain(open).zip(values) {
            let value = value.map_err(|problem| MalformedJob::field(&field, problem))?;
            fill(&mut places, listed, &value)
                .map_err(|problem| MalformedJob::field(format!("{field}.Places"), problem))?;
        }
        if let Some(missing) = places.iter().position(Option::is_none) {
            let problem = format!("place {missing} stands neither here nor in Open: list every place of the job once");
            return Err(MalformedJob::field("Settled", problem));
        }
        let places: Vec<Place> = places.into_iter().flatten().collect();
        if !places.iter().any(|place| place.open().is_some()) {
            return Err(MalformedJob::field("Open", "lists no place: a job without an open id has a result instead"));
        }
        Ok(Self {
            job,
            result_id: wire.result_id,
            received_at: wire.received_at,
            postponed_at: wire.postponed_at,
            parked: wire.parked,
            calls: wire.calls,
            first_failure: wire.first_failure,
            places,
        })
    }

    /// The message's body. Of a very large job messages and request ids are left out, and codes if need be, rather than
    /// making a message that no broker takes.
    pub fn into_body(self) -> Vec<u8> {
        let places = self.places;
        let mut wire = Wire {
            job: self.job.wire(&self.job.ids, &[]),
            result_id: self.result_id,
            received_at: self.received_at,
            postponed_at: self.postponed_at,
            parked: self.parked,
            calls: self.calls,
            first_failure: self.first_failure,
            settled: Vec::new(),
            open: open(&places),
        };
        let mut body = Vec::new();
        for detail in [Detail::Everything, Detail::Codes, Detail::Outcomes] {
            wire.settled = settled(&places, detail);
            body = serde_json::to_vec(&wire).expect("strings, numbers and string maps always serialise");
            if body.len() <= MAX_BODY_BYTES {
                break;
            }
        }
        body
    }
}

fn fill(places: &mut [Option<Place>], listed: &[u32], value: &Place) -> Result<(), String> {
    if listed.is_empty() {
        return Err("is empty: an entry speaks of at least one place".to_owned());
    }
    for &index in listed {
        let count = places.len();
        match places.get_mut(index as usize) {
            None => return Err(format!("{index} is no place of a job with {count} ids: places count from 0")),
            Some(Some(_)) => return Err(format!("place {index} stands in the remainder twice: list it once")),
            Some(place) => *place = Some(value.clone()),
        }
    }
    Ok(())
}

impl SettledWire {
    fn place(&self) -> Result<Place, &'static str> {
        if self.presumed && self.outcome != Outcome::Released {
            return Err("Presumed belongs to the outcome Released alone: remove it");
        }
        let evidence = Evidence {
            class: self.class,
            code: self.code.clone(),
            message: self.message.clone(),
            request_id: self.request_id.clone(),
        };
        let (outcome, presumed, suspect) = (self.outcome, self.presumed, self.suspect);
        Ok(Place::Settled(InstanceOutcome { outcome, presumed, suspect, evidence: Arc::new(evidence) }))
    }
}

impl OpenWire {
    fn place(&self) -> Result<Place, &'static str> {
        let age = self.age.map(Duration::try_from).transpose().map_err(|_| "Age is below zero: write none or more")?;
        if age.is_some() && self.attempts == 0 {
            return Err("Age counts from the first failed call, and Attempts is 0: remove it");
        }
        Ok(Place::Open(Open { doubt: self.doubt, attempts: self.attempts, age }))
    }
}

fn settled(places: &[Place], detail: Detail) -> Vec<SettledWire> {
    let mut entries: Vec<SettledWire> = Vec::new();
    let mut known = HashMap::new();
    for (index, place) in (0_u32..).zip(places) {
        let Place::Settled(InstanceOutcome { outcome, presumed, suspect, evidence }) = place else { continue };
        let whole = detail == Detail::Everything;
        let code = evidence.code.as_ref().filter(|_| detail != Detail::Outcomes);
        let (message, request_id) = match whole {
            true => (evidence.message.as_ref(), evidence.request_id.as_ref()),
            false => (None, None),
        };
        let entry = *known
            .entry((outcome, presumed, suspect, evidence.class, code, message, request_id))
            .or_insert_with(|| {
                entries.push(SettledWire {
                    outcome: *outcome,
                    presumed: *presumed,
                    suspect: *suspect,
                    class: evidence.class,
                    code: code.cloned(),
                    message: if whole { evidence.brief() } else { None },
                    request_id: request_id.cloned(),
                    places: Vec::new(),
                });
                entries.len() - 1
            });
        entries[entry].places.push(index);
    }
    entries
}

fn open(places: &[Place]) -> Vec<OpenWire> {
    let mut entries: Vec<OpenWire> = Vec::new();
    let mut known = HashMap::new();
    for (index, place) in (0_u32..).zip(places) {
        let Some(open) = place.open() else { continue };
        let entry = *known.entry(*open).or_insert_with(|| {
            // The settings keep an age far from what a signed one can't hold.
            let age = open.age.map(|age| SignedDuration::try_from(age).unwrap_or(SignedDuration::MAX));
            entries.push(OpenWire { doubt: open.doubt, attempts: open.attempts, age, places: Vec::new() });
            entries.len() - 1
        });
        entries[entry].places.push(index);
    }
    entries
}

#[cfg(test)]
mod tests;
