//! What a verdict means for every id of its batch: an outcome, another try, or a search for the ids at fault.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::course::{CallKey, Plan, Reading};
use super::failing::Failing;
use super::flight::{Flight, Phase};
use super::split::{Finding, Guilt, Split};
use super::{Engine, EngineSettings, Moment};
use crate::contract::{Doubt, Evidence, InstanceId, InstanceOutcome, Outcome, Refusal, Verdict};

impl Engine {
    /// A call has its verdict.
    pub fn verdict(&mut self, key: CallKey, verdict: &Verdict, now: Moment) {
        let Some(asked) = self.call_came_back(key, now) else { return };
        if let Verdict::Released(_) | Verdict::Refused(..) = verdict {
            self.failing = Failing::default();
            if let Some(course) = self.courses.get(&key) {
                self.blamed.clear(&course.group, &asked);
            }
        }
        match verdict {
            Verdict::Released(evidence) => self.released(key, asked, evidence, now),
            // The lane waits, not the batch: neither costs an attempt. Another batch is tried next, lest one hold the lane.
            Verdict::Throttled(_) => self.queue_up_again(key, now),
            Verdict::Account(evidence) => self.account_blamed(key, &asked, evidence, now),
            Verdict::Transient(evidence) => self.failed(key, &asked, evidence, now),
            Verdict::Unknown(evidence) => {
                self.may_have_landed(key, &asked);
                self.failed(key, &asked, evidence, now);
            }
            Verdict::Refused(refusal, evidence) => self.refused(key, asked, *refusal, evidence, now),
        }
    }

    /// A call has its verdict while no call can succeed: a failure is not its batch's, so it costs no attempt. What is in no
    /// call is parked.
    pub fn outage(&mut self, key: CallKey, verdict: &Verdict, now: Moment) {
        match verdict {
            Verdict::Transient(_) | Verdict::Unknown(_) | Verdict::Account(_) => {
                if let Some(asked) = self.call_came_back(key, now) {
                    match verdict {
                        Verdict::Unknown(_) => self.may_have_landed(key, &asked),
                        Verdict::Account(_) => self.blame_account(key, &asked),
                        _ => {}
                    }
                    self.queue_up_again(key, now);
                }
            }
            Verdict::Released(_) | Verdict::Throttled(_) | Verdict::Refused(..) => {
                self.verdict(key, verdict, now);
            }
        }
        self.park(now);
    }

    /// What a call had asked, if anybody still wants to know.
    fn call_came_back(&mut self, key: CallKey, now: Moment) -> Option<Vec<InstanceId>> {
        self.calls_under_way = self.calls_under_way.saturating_sub(1);
        let asked = self.courses.get(&key)?.asked().to_vec();
        let mut late = BTreeSet::new();
        for id in &asked {
            let Some(flight) = self.flights.get_mut(id) else { continue };
            flight.phase = Phase::Sealed;
            // Late ones had to wait for this.
            for waiter in flight.waiters.iter().filter(|waiter| self.ledger.late(waiter.job, now).is_some()) {
                late.insert(waiter.job);
            }
        }
        for job in late {
            self.ledger.look_again(job, now);
        }
        Some(asked)
    }

    /// A call of unknown fate carried these.
    fn may_have_landed(&mut self, key: CallKey, asked: &[InstanceId]) {
        self.doubt(asked, Doubt::Unknown);
        if self.settings.read_back
            && let Some(course) = self.courses.get_mut(&key)
        {
            course.reading = Reading::Due { guilt: None, tries: 0 };
        }
    }

    /// An account is blamed for a call: whether it is the batch that is at fault, such as one of a product that the account has
    /// no right to release. To be asked while calls go: in an outage every batch is refused alike.
    pub fn is_at_fault(&self, key: CallKey) -> bool {
        self.courses.get(&key).is_some_and(|course| self.blamed.is_at_fault(&course.group, course.asked()))
    }

    /// An account at fault is at fault for every batch. Where it is the batch after all, it must not stop the lane for ever.
    /// Told by groups and ids, since a batch that is parked comes back as another one; so an account that fails again and
    /// again, with nothing of a group called well in between, costs one batch of it an attempt.
    fn account_blamed(&mut self, key: CallKey, asked: &[InstanceId], evidence: &Arc<Evidence>, now: Moment) {
        let at_fault = self.is_at_fault(key);
        self.blame_account(key, asked);
        if at_fault {
            self.failed(key, asked, evidence, now);
        } else {
            self.queue_up_again(key, now);
        }
    }

    fn blame_account(&mut self, key: CallKey, asked: &[InstanceId]) {
        if let Some(course) = self.courses.get(&key) {
            self.blamed.blame(&course.group, asked);
        }
    }

