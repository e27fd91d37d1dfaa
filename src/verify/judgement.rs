//! From the books to the report: the rules that hold whatever happened on the way.

use std::collections::HashSet;

use super::books::Books;
use super::calls::Calls;
use super::finding::Finding;
use super::jobs::{IdEntry, JobEntry};
use super::report::{Ended, InstanceReport, JobReport, Report, Summary};
use crate::contract::{InstanceId, Outcome};

impl Books {
    /// Judges what was entered. Without jobs, only results and ledger are held against each other.
    pub fn judged(mut self) -> Report {
        self.place_the_rest();
        let mut findings = std::mem::take(&mut self.findings);
        findings.extend(self.garbage.vanished());
        for letter in self.letters.unanswered() {
            let (job_id, ids, replay) = (letter.job.clone(), letter.ids.len(), letter.replay);
            findings.push(Finding::ReplayUnanswered { job_id, ids, replay });
            letter.jobs.iter().for_each(|job| self.jobs[*job].lost(letter));
        }
        for job in &self.jobs {
            job.judge(&mut findings);
        }
        if let Some(calls) = &self.calls {
            self.judge_outcomes(calls, &mut findings);
            if !self.jobs.is_empty() {
                self.judge_releases(calls, &mut findings);
            }
            findings.extend(calls.findings.iter().cloned());
        }
        let mut summary = Summary {
            dead_letters: self.dead_letters,
            namesakes: self.namesakes,
            others: self.strange_results + self.strange_dead_letters,
            calls: self.calls.as_ref().map(|calls| calls.count),
            released: self.calls.as_ref().map(|calls| calls.released.len() as u64),
            ..Summary::default()
        };
        let released_by = |id: &InstanceId| self.calls.as_ref().and_then(|calls| calls.released.get(id).copied());
        let jobs: Vec<_> = self.jobs.into_iter().map(|job| job.report(released_by)).collect();
        for job in &jobs {
            summary.count(job);
        }
        summary.jobs += self.garbage.count();
        summary.missing = findings.iter().filter(|finding| finding.is_missing()).count() as u64;
        summary.wrong = findings.len() as u64 - summary.missing;
        Report { summary, findings, jobs }
    }

    /// Results and ledger agree on every id.
    fn judge_outcomes(&self, calls: &Calls, findings: &mut Vec<Finding>) {
        for (id, said) in &self.said {
            let gone = calls.released.contains_key(id) || calls.never_there.contains(id);
            if said.is_gone() && !gone {
                findings.push(Finding::NotReleased { instance_id: id.clone(), outcomes: said.outcomes() });
            }
        }
        for (id, call) in &calls.released {
            let said = self.said.get(id).copied().unwrap_or_default();
            // A job without any result is told by itself.
            let told = said.is_empty() && self.asked.has(id);
            if !told && !said.is_gone() && !said.has(Outcome::Unresolved) {
                let outcomes = said.outcomes();
                findings.push(Finding::Unreported { instance_id: id.clone(), call: *call, outcomes });
            }
        }
    }

    /// Only what was asked for was released, and by whoever calls for its account.
    fn judge_releases(&self, calls: &Calls, findings: &mut Vec<Finding>) {
        for (id, call) in &calls.released {
            if !self.asked.has(id) {
                findings.push(Finding::ReleasedUnasked { instance_id: id.clone(), call: *call });
            }
        }
        findings.extend(calls.strange_callers(&self.letters.changed_ids()));
    }
}

impl JobEntry {
    fn judge(&self, findings: &mut Vec<Finding>) {
        let results = self.results.len();
        if results == 0 {
            let in_dead_letters = self.ids.iter().filter(|entry| entry.dead.is_some()).count();
            findings.push(Finding::Unanswered { job_id: self.job.clone(), ids: self.ids.len(), in_dead_letters });
        } else if results < self.sent as usize {
            findings.push(Finding::TooFewResults { job_id: self.job.clone(), sent: self.sent, results });
        }
        for entry in self.ids.iter().filter(|entry| entry.is_in_no_letter()) {
            findings.push(Finding::NotInDeadLetters {
                job_id: self.job.clone(),
                instance_id: entry.id.clone(),
                outcomes: entry.said.outcomes(),
            });
        }
    }

    fn report(self, released_by: impl Fn(&InstanceId) -> Option<u64>) -> JobReport {
        let instance = |entry: IdEntry| InstanceReport {
            ended: entry.ended(),
            outcomes: entry.said.outcomes(),
            in_dead_letters: entry.dead.is_some() && !entry.lost,
            released_by: released_by(&entry.id),
            instance_id: entry.id,
        };
        let Self { job, result_id, ids, sent, results, replays, .. } = self;
        let instances = ids.into_iter().map(instance).collect();
        JobReport { job_id: job, result_id, sent, results, replays, instances }
    }
}

impl IdEntry {
    fn ended(&self) -> Ended {
        let first = [(Outcome::Released, Ended::Released), (Outcome::AlreadyGone, Ended::AlreadyGone)];
        let last =
            [(Outcome::Refused, Ended::Refused), (Outcome::Expired, Ended::Expired), (Outcome::DryRun, Ended::DryRun)];
        let said =
            |ends: &[(Outcome, Ended)]| ends.iter().find(|(outcome, _)| self.said.has(*outcome)).map(|(_, end)| *end);
        match said(&first) {
            Some(ended) => ended,
            None if self.lost => Ended::Missing,
            None if self.dead.is_some() => Ended::DeadLetter,
            None => said(&last).unwrap_or(Ended::Missing),
        }
    }
}

impl Summary {
    fn count(&mut self, job: &JobReport) {
        self.jobs += 1;
        self.ids += job.instances.len() as u64;
        for instance in &job.instances {
            *self.ended.entry(instance.ended).or_default() += 1;
        }
        self.results += job.results.len() as u64;
        self.repeats += (job.results.len() as u64).saturating_sub(job.sent.into());
        self.replays += job.replays.iter().map(|replay| replay.result_id).collect::<HashSet<_>>().len() as u64;
    }
}
