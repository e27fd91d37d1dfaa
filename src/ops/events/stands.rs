//! How things stand, and what happened lately: told now and then, whatever happens.

use std::time::Duration;

use crate::contract::AccountName;
use crate::ops::Metrics;
use crate::pace::{Bound, Hint, Permits};

/// Jobs were postponed in the last while: the API fails, or an account can't do what is asked of it in time.
pub struct PostponedLately {
    pub failed: u64,
    pub parked: u64,
}

impl PostponedLately {
    pub fn emit(self) {
        tracing::warn!(
            failed = self.failed,
            parked = self.parked,
            "jobs were postponed in the last minute: their calls failed, or their accounts could not serve them; they \
             wait in the broker and come back"
        );
    }
}

/// Calls were throttled in the last while: the quota is smaller than the settings say, or somebody else uses it.
pub struct ThrottledLately<'a> {
    pub account: &'a AccountName,
    pub throttled: u64,
    pub calls: u64,
}

impl ThrottledLately<'_> {
    pub fn emit(self) {
        tracing::warn!(
            account = self.account.as_str(),
            throttled = self.throttled,
            calls = self.calls,
            "calls were throttled in the last minute: lower calls_per_second, or find out who else calls"
        );
    }
}

/// Spans were lost in the last while.
pub struct SpansDroppedLately<'a> {
    pub spans: u64,
    pub problem: &'a str,
}

impl SpansDroppedLately<'_> {
    pub fn emit(self) {
        tracing::warn!(
            spans = self.spans,
            problem = self.problem,
            "spans were dropped: no job waits for trace.otlp_endpoint, but traces have gaps"
        );
    }
}

/// How a lane stands, told now and then.
pub struct LaneStands<'a> {
    pub account: &'a AccountName,
    /// In calls a second; infinite where there is no limit.
    pub quota: f64,
    pub pending_ids: usize,
    pub pending_jobs: usize,
    pub calls_under_way: usize,
    pub oldest: Duration,
}

impl LaneStands<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let account = &[self.account.as_str()];
        metrics.quota_calls_per_second.with_label_values(account).set(self.quota);
        metrics.pending_instances.with_label_values(account).set(whole(self.pending_ids));
        metrics.pending_jobs.with_label_values(account).set(whole(self.pending_jobs));
        metrics.calls_under_way.with_label_values(account).set(whole(self.calls_under_way));
        metrics.oldest_pending_seconds.with_label_values(account).set(self.oldest.as_secs_f64());
    }
}

/// What a worker makes of an account's quota, told now and then.
pub struct PaceStands<'a> {
    pub account: &'a AccountName,
    /// In calls a second.
    pub rate: f64,
    pub share: f64,
    pub workers: usize,
    pub permits: Permits,
    pub hint: Hint,
}

impl PaceStands<'_> {
    pub fn emit(self, metrics: &Metrics) {
        let Self { rate, share, workers, permits, hint, .. } = self;
        let account = self.account.as_str();
        metrics.rate_calls_per_second.with_label_values(&[account]).set(rate);
        metrics.share.with_label_values(&[account]).set(share);
        metrics.fleet_workers.with_label_values(&[account]).set(whole(workers));
        for (series, total) in [(&metrics.permits_used, permits.used), (&metrics.permits_idle, permits.idle)] {
            let series = series.with_label_values(&[account]);
            series.inc_by(total.saturating_sub(series.get()));
        }
        let drain = hint.drain.map_or(f64::INFINITY, |drain| drain.as_secs_f64());
        metrics.drain_seconds.with_label_values(&[account]).set(drain);
        metrics.useful_workers.with_label_values(&[account]).set(hint.useful_workers.into());
        for bound in Bound::ALL {
            metrics.backlog_bound.with_label_values(&[account, bound.as_str()]).set(i64::from(bound == hint.bound));
        }
    }
}

/// What is held, told now and then.
pub struct WorkerStands {
    pub held: usize,
    /// Age of the oldest job held.
    pub oldest: Duration,
}

impl WorkerStands {
    pub fn emit(self, metrics: &Metrics) {
        metrics.held_deliveries.set(whole(self.held));
        metrics.oldest_job_seconds.set(self.oldest.as_secs_f64());
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
