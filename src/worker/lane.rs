//! A lane: one account's engine, permits, gate and client. It must not know deliveries.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::intake::Standing;
use crate::api::{Answer, Client};
use crate::config::{AccountSettings, CallsPerSecond, RetrySettings, WorkerSettings};
use crate::contract::{AccountName, Evidence, GroupKey, Verdict};
use crate::engine::{Call, CallKey, Engine, EngineSettings, Moment, Protection, SealReason};
use crate::ops::Metrics;
use crate::ops::events::{AccountChanged, BatchSealed, CallAnswered, LaneStands, ThrottledLately};
use crate::pace::{DelayPolicy, Delays, Gate, Quota};

/// A call that came back.
pub struct Answered {
    pub account: AccountName,
    key: CallKey,
    group: Arc<GroupKey>,
    ids: usize,
    pub reason: SealReason,
    answer: Answer,
    took: Duration,
}

pub struct Lane {
    account: AccountName,
    pub engine: Engine,
    rate: CallsPerSecond,
    quota: Quota,
    gate: Gate,
    client: Arc<Client>,
    max_in_flight_calls: usize,
    /// When the permit is due that was asked for last.
    permit_at: Option<Moment>,
    lately: Lately,
}

/// Calls since the last word about throttling.
#[derive(Debug, Default)]
struct Lately {
    since: Moment,
    calls: u64,
    throttled: u64,
}

/// How often throttling is spoken of.
const LATELY: Duration = Duration::from_secs(60);

impl Lane {
    pub fn new(
        account: AccountName,
        client: Client,
        settings: &AccountSettings,
        worker: &WorkerSettings,
        retry: &RetrySettings,
        protection: Protection,
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
            overdue_share: worker.overdue_share,
            split_budget: worker.split_budget,
            max_attempts: retry.max_attempts,
            max_age: retry.max_age,
            atomic: settings.atomic,
        };
        let mut lane = Self {
            account,
            engine: Engine::new(engine, protection, Box::new(move |attempt| between_retries.before(attempt))),
            rate: settings.calls_per_second,
            quota: Quota::new(settings.calls_per_second, settings.burst),
            gate: Gate::new(delays()),
            client: Arc::new(client),
            max_in_flight_calls: worker.max_in_flight_calls,
            permit_at: None,
            lately: Lately::default(),
        };
        if let Err(problem) = lane.client.credential() {
            let evidence = Evidence::own("NoCredential", problem);
            lane.gate.learn(&Verdict::Account(evidence), None, Duration::ZERO);
        }
        lane
    }

    /// Spends every permit that is there on the batch whose turn it is.
    pub fn call_what_may_go(&mut self, now: Moment, calls: &mut JoinSet<Answered>, metrics: &Metrics) {
        self.engine.advance(now);
        self.permit_at = None;
        while self.engine.ready(now) {
            let under_way = self.engine.calls_under_way();
            if under_way >= self.max_in_flight_calls || !self.gate.open(now, under_way) {
                return;
            }
            if let Err(due) = self.quota.take(now) {
                self.permit_at = Some(due);
                return;
            }
            if let Some(call) = self.engine.seal(now) {
                BatchSealed { call: &call }.emit(metrics);
                calls.spawn(make(Arc::clone(&self.client), self.account.clone(), call));
            }
        }
        self.quota.rest();
    }

    /// When to look again, if nothing happens before.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let timers = self.engine.wakes_at(now);
        let pause = self.gate.opens_at(now).filter(|_| self.engine.ready(now));
        timers.into_iter().chain(self.permit_at).chain(pause).min()
    }

    /// Learns a verdict.
    pub fn learn(&mut self, answered: Answered, now: Moment, metrics: &Metrics) {
        let Answered { key, group, ids, answer, took, .. } = answered;
        CallAnswered { group: &group, ids, answer: &answer, took }.emit(metrics);
        self.lately.calls += 1;
        self.lately.throttled += u64::from(matches!(answer.verdict, Verdict::Throttled(_)));
        let before = self.gate.problem().map(str::to_owned);
        self.gate.learn(&answer.verdict, answer.pause, now);
        if before.as_deref() != self.gate.problem() {
            AccountChanged { account: &self.account, problem: self.gate.problem() }.emit(metrics);
        }
        self.engine.verdict(key, &answer.verdict, now);
    }

    pub fn standing(&self) -> Standing {
        if self.gate.problem().is_some() { Standing::Held } else { Standing::Calling }
    }

    /// What keeps the account from being called, in words.
    pub fn problem(&self) -> Option<String> {
        let missing = || self.client.credential().err();
        let problem = self.gate.problem().map(str::to_owned).or_else(missing)?;
        Some(format!("account {}: {problem}", self.account))
    }

    pub fn report(&mut self, now: Moment, metrics: &Metrics) {
        if now >= self.lately.since + LATELY {
            let Lately { calls, throttled, .. } =
                std::mem::replace(&mut self.lately, Lately { since: now, ..Lately::default() });
            if throttled > 0 {
                ThrottledLately { account: &self.account, throttled, calls }.emit();
            }
        }
        LaneStands {
            account: &self.account,
            quota: self.rate,
            pending_ids: self.engine.pending_ids(),
            pending_jobs: self.engine.pending_jobs(),
            calls_under_way: self.engine.calls_under_way(),
            oldest: self.engine.oldest_age(now),
        }
        .emit(metrics);
    }
}

/// Makes one call. Whatever happens in it, even a panic, comes back as a verdict.
async fn make(client: Arc<Client>, account: AccountName, call: Call) -> Answered {
    let started = Instant::now();
    let released = AssertUnwindSafe(client.release(&call.batch, call.attempt)).catch_unwind().await;
    let answer = released.unwrap_or_else(|_| {
        let evidence = Evidence::own("Panicked", "the call ended in a defect of bulkrelease: please report it");
        Answer { verdict: Verdict::Unknown(evidence), pause: None }
    });
    Answered {
        account,
        key: call.key,
        group: Arc::clone(call.batch.group()),
        ids: call.batch.len(),
        reason: call.reason,
        answer,
        took: started.elapsed(),
    }
}
