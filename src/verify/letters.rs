//! Dead letters of jobs: whose they are, whether they still wait, and whether a replay of them was answered.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::results::Arrived;
use crate::contract::{InstanceId, Job, JobId, Message, Place, Remainder, header, result_id};

#[derive(Debug)]
pub(super) struct Letter {
    /// The id of the result that its replay will have.
    next: Uuid,
    pub job: JobId,
    /// In the books: more than one where they can't be told apart by what they ask for.
    pub jobs: Vec<usize>,
    pub ids: Vec<InstanceId>,
    /// The number of its replay, from 1 on.
    pub replay: u32,
    waits: bool,
    pub answered: Answer,
}

/// What came of a letter's replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    None,
    Result,
    /// A result that is no answer to its bytes under its number: it was sent for another account, or imported before.
    Changed,
}

/// All letters, each once, however often it came: a letter is what its replay's result is.
#[derive(Debug, Default)]
pub(super) struct Letters {
    letters: HashMap<Uuid, Letter>,
    /// Of each job, for those that wait under another number. Made when one does.
    by_job: Option<HashMap<JobId, Vec<Uuid>>>,
    /// Whether it is known of each letter if it still waits.
    pub all_seen: bool,
}

impl Letter {
    /// A job that is a dead letter; `None` if it is none, or nobody's in the books.
    pub fn read(message: &Message, writers: impl FnOnce(&Job) -> Vec<usize>) -> Option<Self> {
        let job = Job::parse(&message.body, message.properties.message_id.as_deref()).ok()?;
        let jobs = writers(&job);
        if jobs.is_empty() {
            return None;
        }
        let replay = next_replay(message);
        let next = result_id(&job.id, &message.body, replay);
        Some(Self { next, job: job.id, jobs, ids: job.ids, replay, waits: false, answered: Answer::None })
    }

    /// A remainder: its replay goes on with the job, and its result is the job's own.
    pub fn of_remainder(remainder: &Remainder, message: &Message, job: usize) -> Self {
        let Remainder { job: Job { id, ids, .. }, places, result_id, .. } = remainder;
        let open = ids.iter().zip(places).filter(|(_, place)| matches!(place, Place::Open(_)));
        Self {
            next: *result_id,
            job: id.clone(),
            jobs: vec![job],
            ids: open.map(|(id, _)| id.clone()).collect(),
            replay: next_replay(message),
            waits: false,
            answered: Answer::Result,
        }
    }
}

impl Letters {
    pub fn add(&mut self, letter: Letter) {
        self.by_job = None;
        self.letters.entry(letter.next).or_insert(letter);
    }

    /// This message is among those that wait.
    pub fn wait(&mut self, message: &Message) {
        let Ok(job) = Job::parse(&message.body, message.properties.message_id.as_deref()) else { return };
        if let Some(letter) = self.letters.get_mut(&result_id(&job.id, &message.body, next_replay(message))) {
            letter.waits = true;
            return;
        }
        // It was imported, under a number of its own: the letter that it was has the same bytes.
        let Self { letters, by_job, .. } = self;
        let by_job = by_job.get_or_insert_with(|| {
            let mut by_job = HashMap::<JobId, Vec<Uuid>>::new();
            letters.values().for_each(|letter| by_job.entry(letter.job.clone()).or_default().push(letter.next));
            by_job
        });
        for next in by_job.get(&job.id).into_iter().flatten() {
            let letter =
                letters.get_mut(next).filter(|letter| result_id(&job.id, &message.body, letter.replay) == *next);
            if let Some(letter) = letter {
                letter.waits = true;
            }
        }
    }

    /// The letter whose replay has this result.
    pub fn answered_by(&mut self, result: Uuid) -> Option<&mut Letter> {
        self.letters.get_mut(&result)
    }

    /// The letter whose replay may have this result, for another account or from a file.
    pub fn changed(&mut self, arrived: &Arrived) -> Option<&mut Letter> {
        let all_seen = self.all_seen;
        self.letters.values_mut().find(|letter| {
            let left = letter.answered == Answer::None && all_seen && !letter.waits;
            left && letter.job == arrived.job && arrived.lists(letter.ids.iter())
        })
    }

    /// Those that have left, and nothing came of it.
    pub fn unanswered(&self) -> Vec<&Letter> {
        let left = |letter: &&Letter| self.all_seen && !letter.waits && letter.answered == Answer::None;
        let mut unanswered: Vec<_> = self.letters.values().filter(left).collect();
        unanswered.sort_by_key(|letter| (&letter.jobs, letter.replay, letter.next));
        unanswered
    }

    /// Ids that may have been sent to another account than their jobs asked for.
    pub fn changed_ids(&self) -> HashSet<&InstanceId> {
        let changed = self.letters.values().filter(|letter| letter.answered == Answer::Changed);
        changed.flat_map(|letter| &letter.ids).collect()
    }
}

fn next_replay(message: &Message) -> u32 {
    let replayed = message.properties.headers.get(header::REPLAY).and_then(|text| text.parse::<u32>().ok());
    replayed.unwrap_or(0).saturating_add(1)
}
