//! A job in the books: what it asked for, and what was said of each of its ids.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::finding::Finding;
use super::letters::Letter;
use super::report::ResultReport;
use super::results::Arrived;
use crate::contract::{GroupKey, InstanceId, Job, JobId, Outcome, Status};

#[derive(Debug)]
pub(super) struct JobEntry {
    pub job: JobId,
    pub result_id: Uuid,
    pub group: GroupKey,
    pub ids: Vec<IdEntry>,
    /// How often the very same message was sent.
    pub sent: u32,
    pub results: Vec<ResultReport>,
    pub replays: Vec<ResultReport>,
    dry_run: bool,
    not_after: Option<Timestamp>,
}

#[derive(Debug)]
pub(super) struct IdEntry {
    pub id: InstanceId,
    pub said: Said,
    /// The last replay after which a dead letter carries it, and after which a result gave it up; 0 is the job as it was sent.
    pub dead: Option<u32>,
    pub given_up: Option<u32>,
    /// The dead letter that carries it has left, and nothing came of it.
    pub lost: bool,
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

impl JobEntry {
    pub fn new(job: Job, result_id: Uuid) -> Self {
        let entry = |id| IdEntry { id, said: Said::default(), dead: None, given_up: None, lost: false };
        Self {
            job: job.id,
            result_id,
            group: job.group,
            ids: job.ids.into_iter().map(entry).collect(),
            sent: 1,
            results: Vec::new(),
            replays: Vec::new(),
            dry_run: job.dry_run,
            not_after: job.not_after,
        }
    }

    /// Whether this dead letter may be what is left of the job, its group apart.
    pub fn asks_like(&self, letter: &Job) -> bool {
        let own: HashSet<_> = self.ids.iter().map(|entry| &entry.id).collect();
        (self.dry_run, self.not_after) == (letter.dry_run, letter.not_after)
            && letter.ids.iter().all(|id| own.contains(id))
    }

    /// The job's own result came, or came again.
    pub fn answered(&mut self, arrived: &Arrived, findings: &mut Vec<Finding>) {
        if arrived.job != self.job {
            findings.push(Finding::OtherName { job_id: self.job.clone(), named: arrived.job.clone() });
        }
        if !arrived.lists(self.ids.iter().map(|entry| &entry.id)) {
            findings.push(Finding::OtherIds { job_id: self.job.clone(), replay: 0 });
        }
        self.enter(arrived, 0, findings);
        self.results.push(arrived.report.clone());
    }

    /// A result of a replay of its dead letter came.
    pub fn replayed(&mut self, arrived: &Arrived, letter: &Letter, findings: &mut Vec<Finding>) {
        let replay = letter.replay;
        if arrived.job != self.job {
            findings.push(Finding::OtherName { job_id: self.job.clone(), named: arrived.job.clone() });
        }
        if !arrived.lists(letter.ids.iter()) {
            findings.push(Finding::OtherIds { job_id: self.job.clone(), replay });
        }
        self.enter(arrived, replay, findings);
        self.replays.push(arrived.report.clone());
    }

    /// A dead letter came that carries ids of it.
    pub fn died(&mut self, letter: &Letter) {
        self.each_of(letter, |entry| entry.dead = entry.dead.max(Some(letter.replay - 1)));
    }

    /// The ids of a letter were not heard of again.
    pub fn lost(&mut self, letter: &Letter) {
        self.each_of(letter, |entry| entry.lost = true);
    }

    fn each_of(&mut self, letter: &Letter, change: impl FnMut(&mut IdEntry)) {
        let dead: HashSet<_> = letter.ids.iter().collect();
        self.ids.iter_mut().filter(|entry| dead.contains(&entry.id)).for_each(change);
    }

    /// Takes over what a result says, and holds it against what the job asked for.
    fn enter(&mut self, arrived: &Arrived, replay: u32, findings: &mut Vec<Finding>) {
        if let Some(right) = arrived.other_status(self.dry_run) {
            let (job_id, status) = (self.job.clone(), arrived.status);
            findings.push(Finding::OtherStatus { job_id, replay, status, right });
        }
        for outcome in Outcome::ALL {
            let Some(wish) = self.forbids(outcome, arrived.report.finished_at) else { continue };
            let mut ids = arrived.outcomes.iter().filter(|(_, said)| *said == outcome).map(|(id, _)| id);
            if let Some(first) = ids.next() {
                let (job_id, instance_id, ids) = (self.job.clone(), first.clone(), 1 + ids.count());
                findings.push(Finding::AgainstItsWish { job_id, outcome, wish, ids, instance_id });
            }
        }
        let refused = arrived.status == Status::Invalid;
        let enter = |entry: &mut IdEntry, outcome: Outcome| {
            entry.said.add(outcome);
            if refused || matches!(outcome, Outcome::Rejected | Outcome::Unresolved) {
                entry.given_up = entry.given_up.max(Some(replay));
            }
        };
        // Nearly always in the job's own order.
        if arrived.outcomes.iter().map(|(id, _)| id).eq(self.ids.iter().map(|entry| &entry.id)) {
            self.ids.iter_mut().zip(&arrived.outcomes).for_each(|(entry, (_, outcome))| enter(entry, *outcome));
            return;
        }
        let mut places: HashMap<_, _> = self.ids.iter_mut().map(|entry| (entry.id.clone(), entry)).collect();
        for (id, outcome) in &arrived.outcomes {
            if let Some(entry) = places.get_mut(id) {
                enter(entry, *outcome);
            }
        }
    }

    /// The wish of the job that an outcome would go against.
    fn forbids(&self, outcome: Outcome, finished_at: Timestamp) -> Option<String> {
        match outcome {
            Outcome::Released | Outcome::AlreadyGone | Outcome::Rejected if self.dry_run => {
                Some("is a dry run".to_owned())
            }
            Outcome::DryRun if !self.dry_run => Some("is no dry run".to_owned()),
            Outcome::Expired => match self.not_after {
                None => Some("has no NotAfter".to_owned()),
                Some(at) if at > finished_at => Some(format!("may be done until {at}")),
                Some(_) => None,
            },
            _ => None,
        }
    }
}

impl IdEntry {
    /// Somebody will want to send it again, and can't.
    pub fn is_in_no_letter(&self) -> bool {
        self.given_up > self.dead && !self.said.is_gone()
    }
}
