//! A lane: one account's engine, permits, gate and client. It must not know deliveries.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::task::JoinSet;

use super::LATELY;
use super::intake::Standing;
use super::read_back::{REST, ReadBackPace};
use crate::api::{Answer, Client, Listing};
use crate::config::{AccountSettings, CallsPerSecond, RetrySettings, WorkerSettings};
use crate::contract::{AccountName, Class, Evidence, GroupKey, ReadBack, Verdict};
use crate::engine::{Call, CallKey, CallKind, Engine, EngineSettings, Moment, Protection};
use crate::ops::Metrics;
use crate::ops::events::{
    AccountChanged, BatchSealed, CallAnswered, LaneStands, QueryAnswered, ReadBackRests, ThrottledLately,
};
use crate::pace::{DelayPolicy, Delays, Gate, Quota};

/// A call that came back.
pub struct Answered {
    pub account: AccountName,
    key: CallKey,
    group: Arc<GroupKey>,
    ids: usize,
    pub kind: CallKind,
    said: Said,
    took: Duration,
}

/// What came back.
enum Said {
    Verdict(Answer),
    Listing(Listing),
}

pub struct Lane {
    account: AccountName,
    pub engine: Engine,
    rate: CallsPerSecond,
    quota: Quota,
    read_back: ReadBackPace,
    gate: Gate,
    client: Arc<Client>,
    max_in_flight_calls: usize,
    /// When the first permit is due that was asked for in vain.
    permit_at: Option<Moment>,
    /// Since when the batch whose turn it is can't be called.
    blocked_since: Option<Moment>,
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
            attempts_in_process: retry.attempts_in_process,
            max_attempts: retry.max_attempts,
            max_age: retry.max_age,
            atomic: settings.atomic,
            read_back: settings.read_back,
        };
        let mut lane = Self {
            account,
            engine: Engine::new(engine, protection, Box::new(move |attempt| between_retries.before(attempt))),
            rate: settings.calls_per_second,
            quota: Quota::new(settings.calls_per_second, settings.burst),
            read_back: ReadBackPace::new(settings.read_back_calls_per_second),
            gate: Gate::new(delays()),
            client: Arc::new(client),
            max_in_flight_calls: worker.max_in_flight_calls,
            permit_at: None,
            blocked_since: None,
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
        self.read_back_what_may_go(now, calls);
        while self.engine.ready(now) {
            let blocked_since = *self.blocked_since.get_or_insert(now);
            if !self.may_call(now) {
                return;
            }
            if let Err(due) = self.quota.take(now) {
                self.permit_is_due(due);
                return;
            }
            self.blocked_since = None;
            if let Some(call) = self.engine.seal(now) {
                BatchSealed { call: &call, blocked: now.saturating_sub(blocked_since) }.emit(metrics);
                calls.spawn(make(Arc::clone(&self.client), self.account.clone(), call));
            }
        }
        self.blocked_since = None;
        self.quota.rest();
    }

    /// While no call can succeed nothing is asked; a batch that waits for its reading may be the one to probe with.
    fn read_back_what_may_go(&mut self, now: Moment, calls: &mut JoinSet<Answered>) {
        while self.engine.read_back_ready() {
            if self.read_back.rests(now) {
                self.engine.forgo_read_back(now);
                continue;
            }
            if !self.may_call(now) {
                return;
            }
            if self.gate.problem().is_some() {
                if !self.engine.ready(now) {
                    self.engine.forgo_read_back(now);
                }
                return;
            }
            if let Err(due) = self.read_back.take(now) {
                self.permit_is_due(due);
                return;
            }
            if let Some(call) = self.engine.seal_read_back(now) {
                calls.spawn(make(Arc::clone(&self.client), self.account.clone(), call));
            }
        }
        self.read_back.idle();
    }

    fn may_call(&self, now: Moment) -> bool {
        let under_way = self.engine.calls_under_way();
        under_way < self.max_in_flight_calls && self.gate.open(now, under_way)
    }

    fn permit_is_due(&mut self, due: Moment) {
        self.permit_at = self.permit_at.into_iter().chain([due]).min();
    }

    /// When to look again, if nothing happens before.
    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        let timers = self.engine.wakes_at(now);
        let waits = self.engine.ready(now) || self.engine.read_back_ready();
        let pause = self.gate.opens_at(now).filter(|_| waits);
        timers.into_iter().chain(self.permit_at).chain(pause).min()
    }

    /// Learns what a call, or a query, came to.
    pub fn learn(&mut self, answered: Answered, now: Moment, metrics: &Metrics) {
        let Answered { key, group, ids, said, took, .. } = answered;
        match said {
            Said::Verdict(answer) => {
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
            // The gate minds releases alone.
            Said::Listing(listing) => {
                QueryAnswered { group: &group, ids, answer: &listing.read_back, took }.emit(metrics);
                if let Some(problem) = self.read_back.learn(&listing, now) {
                    ReadBackRests { account: &self.account, problem: &problem, rest: REST }.emit();
                }
                self.engine.read_back(key, &listing.read_back, now);
            }
        }
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

/// Makes one call, or one query. Whatever happens in it, even a panic, comes back as an answer.
async fn make(client: Arc<Client>, account: AccountName, call: Call) -> Answered {
    let started = Instant::now();
    let panicked = || Evidence::words("Panicked", "the call ended in a defect of bulkrelease: please report it");
    let said = match call.kind {
        CallKind::Release { attempt, .. } => {
            let released = AssertUnwindSafe(client.release(&call.batch, attempt)).catch_unwind().await;
            Said::Verdict(
                released.unwrap_or_else(|_| Answer { verdict: Verdict::of(Class::Unknown, panicked()), pause: None }),
            )
        }
        CallKind::ReadBack => {
            let listed = AssertUnwindSafe(client.query(&call.batch)).catch_unwind().await;
            let nothing = || ReadBack::Failed(Verdict::of(Class::Unknown, panicked()));
            Said::Listing(listed.unwrap_or_else(|_| Listing { read_back: nothing(), pause: None }))
        }
    };
    Answered {
        account,
        key: call.key,
        group: Arc::clone(call.batch.group()),
        ids: call.batch.len(),
        kind: call.kind,
        said,
        took: started.elapsed(),
    }
}
