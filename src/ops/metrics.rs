//! The series on `/metrics`. Seconds and `_total` as Prometheus wants them; labels bounded, never an id.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

use super::fewest::FewestCalls;
use super::labels::Labels;
use super::process::ProcessCollector;
use crate::contract::{AccountName, GroupKey};

/// Products with a label of their own; later ones are `other`, so that a producer's typos can't grow the series.
const MAX_PRODUCTS: usize = 50;

/// Kinds of dead letters with a label of their own; later ones are `other`.
const MAX_FINGERPRINTS: usize = 64;

/// Codes of an account's problem with a label of their own; later ones are `other`.
const MAX_PROBLEMS: usize = 64;

/// Every series of a worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    products: Labels,
    fingerprints: Labels,
    pub(super) jobs_received: IntCounterVec,
    pub(super) jobs_finished: IntCounterVec,
    pub(super) instances: IntCounterVec,
    pub(super) results_confirmed: IntCounter,
    pub(super) given_back: IntCounter,
    pub(super) jobs_postponed: IntCounterVec,
    pub(super) dead_letters: IntCounterVec,
    pub(super) critical_seconds: Histogram,
    pub(super) calls: IntCounterVec,
    pub(super) call_seconds: HistogramVec,
    pub(super) batches_sealed: IntCounterVec,
    pub(super) batch_instances: HistogramVec,
    pub(super) batch_wait_seconds: HistogramVec,
    pub(super) sessions_lost: IntCounter,
    pub(super) spans_exported: IntCounter,
    pub(super) spans_dropped: IntCounter,
    pub(super) pending_instances: IntGaugeVec,
    pub(super) pending_jobs: IntGaugeVec,
    pub(super) calls_under_way: IntGaugeVec,
    pub(super) oldest_pending_seconds: GaugeVec,
    pub(super) account_held: IntGaugeVec,
    account_problem: IntGaugeVec,
    problems: Labels,
    pub(super) quota_calls_per_second: GaugeVec,
    pub(super) rate_calls_per_second: GaugeVec,
    pub(super) share: GaugeVec,
    pub(super) fleet_workers: IntGaugeVec,
    pub(super) permits_used: IntCounterVec,
    pub(super) permits_idle: IntCounterVec,
    pub(super) drain_seconds: GaugeVec,
    pub(super) useful_workers: IntGaugeVec,
    pub(super) backlog_bound: IntGaugeVec,
    pub(super) settings_reloads: IntCounterVec,
    pub(super) held_deliveries: IntGauge,
    pub(super) oldest_job_seconds: Gauge,
    pub(super) permit_wait_seconds: HistogramVec,
    pub(super) fewest_calls: IntCounterVec,
    fewest: Mutex<FewestCalls>,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        // 900 is the objective that an alert speaks of.
        let seconds = vec![
            0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 1800.0,
        ];
        // A job may wait in retry queues between its calls, for a day by default.
        let long = [&seconds[..], &[3600.0, 14_400.0, 43_200.0, 86_400.0, 172_800.0]].concat();
        let sizes = vec![1.0, 5.0, 10.0, 25.0, 50.0, 75.0, 90.0, 99.0, 100.0];
        let counter = |name: &str, help: &str, labels: &[&str]| -> Result<IntCounterVec, prometheus::Error> {
            let series = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let plain = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            let series = IntCounter::new(name, help)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| -> Result<_, prometheus::Error> {
            let series = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let labelled = |name: &str, help: &str, labels: &[&str]| -> Result<IntGaugeVec, prometheus::Error> {
            let series = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let whole = |name: &str, help: &str| labelled(name, help, &["account"]);
        let real = |name: &str, help: &str| -> Result<GaugeVec, prometheus::Error> {
            let series = GaugeVec::new(Opts::new(name, help), &["account"])?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let critical = HistogramOpts::new(
            "bulkrelease_critical_seconds",
            "From a job's enqueueing (the message's timestamp, whole seconds; else its arrival) to its confirmed result.",
        );
        let critical_seconds = Histogram::with_opts(critical.buckets(long))?;
        registry.register(Box::new(critical_seconds.clone()))?;
        let spans = counter(
            "bulkrelease_spans_total",
            "Ended spans: exported, or dropped because the collector did not take them, or not fast enough.",
            &["result"],
        )?;
        let held_deliveries =
            IntGauge::new("bulkrelease_held_deliveries", "Deliveries taken from the broker and not yet settled.")?;
        registry.register(Box::new(held_deliveries.clone()))?;
        let oldest_job_seconds = Gauge::new(
            "bulkrelease_oldest_job_seconds",
            "Age of the oldest job held, since its enqueueing (the message's timestamp, whole seconds; else its arrival).",
        )?;
        registry.register(Box::new(oldest_job_seconds.clone()))?;
        let version = Opts::new("bulkrelease_build_info", "Always 1; the label tells the version.");
        let build = IntGaugeVec::new(version, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        let metrics = Self {
            jobs_received: counter(
                "bulkrelease_jobs_received_total",
                "Deliveries taken from the jobs queue: jobs, and remainders of jobs that were postponed.",
                &["kind", "redelivered"],
            )?,
            jobs_finished: counter(
                "bulkrelease_jobs_finished_total",
                "Jobs with a result, by its status.",
                &["status"],
            )?,
            instances: counter(
                "bulkrelease_instances_total",
                "Instances with an outcome.",
                &["product", "subscription_type", "outcome"],
            )?,
            results_confirmed: plain("bulkrelease_results_confirmed_total", "Results that the broker confirmed.")?,
            given_back: plain(
                "bulkrelease_deliveries_given_back_total",
                "Deliveries given back to the queue unsettled.",
            )?,
            jobs_postponed: counter(
                "bulkrelease_jobs_postponed_total",
                "Jobs sent back to the broker to come again: failed (calls), parked (no permits, or the account held), stopping.",
                &["why"],
            )?,
            dead_letters: counter(
                "bulkrelease_dead_letters_total",
                "Dead letters published, by reason and fingerprint (64 of them, then other).",
                &["reason", "fingerprint"],
            )?,
            critical_seconds,
            calls: counter(
                "bulkrelease_calls_total",
                "Calls of the API by operation and the class of the answer; a query that succeeds is listed.",
                &["account", "operation", "class"],
            )?,
            call_seconds: histogram(
                "bulkrelease_call_seconds",
                "From sending a call to its answer.",
                &["account", "operation"],
                &seconds,
            )?,
            batches_sealed: counter(
                "bulkrelease_batches_sealed_total",
                "Batches by why they were sealed: full, linger, idle, overdue, retry, or split (a part of a refused batch).",
                &["account", "reason"],
            )?,
            batch_instances: histogram("bulkrelease_batch_instances", "Instances in a batch.", &["account"], &sizes)?,
            batch_wait_seconds: histogram(
                "bulkrelease_batch_wait_seconds",
                "How long a batch's oldest instance had waited when it was sealed.",
                &["account"],
                &seconds,
            )?,
            sessions_lost: plain(
                "bulkrelease_broker_sessions_lost_total",
                "Broker sessions lost with what they held.",
            )?,
            spans_exported: spans.with_label_values(&["exported"]),
            spans_dropped: spans.with_label_values(&["dropped"]),
            pending_instances: whole("bulkrelease_pending_instances", "Instances admitted and without an outcome.")?,
            pending_jobs: whole("bulkrelease_pending_jobs", "Jobs admitted and without a result.")?,
            calls_under_way: whole("bulkrelease_calls_under_way", "Calls and queries without an answer.")?,
            oldest_pending_seconds: real(
                "bulkrelease_oldest_pending_seconds",
                "Age of the oldest instance without an outcome.",
            )?,
            account_held: whole(
                "bulkrelease_account_held",
                "1 while calls are held, but for a probe: the API refuses the account or does not answer.",
            )?,
            quota_calls_per_second: real(
                "bulkrelease_quota_calls_per_second",
                "The account's quota as believed now, all workers together; +Inf where it is unlimited.",
            )?,
            account_problem: labelled(
                "bulkrelease_account_problem",
                "1 while calls are held, by the API's code for it (64 of them, then other).",
                &["account", "code"],
            )?,
            problems: Labels::at_most(MAX_PROBLEMS),
            rate_calls_per_second: real(
                "bulkrelease_rate_calls_per_second",
                "What this worker may call now: its share of the account's quota.",
            )?,
            share: real("bulkrelease_share", "This worker's share of the account's quota, 0 to 1.")?,
            fleet_workers: whole(
                "bulkrelease_fleet_workers",
                "Workers of the account that are heard, this one included.",
            )?,
            permits_used: counter("bulkrelease_permits_used_total", "Permits spent on a call.", &["account"])?,
            permits_idle: counter(
                "bulkrelease_permits_idle_total",
                "Permits that fell due while nothing was ready to be called, or with no place beside the calls under way.",
                &["account"],
            )?,
            drain_seconds: real(
                "bulkrelease_drain_seconds",
                "Until all work known in workers, jobs and retry queues is called, at today's rate and what batches cost of late; retry \
                 steps come on top. +Inf while calls are held (unlimited: or none was answered yet).",
            )?,
            useful_workers: whole(
                "bulkrelease_useful_workers",
                "How many workers make the most of the quota for the work that waits; of an unlimited account as this worker alone knows.",
            )?,
            backlog_bound: labelled(
                "bulkrelease_backlog_bound",
                "1 for what holds the backlog up: quota (or what waits can't go yet), workers, or nothing (nothing waits).",
                &["account", "by"],
            )?,
            settings_reloads: counter(
                "bulkrelease_settings_reloads_total",
                "Settings read again (SIGHUP): applied or refused.",
                &["result"],
            )?,
            held_deliveries,
            oldest_job_seconds,
            permit_wait_seconds: histogram(
                "bulkrelease_permit_wait_seconds",
                "How long the batch whose turn it was could not be called: no permit, a pause, or too many calls under way.",
                &["account"],
                &seconds,
            )?,
            fewest_calls: counter(
                "bulkrelease_fewest_calls_total",
                "Calls that the ids could have gone in at best: full batches of each group. Retries and splits come on top.",
                &["account"],
            )?,
            fewest: Mutex::default(),
            products: Labels::at_most(MAX_PRODUCTS),
            fingerprints: Labels::at_most(MAX_FINGERPRINTS),
            registry,
        };
        metrics.begin();
        Ok(metrics)
    }

    /// The label of a product: its code, or `other` once there are too many.
    pub(super) fn product(&self, code: &str) -> String {
        self.products.label(code)
    }

    /// The label of a dead letter's fingerprint.
    pub(super) fn fingerprint(&self, fingerprint: &str) -> String {
        self.fingerprints.label(fingerprint)
    }

    /// An account is refused with this code, or no longer.
    pub(super) fn refused_with(&self, account: &str, code: Option<&str>) {
        for known in self.problems.all() {
            let labels = [account, known.as_str()];
            // Most accounts never had most problems.
            self.account_problem.remove_label_values(&labels).ok();
        }
        if let Some(code) = code {
            self.account_problem.with_label_values(&[account, &self.problems.label(code)]).set(1);
        }
    }

    /// Counts a call that was answered.
    pub(super) fn called(&self, account: &AccountName, operation: &str, class: &str, took: Duration) {
        let account = account.as_str();
        self.calls.with_label_values(&[account, operation, class]).inc();
        self.call_seconds.with_label_values(&[account, operation]).observe(took.as_secs_f64());
    }

    /// Counts ids that are called for the first time.
    pub(super) fn called_first(&self, group: &Arc<GroupKey>, ids: usize) {
        let calls = self.fewest.lock().unwrap_or_else(PoisonError::into_inner).add(group, ids);
        self.fewest_calls.with_label_values(&[group.account.as_str()]).inc_by(calls);
    }

    /// Everything in Prometheus' text format.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_and_fingerprints_beyond_their_bounds_share_one_label() {
        let metrics = Metrics::new().unwrap();
        for n in 0..MAX_PRODUCTS {
            assert_eq!(metrics.product(&format!("p{n}")), format!("p{n}"));
        }
        for n in 0..MAX_FINGERPRINTS {
            assert_eq!(metrics.fingerprint(&format!("f{n}")), format!("f{n}"));
        }
        assert_eq!((metrics.product("one-too-many"), metrics.fingerprint("x")), ("other".into(), "other".into()));
        assert_eq!((metrics.product("p7"), metrics.fingerprint("f7")), ("p7".into(), "f7".into()));
    }
}
