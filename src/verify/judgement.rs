//! From the books to the report: the rules that hold whatever happened on the way.

use std::collections::HashSet;

use super::books::{Books, Calls, IdEntry, JobEntry};
use super::finding::Finding;
use super::report::{Ended, InstanceReport, JobReport, Report, Summary};
use crate::contract::{InstanceId, Outcome};

impl Books {
    /// Judges what was entered. Without jobs, only results and ledger are held against each other.
    pub fn judged(mut self) -> Report {
        let mut summary = Summary::default();
        self.place_the_rest(&mut summary);
        let mut findings = Vec::new();
        for malformed in self.malformed.values().filter(|malformed| !malformed.dead) {
            findings.push(Finding::Vanished { message: malformed.name.clone() });
        }
        for job in &self.jobs {
            job.judge(&mut findings);
        }
        if let Some(calls) = &self.calls {
            self.judge_outcomes(calls, &mut findings);
            if !self.jobs.is_empty() {
                self.judge_calls(calls, &mut findings);
            }
            summary.calls = Some(calls.count);
            summary.released = Some(calls.released.len() as u64);
        }
        summary.dead_letters = self.dead_letters;
        summary.others += self.strange_dead_letters;
        let released_by = |id: &InstanceId| self.calls.as_ref().and_then(|calls| calls.released.get(id).copied());
        let jobs: Vec<_> = std::mem::take(&mut self.jobs).into_iter().map(|job| job.report(released_by)).collect();
        for job in &jobs {
            summary.count(job);
        }
        summary.jobs += self.malformed.len() as u64;
        summary.missing = findings.iter().filter(|finding| finding.is_missing()).count() as u64;
        summary.wrong = findings.len() as u64 - summary.missing;
        Report { summary, findings, jobs }
    }

    fn place_the_rest(&mut self, summary: &mut Summary) {
        for result in std::mem::take(&mut self.unplaced) {
            let Some(result) = self.place(result) else { continue };
            let Some(places) = self.by_name.get(&result.job) else {
                summary.others += 1;
                continue;
            };
            summary.namesakes += 1;
            for place in places {
                self.jobs[*place].enter(&result.outcomes);
            }
        }
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
            let told = said.is_empty() && self.asked_at_all.contains(id);
            if !told && !said.is_gone() && !said.has(Outcome::Unresolved) {
                let outcomes = said.outcomes();
                findings.push(Finding::Unreported { instance_id: id.clone(), call: *call, outcomes });
            }
        }
    }

    /// Only what was asked for was called, a hundred at most, and together only what may be.
    fn judge_calls(&self, calls: &Calls, findings: &mut Vec<Finding>) {
        for (id, call) in &calls.released {
            if !self.asked_at_all.contains(id) {
                findings.push(Finding::ReleasedUnasked { instance_id: id.clone(), call: *call });
            }
        }
        for (call, group, ids) in &calls.by_group {
            let stray = ids.iter().filter(|id| !self.asked.contains(&(*group, (*id).clone()))).cloned();
            let (other, unasked): (Vec<_>, Vec<_>) = stray.partition(|id| self.asked_at_all.contains(id));
            if !other.is_empty() {
                findings.push(Finding::MixedGroups { call: *call, instance_ids: other });
            }
            if !unasked.is_empty() {
                findings.push(Finding::CalledUnasked { call: *call, instance_ids: unasked });
            }
        }
        findings.extend(calls.too_large.iter().map(|(call, ids)| Finding::TooLarge { call: *call, ids: *ids }));
        findings.extend(calls.twice.iter().map(|call| Finding::NamedTwice { call: *call }));
    }
}

impl JobEntry {
    fn judge(&self, findings: &mut Vec<Finding>) {
        if self.results.is_empty() {
            let in_dead_letters = self.ids.iter().filter(|entry| entry.dead).count();
            findings.push(Finding::Unanswered { job_id: self.job.clone(), ids: self.ids.len(), in_dead_letters });
            return;
        }
        if self.lists_other_ids {
            findings.push(Finding::OtherIds { job_id: self.job.clone() });
        }
        for entry in self.ids.iter().filter(|entry| !entry.dead && entry.is_given_up(self.invalid)) {
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
            in_dead_letters: entry.dead,
            released_by: released_by(&entry.id),
            instance_id: entry.id,
        };
        let Self { job, result_id, ids, sent, results, replays, .. } = self;
        let instances = ids.into_iter().map(instance).collect();
        JobReport { job_id: job, result_id, sent, results, replays, instances }
    }
}

impl IdEntry {
    /// Neither gone nor refused on purpose: somebody will want to send it again.
    fn is_given_up(&self, invalid_job: bool) -> bool {
        let given_up = self.said.has(Outcome::Rejected) || self.said.has(Outcome::Unresolved) || invalid_job;
        given_up && !self.said.is_gone()
    }

    fn ended(&self) -> Ended {
        let first = [(Outcome::Released, Ended::Released), (Outcome::AlreadyGone, Ended::AlreadyGone)];
        let last =
            [(Outcome::Refused, Ended::Refused), (Outcome::Expired, Ended::Expired), (Outcome::DryRun, Ended::DryRun)];
        let said =
            |ends: &[(Outcome, Ended)]| ends.iter().find(|(outcome, _)| self.said.has(*outcome)).map(|(_, end)| *end);
        match said(&first) {
            Some(ended) => ended,
            None if self.dead => Ended::DeadLetter,
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
