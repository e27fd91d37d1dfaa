//! A lane: one account's engine, permits, gate and client. It must not know deliveries.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::LATELY;
use super::call::{Answered, Said, make};
use super::cost::Cost;
use super::intake::Standing;
use super::queued::{Mix, Part, Queued};
use super::read_back::{REST, ReadBackPace};
use crate::api::{CONNECT_FAILED, Client, mend};
use crate::config::{AccountSettings, RetrySettings, WorkerSettings};
use crate::contract::{AccountName, Evidence, Refusal, Verdict};
use crate::engine::{Engine, EngineSettings, JobKey, Moment, NewJob, Protection};
use crate::ops::Metrics;
use crate::ops::events::{
    AccountChanged, BatchSealed, CallAnswered, LaneStands, PaceStands, QueryAnswered, ReadBackRests, ThrottledLately,
};
use crate::ops::trace::{BatchSpans, JobSpans};
use crate::pace::{AccountBeacon, Backlog, Beacon, DelayPolicy, Delays, Member, Pace, PaceSettings, Rhythm};

pub struct Lane {
    account: AccountName,
    pub engine: Engine,
    pace: Pace,
    read_back: ReadBackPace,
    /// What to do about an account that is refused.
    mend: Option<&'static str>,
    /// Since when calls are held.
    held_since: Option<Moment>,
    /// What of the jobs that came was this account's.
    part: Part,
    cost: Cost,
    client: Arc<Client>,
    max_in_flight_calls: usize,
    /// Since when the batch whose turn it is can't be called.
    blocked_since: Option<Moment>,
    /// When the permit for a query is due that was asked for in vain.
    query_at: Option<Moment>,
    batches: BatchSpans,
    lately: Lately,
}

/// Calls since the last word about throttling.
#[derive(Debug, Default)]
struct Lately {
    since: Moment,
    calls: u64,
    throttled: u64,
}

impl Lane {
    pub fn new(
        account: AccountName,
        client: Client,
        settings: &AccountSettings,
        worker: &WorkerSettings,
        retry: &RetrySettings,
        protection: Protection,
        me: Member,
    ) -> Self {
        let policy = DelayPolicy {
            initial_interval: retry.initial_interval,
            multiplier: retry.multiplier,
            max_interval: retry.max_interval,
        };
        let delays = || Delays::new(policy, fastrand::Rng::new());
        let mut between_retries = delays();
        let engine = EngineSettings {
            linger: worker.linger,
            max_wait: worker.max_wait,
            // Well within the time that a delivery is held, so that the lowest priority has its turn before it would be parked.
            head_start: worker.max_hold / 4,
            overdue_share: worker.overdue_share,
            split_budget: worker.split_budget,
            attempts_in_process: retry.attempts_in_process,
            max_attempts: retry.max_attempts,
            max_age: retry.max_age,
            atomic: settings.atomic,
            read_back: settings.read_back,
        };
        let pace = PaceSettings {
            account: account.clone(),
            calls_per_second: settings.calls_per_second,
            burst: settings.burst,
            max_in_flight_calls: worker.max_in_flight_calls,
            fleet: Some(Rhythm::default()),
        };
        Self {
            account,
            engine: Engine::new(engine, protection, Box::new(move |attempt| between_retries.before(attempt))),
            pace: Pace::new(pace, me, delays(), Moment::ZERO),
            read_back: ReadBackPace::new(settings.read_back_calls_per_second),
            mend: None,
            held_since: None,
            part: Part::default(),
            cost: Cost::default(),
            client: Arc::new(client),
            max_in_flight_calls: worker.max_in_flight_calls,
            blocked_since: None,
            query_at: None,
            batches: BatchSpans::default(),
            lately: Lately::default(),
        }
    }

    /// What is known before any call.
    pub fn begin(&mut self, metrics: &Metrics) {
        metrics.begin_account(&self.account);
        if let Err(problem) = self.client.credential() {
            let evidence = Evidence::own("NoCredential", problem);
            let code = evidence.code.clone();
            self.pace.fail(&Verdict::Account(evidence), Moment::ZERO);
            self.held_since = Some(Moment::ZERO);
            let problem = self.held().map(|words| (code.as_deref(), words));
            AccountChanged { account: &self.account, problem }.emit(metrics);
        }
    }

