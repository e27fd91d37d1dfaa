//! The way out: no further deliveries, jobs that were not begun go back, begun ones are finished while there is time, what
//! is still open then goes on as a remainder, and the broker confirms all of it. It says what became of everything.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::fleet::heard;
use super::reply::Ending;
use super::{REPORT_EVERY, Worker, sleep_until};
use crate::broker::Subscription;
use crate::contract::{AccountName, Outcome};
use crate::engine::{CallKind, JobKey, SealReason};
use crate::ops::events::Postponement;

/// Time kept for the broker to confirm the last settlements; of a short deadline a quarter.
const LAST_CONFIRMS: Duration = Duration::from_secs(2);

/// What a worker did in its life.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    pub received: u64,
    pub results: u64,
    pub malformed: u64,
    /// All calls, those below among them.
    pub calls: u64,
    /// Calls of a batch that an earlier call had left open.
    pub retries: u64,
    /// Calls of a part of a batch that was refused.
    pub splits: u64,
    /// Queries for suspects; no calls.
    pub read_backs: u64,
    pub released: u64,
    pub already_gone: u64,
    pub other: u64,
    /// Jobs that were sent back with what became of their ids so far, to come again.
    pub postponed: u64,
    pub given_back: usize,
    /// Calls that had no verdict when the time was over.
    pub calls_left: usize,
    /// Results and remainders that the broker had not confirmed when the time was over.
    pub unconfirmed: usize,
}

impl Summary {
    pub(super) fn count_call(&mut self, kind: CallKind) {
        let CallKind::Release { reason, .. } = kind else {
            self.read_backs += 1;
            return;
        };
        self.calls += 1;
        match reason {
            SealReason::Retry => self.retries += 1,
            SealReason::Split => self.splits += 1,
            SealReason::Full | SealReason::Linger | SealReason::Idle | SealReason::Overdue => {}
        }
    }

    pub(super) fn count(&mut self, ending: &Ending) {
        self.results += 1;
        for ended in &ending.ended {
            match ended.outcome.outcome {
                Outcome::Released => self.released += 1,
                Outcome::AlreadyGone => self.already_gone += 1,
                _ => self.other += 1,
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { received, results, malformed, calls, released, already_gone, other, postponed, .. } = self;
        write!(
            f,
            "took {received} deliveries and answered {results} jobs ({malformed} bodies were no jobs) with {calls} calls: \
             {released} instances released, {already_gone} already gone, {other} not released; postponed {postponed} jobs; \
             gave {} deliveries back",
            self.given_back
        )?;
        if self.calls_left + self.unconfirmed > 0 {
            write!(
                f,
                "; ran out of time with {} calls and {} results or remainders open, whose jobs will come again",
                self.calls_left, self.unconfirmed
            )?;
        }
        Ok(())
    }
}

impl Worker {
    /// Ends within `worker.drain_deadline`.
    pub(super) async fn drain(mut self, mut subscription: Subscription) -> Summary {
        let deadline = Instant::now() + self.settings.worker.drain_deadline;
        let longest_call =
            self.settings.accounts.values().map(|account| account.call_timeout).max().unwrap_or_default();
        let confirms = LAST_CONFIRMS.min(self.settings.worker.drain_deadline / 4);
        // Whoever calls after this may not have a verdict in time.
        let last_call = deadline.checked_sub(longest_call + confirms).unwrap_or_else(Instant::now);
        let mut report = tokio::time::interval(REPORT_EVERY);
        subscription.stop_deliveries();
        let unbegun = self
            .lanes
            .iter()
            .flat_map(|(account, lane)| lane.engine.unbegun().into_iter().map(|key| (account.clone(), key)));
        let unbegun = unbegun.collect();
        let tags = self.let_go(unbegun);
        tracing::info!(given_back = tags.len(), begun = self.jobs.len(), "stopping: jobs that were not begun go back");
        self.give_back(tags, &subscription);
        self.give_back_waiting(&subscription);

        let finished = timeout_at(deadline - confirms, async {
            while !(self.jobs.is_empty() && self.calls.is_empty()) {
                let calling = Instant::now() < last_call;
                if !calling && self.calls.is_empty() {
                    break;
                }
                let wakes_at = if calling { self.turn(&subscription).map(|at| at.min(last_call)) } else { None };
                tokio::select! {
                    biased;
                    Some(answered) = self.calls.join_next() => {
                        self.learn(answered);
                        self.answer_finished(&subscription);
                        self.send_on_postponed(None, &subscription);
                    }
                    () = sleep_until(wakes_at) => {}
                    heard = heard(&mut self.fleet) => self.hear_fleet(&heard),
                    _ = report.tick() => self.report(&subscription, Some("the worker is stopping")),
                    Some(event) = subscription.events.recv() => {
                        self.hear(event);
                        self.give_back_waiting(&subscription);
                    }
                    else => break,
                }
            }
        })
        .await;
        if finished.is_err() {
            tracing::warn!(calls = self.calls.len(), "the time to drain is over");
        }
        let queries: usize = self.lanes.values().map(|lane| lane.engine.queries_under_way()).sum();
        self.summary.calls_left = self.calls.len().saturating_sub(queries);
        self.summary.calls += self.summary.calls_left as u64;
        self.summary.read_backs += queries as u64;
        self.calls.abort_all();
        self.abandon(&subscription);
        self.leave_fleet().await;
        self.confirm_the_rest(subscription, deadline).await
    }

    /// Sends what was begun on, with what is known of it: given back as it came, every id of it would be suspect.
    fn abandon(&mut self, subscription: &Subscription) {
        let now = self.now();
        let mut begun: BTreeMap<AccountName, Vec<JobKey>> = BTreeMap::new();
        for (account, key) in self.jobs.keys() {
            begun.entry(account.clone()).or_default().push(*key);
        }
        for (account, keys) in begun {
            if let Some(lane) = self.lanes.get_mut(&account) {
                lane.engine.abandon(&keys, now);
            }
        }
        // Those that were given up on, rather.
        self.answer_finished(subscription);
        self.send_on_postponed(Some(Postponement::Stopping), subscription);
    }

    fn give_back_waiting(&mut self, subscription: &Subscription) {
        let tags: Vec<_> = self.waiting.drain(..).map(|(_, delivery)| delivery.tag).collect();
        self.give_back(tags, subscription);
    }

    async fn confirm_the_rest(mut self, mut subscription: Subscription, deadline: Instant) -> Summary {
        let confirmed = timeout_at(deadline, async {
            while !self.unconfirmed.is_empty() {
                match subscription.events.recv().await {
                    Some(event) => self.hear(event),
                    None => break,
                }
            }
        })
        .await;
        if confirmed.is_err() {
            tracing::warn!(results = self.unconfirmed.len(), "the broker has not confirmed the last results in time");
        }
        self.summary.unconfirmed = self.unconfirmed.len();
        // Even a blocked broker must not hold a worker that is told to stop.
        subscription.close(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(200))).await;
        self.summary
    }
}
