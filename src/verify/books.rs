//! The facts, entered one by one: what was asked for, what was answered, what was given up on, what was called.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::report::ResultReport;
use crate::contract::{
    GroupKey, InstanceId, Job, JobId, JobResult, Message, Outcome, Remainder, Status, header, result_id,
};

/// A call as the API's side wrote it down.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub number: u64,
    /// ProductCode, SubscriptionType, ProductType, Region, RenewStatus, as they were sent.
    pub group: [Option<String>; 5],
    pub instance_ids: Vec<String>,
    /// What it released, whatever it was answered.
    pub released: Vec<String>,
}

/// Everything that is known. [`Books::judged`](super::Books::judged) makes a report of it.
#[derive(Debug, Default)]
pub struct Books {
    pub(super) jobs: Vec<JobEntry>,
    /// Bodies that are no jobs: they have a dead letter only.
    pub(super) malformed: HashMap<[u8; 32], Malformed>,
    pub(super) by_name: HashMap<JobId, Vec<usize>>,
    pub(super) by_result: HashMap<Uuid, Place>,
    /// Results that came before what tells whose they are.
    pub(super) unplaced: Vec<Unplaced>,
    pub(super) said: HashMap<InstanceId, Said>,
    /// What jobs that are no dry runs asked for.
    pub(super) asked: HashSet<(u32, InstanceId)>,
    pub(super) asked_at_all: HashSet<InstanceId>,
    pub(super) groups: HashMap<[Option<String>; 5], u32>,
    pub(super) calls: Option<Calls>,
    pub(super) dead_letters: u64,
    /// Dead letters of nobody in the books.
    pub(super) strange_dead_letters: u64,
}

/// What a job's body means, found by its result's id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub job: usize,
    /// 0 for the job as it was sent.
    pub replay: u32,
}

#[derive(Debug)]
pub(super) struct JobEntry {
    pub job: JobId,
    pub result_id: Uuid,
    pub ids: Vec<IdEntry>,
    /// How often the very same message was sent.
    pub sent: u32,
    pub results: Vec<ResultReport>,
    pub replays: Vec<ResultReport>,
    pub invalid: bool,
    pub lists_other_ids: bool,
}

#[derive(Debug)]
pub(super) struct IdEntry {
    pub id: InstanceId,
    pub said: Said,
    pub dead: bool,
}

#[derive(Debug)]
pub(super) struct Malformed {
    pub name: String,
    pub dead: bool,
}

#[derive(Debug)]
pub(super) struct Unplaced {
    pub job: JobId,
    pub result_id: Uuid,
    pub invalid: bool,
    pub outcomes: Vec<(InstanceId, Outcome)>,
    pub result: ResultReport,
}

/// The ledger of an API that keeps one.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub count: u64,
    pub released: HashMap<InstanceId, u64>,
    /// Ids that were there for no call to release, as the API says when it is asked.
    pub never_there: HashSet<InstanceId>,
    /// Calls that break a rule, judged as they come: there may be very many of them that don't.
    pub too_large: Vec<(u64, usize)>,
    pub twice: Vec<u64>,
    pub by_group: Vec<(u64, u32, Vec<InstanceId>)>,
}

/// Which outcomes were said of an id.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Said(u8);

impl Said {
    pub fn add(&mut self, outcome: Outcome) {
        self.0 |= 1 << outcome as u8;
    }