    /// Spends every permit that is there on the batch whose turn it is.
    pub fn call_what_may_go(
        &mut self,
        now: Moment,
        calls: &mut JoinSet<Answered>,
        jobs: JobSpans<'_>,
        metrics: &Metrics,
    ) {
        self.engine.advance(now);
        if self.pace.problem().is_some() {
            self.engine.park(now);
        }
        self.query_at = None;
        self.read_back_what_may_go(now, calls, jobs);
        while self.engine.ready(now) {
            let blocked_since = *self.blocked_since.get_or_insert(now);
            if !self.has_room() {
                return self.pace.unable(now);
            }
            if self.pace.take(now).is_err() {
                return;
            }
            self.blocked_since = None;
            match self.engine.seal(now) {
                Some(call) => {
                    let span = self.batches.begin(&call, &self.engine, jobs);
                    let blocked = now.saturating_sub(blocked_since);
                    span.log().in_scope(|| BatchSealed { call: &call, blocked }.emit(metrics));
                    calls.spawn(make(Arc::clone(&self.client), self.account.clone(), call, span));
                }
                None => self.pace.forgo(),
            }
        }
        self.blocked_since = None;
        self.pace.rest(now);
    }

    /// While no call can succeed nothing is asked; a batch that waits for its reading may be the one to probe with.
    fn read_back_what_may_go(&mut self, now: Moment, calls: &mut JoinSet<Answered>, jobs: JobSpans<'_>) {
        while self.engine.read_back_ready() {
            if self.read_back.rests(now) {
                self.engine.forgo_read_back(now);
                continue;
            }
            if !self.has_room() || !self.pace.open(now) {
                return;
            }
            if self.pace.problem().is_some() {
                if !self.engine.ready(now) {
                    self.engine.forgo_read_back(now);
                }
                return;
            }
            if let Err(due) = self.read_back.take(now) {
                self.query_at = Some(due);
                return;
            }
            if let Some(call) = self.engine.seal_read_back(now) {
                let span = self.batches.begin(&call, &self.engine, jobs);
                calls.spawn(make(Arc::clone(&self.client), self.account.clone(), call, span));
            }
        }
        self.read_back.idle();
    }

    fn has_room(&self) -> bool {
        self.engine.calls_under_way() < self.max_in_flight_calls
    }