    fn doubt(&mut self, ids: &[InstanceId], doubt: Doubt) {
        for id in ids {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.history.doubt = flight.history.doubt.max(doubt);
            }
        }
    }

    fn released(&mut self, key: CallKey, asked: Vec<InstanceId>, evidence: &Arc<Evidence>, now: Moment) {
        let Some(course) = self.courses.get_mut(&key) else { return };
        let findings = match &mut course.plan {
            Plan::Whole(_) => {
                self.courses.remove(&key);
                vec![Finding::Released(asked)]
            }
            Plan::Split(split) => split.released(),
        };
        let progress = !findings.is_empty();
        self.conclude(findings, evidence, now);
        self.go_on(key, progress, evidence, now);
    }

    fn refused(
        &mut self,
        key: CallKey,
        asked: Vec<InstanceId>,
        refusal: Refusal,
        evidence: &Arc<Evidence>,
        now: Moment,
    ) {
        for id in &asked {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.history.refuse(now);
            }
        }
        if self.confirms(key, &asked, refusal) {
            return self.confirmed(key, &asked, evidence, now);
        }
        let unknown =
            asked.iter().any(|id| self.flights.get(id).is_some_and(|flight| flight.history.doubt == Doubt::Unknown));
        if !self.settings.atomic && asked.len() > 1 && refusal != Refusal::Request {
            self.doubt(&asked, Doubt::Refused);
        }
        let guilt = Guilt { refusal, evidence: Arc::clone(evidence), unknown };
        if self.wants_reading(key, &asked, &guilt)
            && let Some(course) = self.courses.get_mut(&key)
        {
            course.reading = Reading::Due { guilt: Some(guilt), tries: 0 };
            return self.make_ready(key, now);
        }
        self.judge(key, asked, guilt, now);
    }

    /// What a refusal means for the ids that were asked about.
    pub(super) fn judge(&mut self, key: CallKey, asked: Vec<InstanceId>, guilt: Guilt, now: Moment) {
        let EngineSettings { atomic, split_budget, .. } = self.settings;
        let evidence = Arc::clone(&guilt.evidence);
        let Some(course) = self.courses.get_mut(&key) else { return };
        let findings = match &mut course.plan {
            Plan::Whole(_) if asked.len() == 1 || guilt.refusal == Refusal::Request => {
                self.courses.remove(&key);
                vec![Finding::Culprits(asked, guilt)]
            }
            Plan::Whole(_) => {
                let (split, findings) = Split::begin(asked, guilt, atomic, split_budget);
                course.plan = Plan::Split(split);
                findings
            }
            Plan::Split(split) => split.refused(guilt),
        };
        let progress = !findings.is_empty();
        self.conclude(findings, &evidence, now);
        self.go_on(key, progress, &evidence, now);
    }

    fn conclude(&mut self, findings: Vec<Finding>, released: &Arc<Evidence>, now: Moment) {
        for finding in findings {
            match finding {
                Finding::Released(ids) => {
                    for id in &ids {
                        self.end(id, now, |_| InstanceOutcome::new(Outcome::Released, false, released));
                    }
                }
                Finding::Culprits(ids, guilt) => {
                    for id in &ids {
                        self.end(id, now, |flight| culprit(&guilt, flight));
                    }
                }
            }
        }
    }

    /// A course that is not over asks on. When its split budget is spent it queues up behind the others, or waits like a
    /// failed one if it found nothing out.
    fn go_on(&mut self, key: CallKey, progress: bool, evidence: &Arc<Evidence>, now: Moment) {
        let Some(course) = self.courses.get_mut(&key) else { return };
        if progress {
            course.progressed();
        }
        match &mut course.plan {
            Plan::Split(split) if split.exhausted() && split.asked().is_some() => {
                split.renew(self.settings.split_budget);
            }
            _ => return self.make_ready(key, now),
        }
        if std::mem::take(&mut course.progress) {
            self.queue_up_again(key, now);
        } else {
            self.try_again_later(key, evidence, now);
        }
    }

    fn failed(&mut self, key: CallKey, asked: &[InstanceId], evidence: &Arc<Evidence>, now: Moment) {
        for id in asked {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.history.fail(now);
            }
        }
        self.try_again_later(key, evidence, now);
    }
}

/// The outcome of an id that the API refuses for itself.
fn culprit(guilt: &Guilt, flight: &Flight) -> InstanceOutcome {
    let (evidence, doubt) = (&guilt.evidence, flight.history.doubt);
    let suspect = doubt.is_suspect();
    match guilt.refusal {
        Refusal::Gone if suspect => {
            InstanceOutcome { presumed: true, ..InstanceOutcome::new(Outcome::Released, false, evidence) }
        }
        Refusal::Gone => InstanceOutcome::new(Outcome::AlreadyGone, false, evidence),
        // The API looked at this id and refused it, so it is still there; unless a release takes its time, which a replay
        // should know.
        Refusal::Instance => InstanceOutcome::new(Outcome::Rejected, doubt == Doubt::Unknown, evidence),
        // These say nothing of what an earlier call may have done.
        Refusal::Request | Refusal::Unlisted if suspect => InstanceOutcome::new(Outcome::Unresolved, true, evidence),
        Refusal::Request | Refusal::Unlisted => InstanceOutcome::new(Outcome::Rejected, false, evidence),
    }
}
