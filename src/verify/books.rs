//! The facts, entered one by one: what was asked for, what was answered, what was given up on, what was called. Each kind
//! has a file of its own; this one says whose a fact is.

use std::collections::HashMap;

use uuid::Uuid;

use super::calls::{Asked, Call, Calls};
use super::finding::Finding;
use super::garbage::Garbage;
use super::jobs::{JobEntry, Said};
use super::letters::{Answer, Letter, Letters};
use super::results::Arrived;
use crate::contract::{GroupKey, InstanceId, Job, JobId, JobResult, Message, Remainder, result_id};

/// Everything that is known. [`Books::judged`](super::Books::judged) makes a report of it.
#[derive(Debug, Default)]
pub struct Books {
    pub(super) jobs: Vec<JobEntry>,
    /// Bodies that are no jobs: they have a dead letter only.
    pub(super) garbage: Garbage,
    by_name: HashMap<JobId, Vec<usize>>,
    by_result: HashMap<Uuid, usize>,
    pub(super) letters: Letters,
    /// Results that came before what tells whose they are.
    unplaced: Vec<Arrived>,
    pub(super) said: HashMap<InstanceId, Said>,
    /// What jobs that are no dry runs asked for.
    pub(super) asked: Asked,
    pub(super) calls: Option<Calls>,
    /// What was wrong with a fact when it was entered.
    pub(super) findings: Vec<Finding>,
    pub(super) dead_letters: u64,
    /// Dead letters of nobody in the books.
    pub(super) strange_dead_letters: u64,
    /// Results of other bodies under a name in the books, and of nobody in the books.
    pub(super) namesakes: u64,
    pub(super) strange_results: u64,
}

impl Books {
    /// A job was sent: its body's very bytes, and the name beside them, if it had one. All jobs are entered first; what came
    /// of them follows in any order.
    pub fn job(&mut self, body: &[u8], message_id: Option<&str>) {
        let Ok(job) = Job::parse(body, message_id) else {
            return self.garbage.sent(body, message_id);
        };
        let result_id = result_id(&job.id, body, 0);
        if let Some(place) = self.by_result.get(&result_id) {
            self.jobs[*place].sent += 1;
            return;
        }
        if !job.dry_run {
            self.asked.add(&job);
        }
        let place = self.jobs.len();
        self.by_result.insert(result_id, place);
        self.by_name.entry(job.id.clone()).or_default().push(place);
        self.jobs.push(JobEntry::new(job, result_id));
    }

    /// A result came.
    pub fn result(&mut self, result: JobResult) {
        let arrived = Arrived::new(result, &mut self.findings);
        for (id, outcome) in &arrived.outcomes {
            self.said.entry(id.clone()).or_default().add(*outcome);
        }
        // Those that can be placed need not be kept whole.
        let unplaced = self.place(arrived);
        self.unplaced.extend(unplaced);
    }

    /// Enters a result where its id says that it belongs; gives it back if nothing is known of that id.
    fn place(&mut self, arrived: Arrived) -> Option<Arrived> {
        if let Some(place) = self.by_result.get(&arrived.result_id) {
            self.jobs[*place].answered(&arrived, &mut self.findings);
            return None;
        }
        let Some(letter) = self.letters.answered_by(arrived.result_id) else { return Some(arrived) };
        letter.answered = Answer::Result;
        for job in &letter.jobs {
            self.jobs[*job].replayed(&arrived, letter, &mut self.findings);
        }
        None
    }

    /// Enters what could not be placed when it came. A replay for another account has a body of its own, one of an imported
    /// letter a number of its own, and so an id that nobody can foresee: it is known by the ids of the letter that left.
    pub(super) fn place_the_rest(&mut self) {
        for arrived in std::mem::take(&mut self.unplaced) {
            let Some(arrived) = self.place(arrived) else { continue };
            if !self.by_name.contains_key(&arrived.job) {
                self.strange_results += 1;
            } else if let Some(letter) = self.letters.changed(&arrived) {
                letter.answered = Answer::Changed;
                for job in &letter.jobs {
                    self.jobs[*job].replayed(&arrived, letter, &mut self.findings);
                }
            } else {
                self.namesakes += 1;
            }
        }
    }

    /// A dead letter came.
    pub fn dead_letter(&mut self, message: &Message) {
        self.dead_letters += 1;
        if self.garbage.letter(message) {
            return;
        }
        let letter = Letter::read(message, |job| self.writers(job));
        let Some(letter) = letter.or_else(|| self.worn_out(message)) else {
            self.strange_dead_letters += 1;
            return;
        };
        for job in &letter.jobs {
            self.jobs[*job].died(&letter);
        }
        self.letters.add(letter);
    }

    /// The jobs that a dead letter may be the rest of: those of its name that ask for its ids and as it does. One that was
    /// sent to another account keeps everything else.
    fn writers(&self, letter: &Job) -> Vec<usize> {
        let places = self.by_name.get(&letter.id).map(Vec::as_slice).unwrap_or_default();
        let writers = |group: &dyn Fn(&GroupKey) -> bool| -> Vec<usize> {
            let asks = |place: &&usize| {
                let job = &self.jobs[**place];
                group(&job.group) && job.asks_like(letter)
            };
            places.iter().filter(asks).copied().collect()
        };
        let own = writers(&|group| *group == letter.group);
        if !own.is_empty() {
            return own;
        }
        writers(&|group| GroupKey { account: letter.group.account.clone(), ..group.clone() } == letter.group)
    }

    /// A remainder that the broker's own delivery limit put aside.
    fn worn_out(&self, message: &Message) -> Option<Letter> {
        let remainder = Remainder::parse(&message.body).ok()?;
        let place = self.by_result.get(&remainder.result_id)?;
        Some(Letter::of_remainder(&remainder, message, *place))
    }

    /// This dead letter waits in the dead letters, or in their archive, now.
    pub fn waits(&mut self, message: &Message) {
        self.letters.wait(message);
    }

    /// Every dead letter that waits has been entered: what is not among them has left.
    pub fn no_other_waits(&mut self) {
        self.letters.all_seen = true;
    }

    /// A call came to the API.
    pub fn call(&mut self, call: Call) {
        self.calls.get_or_insert_default().enter(call, &self.asked);
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
}