    pub fn has(self, outcome: Outcome) -> bool {
        self.0 & (1 << outcome as u8) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn is_gone(self) -> bool {
        self.has(Outcome::Released) || self.has(Outcome::AlreadyGone)
    }

    pub fn outcomes(self) -> Vec<Outcome> {
        Outcome::ALL.into_iter().filter(|outcome| self.has(*outcome)).collect()
    }
}

impl Books {
    /// A job was sent: its body's very bytes, and the name beside them, if it had one.
    pub fn job(&mut self, body: &[u8], message_id: Option<&str>) {
        let Ok(job) = Job::parse(body, message_id) else {
            let name = message_id.map_or_else(|| JobId::of_body(body).to_string(), str::to_owned);
            self.malformed.insert(Sha256::digest(body).into(), Malformed { name, dead: false });
            return;
        };
        let result_id = result_id(&job.id, body, 0);
        if let Some(place) = self.by_result.get(&result_id) {
            self.jobs[place.job].sent += 1;
            return;
        }
        let place = self.jobs.len();
        let group = self.group_number(group_of(&job.group));
        if !job.dry_run {
            self.asked.extend(job.ids.iter().map(|id| (group, id.clone())));
            self.asked_at_all.extend(job.ids.iter().cloned());
        }
        self.by_result.insert(result_id, Place { job: place, replay: 0 });
        self.by_name.entry(job.id.clone()).or_default().push(place);
        let entry = |id| IdEntry { id, said: Said::default(), dead: false };
        self.jobs.push(JobEntry {
            job: job.id,
            result_id,
            ids: job.ids.into_iter().map(entry).collect(),
            sent: 1,
            results: Vec::new(),
            replays: Vec::new(),
            invalid: false,
            lists_other_ids: false,
        });
    }

    /// A result came.
    pub fn result(&mut self, result: JobResult) {
        let outcomes: Vec<_> = result.instances.into_iter().map(|each| (each.instance_id, each.outcome)).collect();
        for (id, outcome) in &outcomes {
            self.said.entry(id.clone()).or_default().add(*outcome);
        }
        let brief = ResultReport {
            result_id: result.result_id,
            worker: result.worker,
            received_at: result.received_at,
            finished_at: result.finished_at,
        };
        self.unplaced.push(Unplaced {
            job: result.job_id,
            result_id: result.result_id,
            invalid: result.status == Status::Invalid,
            outcomes,
            result: brief,
        });
        // Those that can be placed need not be kept whole.
        if let Some(last) = self.unplaced.pop_if(|last| self.by_result.contains_key(&last.result_id)) {
            self.place(last);
        }
    }

    /// A dead letter came.
    pub fn dead_letter(&mut self, message: &Message) {
        self.dead_letters += 1;
        let name = message.properties.message_id.as_deref();
        let headers = &message.properties.headers;
        if headers.contains_key(header::PART) {
            // Only what never parsed is that large; a part of it has no digest to find it by.
            let whole = self.malformed.values_mut().find(|malformed| Some(malformed.name.as_str()) == name);
            match whole {
                Some(malformed) => malformed.dead = true,
                None => self.strange_dead_letters += 1,
            }
            return;
        }
        let digest: [u8; 32] = Sha256::digest(&message.body).into();
        if let Some(malformed) = self.malformed.get_mut(&digest) {
            malformed.dead = true;
            return;
        }
        // The broker's own delivery limit leaves a remainder as it was.
        let remainder = || Remainder::parse(&message.body).ok().map(|remainder| remainder.job);
        let known = Job::parse(&message.body, name).ok().or_else(remainder);
        let known = known.and_then(|job| self.by_name.get(&job.id).cloned().map(|places| (job, places)));
        let Some((job, places)) = known else {
            self.strange_dead_letters += 1;
            return;
        };
        let replay = headers.get(header::REPLAY).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0) + 1;
        let next = result_id(&job.id, &message.body, replay);
        let dead: HashSet<&InstanceId> = job.ids.iter().collect();
        for place in places {
            let mut its_own = false;
            for entry in &mut self.jobs[place].ids {
                if dead.contains(&entry.id) {
                    (entry.dead, its_own) = (true, true);
                }
            }
            if its_own {
                self.by_result.entry(next).or_insert(Place { job: place, replay });
            }
        }
    }

