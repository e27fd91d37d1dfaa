//! The series on `/metrics`. Seconds and `_total` as Prometheus wants them; labels bounded, never an id.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::process::ProcessCollector;

/// Products with a label of their own; later ones are `other`, so that a producer's typos can't grow the series.
const MAX_PRODUCTS: usize = 50;

/// Every series of a worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    products: Mutex<HashSet<String>>,
    pub(super) jobs_received: IntCounterVec,
    pub(super) jobs_finished: IntCounterVec,
    pub(super) instances: IntCounterVec,
    pub(super) results_confirmed: IntCounter,
    pub(super) given_back: IntCounter,
    pub(super) dead_letters: IntCounterVec,
    pub(super) critical_seconds: Histogram,
    pub(super) calls: IntCounterVec,
    pub(super) call_seconds: HistogramVec,
    pub(super) batches_sealed: IntCounterVec,
    pub(super) batch_instances: HistogramVec,
    pub(super) batch_wait_seconds: HistogramVec,
    pub(super) sessions_lost: IntCounter,
    pub(super) pending_instances: IntGaugeVec,
    pub(super) pending_jobs: IntGaugeVec,
    pub(super) calls_under_way: IntGaugeVec,
    pub(super) oldest_pending_seconds: GaugeVec,
    pub(super) account_held: IntGaugeVec,
    pub(super) quota_calls_per_second: GaugeVec,
    pub(super) held_deliveries: IntGauge,
}

impl Metrics {
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let seconds =
            vec![0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];
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
        let histogram = |name: &str, help: &str, buckets: &[f64]| -> Result<HistogramVec, prometheus::Error> {
            let series = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), &["account"])?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let whole = |name: &str, help: &str| -> Result<IntGaugeVec, prometheus::Error> {
            let series = IntGaugeVec::new(Opts::new(name, help), &["account"])?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let real = |name: &str, help: &str| -> Result<GaugeVec, prometheus::Error> {
            let series = GaugeVec::new(Opts::new(name, help), &["account"])?;
            registry.register(Box::new(series.clone()))?;
            Ok(series)
        };
        let critical = HistogramOpts::new(
            "bulkrelease_critical_seconds",
            "From a job's enqueueing (the message's timestamp, whole seconds; else its arrival) to its confirmed result.",
        );
        let critical_seconds = Histogram::with_opts(critical.buckets(seconds.clone()))?;
        registry.register(Box::new(critical_seconds.clone()))?;
        let held_deliveries =
            IntGauge::new("bulkrelease_held_deliveries", "Deliveries taken from the broker and not yet settled.")?;
        registry.register(Box::new(held_deliveries.clone()))?;
        let version = Opts::new("bulkrelease_build_info", "Always 1; the label tells the version.");
        let build = IntGaugeVec::new(version, &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.register(Box::new(build))?;
        registry.register(Box::new(ProcessCollector::new()?))?;
        Ok(Self {
            jobs_received: counter(
                "bulkrelease_jobs_received_total",
                "Deliveries taken from the jobs queue.",
                &["redelivered"],
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
            dead_letters: counter("bulkrelease_dead_letters_total", "Dead letters published, by reason.", &["reason"])?,
            critical_seconds,
            calls: counter(
                "bulkrelease_calls_total",
                "ReleaseInstance calls by the class of their verdict.",
                &["account", "class"],
            )?,
            call_seconds: histogram("bulkrelease_call_seconds", "From sending a call to its verdict.", &seconds)?,
            batches_sealed: counter(
                "bulkrelease_batches_sealed_total",
                "Batches by why they were sealed: full, linger, idle, overdue, retry, or split (a part of a refused batch).",
                &["account", "reason"],
            )?,
            batch_instances: histogram("bulkrelease_batch_instances", "Instances in a batch.", &sizes)?,
            batch_wait_seconds: histogram(
                "bulkrelease_batch_wait_seconds",
                "How long a batch's oldest instance had waited when it was sealed.",
                &seconds,
            )?,
            sessions_lost: plain(
                "bulkrelease_broker_sessions_lost_total",
                "Broker sessions lost with what they held.",
            )?,
            pending_instances: whole("bulkrelease_pending_instances", "Instances admitted and without an outcome.")?,
            pending_jobs: whole("bulkrelease_pending_jobs", "Jobs admitted and without a result.")?,
            calls_under_way: whole("bulkrelease_calls_under_way", "Calls without a verdict.")?,
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
                "The quota that this worker keeps to; +Inf where it is unlimited.",
            )?,
            held_deliveries,
            products: Mutex::new(HashSet::new()),
            registry,
        })
    }

    /// The label of a product: its code, or `other` once there are too many.
    pub(super) fn product(&self, code: &str) -> String {
        let mut products = self.products.lock().unwrap_or_else(PoisonError::into_inner);
        if products.contains(code) {
            code.to_owned()
        } else if products.len() < MAX_PRODUCTS {
            products.insert(code.to_owned());
            code.to_owned()
        } else {
            "other".to_owned()
        }
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
    fn products_beyond_the_bound_share_one_label() {
        let metrics = Metrics::new().unwrap();
        for n in 0..MAX_PRODUCTS {
            assert_eq!(metrics.product(&format!("p{n}")), format!("p{n}"));
        }
        assert_eq!(metrics.product("one-too-many"), "other");
        assert_eq!(metrics.product("p7"), "p7");
    }
}