    /// When to look again, if nothing happens before.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let timers = self.engine.wakes_at(now);
        let waits = self.engine.ready(now) || self.engine.read_back_ready();
        let calls_go = self.pace.wakes_at(now).into_iter().chain(self.pace.opens_at(now)).filter(|_| waits);
        timers.into_iter().chain(self.query_at).chain(calls_go).min()
    }

    /// Learns what a call, or a query, came to.
    pub fn learn(&mut self, answered: Answered, now: Moment, metrics: &Metrics) {
        let Answered { key, group, ids, kind, said, took, span, .. } = answered;
        match said {
            Said::Verdict(answer) => {
                span.log().in_scope(|| CallAnswered { group: &group, ids, answer: &answer, took }.emit(metrics));
                self.cost.count(kind, ids, &answer.verdict, now);
                self.lately.calls += 1;
                self.lately.throttled += u64::from(matches!(answer.verdict, Verdict::Throttled(_)));
                let before = self.pace.problem().map(str::to_owned);
                // To the circuit a call that alone is at fault is one that was answered.
                let learned = match &answer.verdict {
                    Verdict::Account(evidence) if before.is_none() && self.engine.is_at_fault(key) => {
                        &Verdict::Refused(Refusal::Request, Arc::clone(evidence))
                    }
                    verdict => verdict,
                };
                if before.is_none() && may_be_at_fault(learned) && self.engine.fails_alone(key) {
                    self.pace.learn_nothing(answer.pause, now);
                } else {
                    self.pace.learn(learned, answer.pause, now);
                }
                self.mend = match &answer.verdict {
                    Verdict::Account(evidence) => evidence.code.as_deref().and_then(mend),
                    _ => None,
                };
                let held = self.pace.problem().is_some();
                self.held_since = if held { self.held_since.or(Some(now)) } else { None };
                if before.as_deref() != self.pace.problem() {
                    let problem = self.held().map(|words| (answer.verdict.evidence().code.as_deref(), words));
                    AccountChanged { account: &self.account, problem }.emit(metrics);
                }
                if held {
                    self.engine.outage(key, &answer.verdict, now);
                } else {
                    self.engine.verdict(key, &answer.verdict, now);
                }
            }
            // The gate minds releases alone.
            Said::Listing(listing) => {
                let answered = QueryAnswered { group: &group, ids, answer: &listing.read_back, took };
                span.log().in_scope(|| answered.emit(metrics));
                if let Some(problem) = self.read_back.learn(&listing, now) {
                    ReadBackRests { account: &self.account, problem: &problem, rest: REST }.emit();
                }
                self.engine.read_back(key, &listing.read_back, now);
            }
        }
        self.batches.end_if_over(key, &self.engine);
    }

    pub fn standing(&self) -> Standing {
        if self.pace.problem().is_some() { Standing::Held } else { Standing::Calling }
    }

    /// What keeps the account from being called, in words.
    pub fn problem(&self) -> Option<String> {
        let missing = || self.client.credential().err();
        Some(format!("account {}: {}", self.account, self.held().or_else(missing)?))
    }

    /// Why calls are held, and what to do about it.
    fn held(&self) -> Option<String> {
        let problem = self.pace.problem()?;
        Some(self.mend.map_or_else(|| problem.to_owned(), |mend| format!("{problem} ({mend})")))
    }

    /// For how long calls have been held, if they are.
    pub fn held_for(&self, now: Moment) -> Option<Duration> {
        self.held_since.map(|since| now.saturating_sub(since))
    }

    /// A job of the account comes, with so many ids.
    pub fn admit(&mut self, job: NewJob, now: Moment) -> JobKey {
        self.part.add(job.places.len());
        self.engine.admit(job, now)
    }

    /// Of what came before, half counts from here on.
    pub fn halve_part(&mut self) {
        self.part.halve();
    }

    /// When the account's next beacon is due, if it shares a quota, be it that of queries.
    pub fn beacon_at(&self, now: Moment) -> Option<Moment> {
        let shares = self.pace.quota().is_finite() || self.engine.reads_back() && self.read_back.has_limit();
        self.pace.beacon_at(now).filter(|_| shares)
    }

    pub fn beacon(&mut self, now: Moment) -> AccountBeacon {
        self.pace.beacon(self.waiting_calls(), now)
    }

    /// The last one.
    pub fn farewell(&mut self, now: Moment) -> AccountBeacon {
        self.pace.farewell(now)
    }

    /// Nobody else can have been there when the worker joined the fleet.
    pub fn alone(&mut self, now: Moment) {
        self.pace.alone(now);
    }

    pub fn hear(&mut self, beacon: &Beacon, now: Moment) {
        self.pace.hear(beacon, now);
    }

    fn waiting_calls(&self) -> u64 {
        self.engine.waiting_calls() as u64
    }

    /// Goes on with other settings.
    pub fn change(&mut self, settings: &AccountSettings, protection: Protection, now: Moment) {
        self.pace.reset(settings.calls_per_second, settings.burst, now);
        self.read_back.reset(settings.read_back_calls_per_second);
        self.engine.protect(protection);
    }

    /// What waits here and in the broker.
    fn backlog(&self, queued: Queued, mix: &Mix) -> Backlog {
        // Of what is under way only the calls that follow are still to be made.
        let to_follow = self.engine.calls_under_way() as f64 * (1.0 - 1.0 / self.cost.of_a_batch());
        let (waiting, later) = (self.waiting_calls(), self.engine.later_calls() as u64 + to_follow.round() as u64);
        let [ready, postponed] = [queued.ready, queued.later].map(|jobs| self.part.calls(jobs, mix));
        Backlog {
            calls: waiting + ready,
            later: later + postponed,
            cost: self.cost.of_each(waiting + later, self.engine.pending_ids(), ready + postponed),
        }
    }

    /// `queued`: the jobs that wait to be taken in.
    pub fn report(&mut self, queued: Queued, mix: &Mix, now: Moment, metrics: &Metrics) {
        self.batches.end_those_over(&self.engine);
        if now >= self.lately.since + LATELY {
            let Lately { calls, throttled, .. } =
                std::mem::replace(&mut self.lately, Lately { since: now, ..Lately::default() });
            if throttled > 0 {
                ThrottledLately { account: &self.account, throttled, calls }.emit();
            }
        }
        self.read_back.share(self.pace.workers(), now);
        LaneStands {
            account: &self.account,
            quota: self.pace.quota(),
            pending_ids: self.engine.pending_ids(),
            pending_jobs: self.engine.pending_jobs(),
            calls_under_way: self.engine.calls_under_way(),
            oldest: self.engine.oldest_age(now),
        }
        .emit(metrics);
        let backlog = self.backlog(queued, mix);
        PaceStands {
            account: &self.account,
            rate: self.pace.rate(),
            share: self.pace.share(),
            workers: self.pace.workers(),
            permits: self.pace.permits(),
            hint: self.pace.hint(backlog, now),
        }
        .emit(metrics);
    }
}

/// Whether it may be the job that makes a call fail. One that was never sent failed for another reason.
fn may_be_at_fault(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Transient(evidence) => evidence.code.as_deref() != Some(CONNECT_FAILED),
        Verdict::Unknown(_) => true,
        Verdict::Released(_) | Verdict::Refused(..) | Verdict::Throttled(_) | Verdict::Account(_) => false,
    }
}