    /// A call came to the API.
    pub fn call(&mut self, call: Call) {
        let group = self.group_number(call.group);
        let calls = self.calls.get_or_insert_default();
        calls.count += 1;
        if call.instance_ids.len() > crate::contract::MAX_IDS_PER_CALL {
            calls.too_large.push((call.number, call.instance_ids.len()));
        }
        if call.instance_ids.iter().collect::<HashSet<_>>().len() < call.instance_ids.len() {
            calls.twice.push(call.number);
        }
        for id in call.released.iter().filter_map(|id| InstanceId::new(id).ok()) {
            calls.released.entry(id).or_insert(call.number);
        }
        // Jobs may be entered later: whether each id was asked for in this group is judged at the end. What is known to
        // be right already is not kept.
        let ids = call.instance_ids.iter().filter_map(|id| InstanceId::new(id).ok());
        let open: Vec<_> = ids.filter(|id| !self.asked.contains(&(group, id.clone()))).collect();
        if !open.is_empty() {
            calls.by_group.push((call.number, group, open));
        }
    }

    /// The API keeps a ledger, even if no call is in it.
    pub fn ledger(&mut self) {
        self.calls.get_or_insert_default();
    }

    /// Ids that a result calls gone and no call released: whether they were there has to be asked.
    pub fn gone_without_a_call(&self) -> Vec<InstanceId> {
        let Some(calls) = &self.calls else { return Vec::new() };
        let mut ids: Vec<_> = self.said.iter().filter(|(_, said)| said.is_gone()).map(|(id, _)| id.clone()).collect();
        ids.retain(|id| !calls.released.contains_key(id));
        ids.sort();
        ids
    }

    /// The API says that such an id was there for no call to release.
    pub fn never_there(&mut self, id: InstanceId) {
        self.calls.get_or_insert_default().never_there.insert(id);
    }

    /// Enters a result where it belongs; gives it back if nobody knows it.
    pub(super) fn place(&mut self, result: Unplaced) -> Option<Unplaced> {
        let Some(place) = self.by_result.get(&result.result_id).copied() else { return Some(result) };
        let entry = &mut self.jobs[place.job];
        entry.enter(&result.outcomes);
        if place.replay == 0 {
            entry.invalid |= result.invalid;
            let listed: HashSet<_> = result.outcomes.iter().map(|(id, _)| id).collect();
            entry.lists_other_ids |= listed.len() != result.outcomes.len()
                || listed.len() != entry.ids.len()
                || !entry.ids.iter().all(|own| listed.contains(&own.id));
            entry.results.push(result.result);
        } else {
            entry.replays.push(result.result);
        }
        None
    }

    fn group_number(&mut self, group: [Option<String>; 5]) -> u32 {
        let next = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        *self.groups.entry(group).or_insert(next)
    }
}

impl JobEntry {
    /// Takes over what a result of this name says of its ids.
    pub fn enter(&mut self, outcomes: &[(InstanceId, Outcome)]) {
        // Nearly always in the job's own order.
        if outcomes.iter().map(|(id, _)| id).eq(self.ids.iter().map(|entry| &entry.id)) {
            for (entry, (_, outcome)) in self.ids.iter_mut().zip(outcomes) {
                entry.said.add(*outcome);
            }
            return;
        }
        let mut places: HashMap<InstanceId, &mut IdEntry> =
            self.ids.iter_mut().map(|entry| (entry.id.clone(), entry)).collect();
        for (id, outcome) in outcomes {
            if let Some(entry) = places.get_mut(id) {
                entry.said.add(*outcome);
            }
        }
    }
}

fn group_of(group: &GroupKey) -> [Option<String>; 5] {
    [
        Some(group.product_code.to_string()),
        Some(group.subscription_type.as_str().to_owned()),
        group.product_type.as_ref().map(ToString::to_string),
        group.region.as_ref().map(ToString::to_string),
        group.renew_status.map(|status| status.as_str().to_owned()),
    ]
}
