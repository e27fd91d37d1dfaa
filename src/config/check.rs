//! Rules that a type can't say: bounds, and settings that make sense only together. Each violation names the setting
//! and the fix.

use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::endpoint;
use super::{
    AccountSettings, BrokerSettings, CallsPerSecond, LogSettings, RetrySettings, SHORTEST_HOLD, SafetySettings,
    Settings, TraceSettings, WorkerSettings,
};
use crate::contract::{InstanceId, MAX_IDS_PER_CALL, MAX_IDS_PER_JOB};

/// Far below RabbitMQ's default consumer_timeout of 30 minutes, after which it closes the channel.
const LONGEST_HOLD: Duration = Duration::from_secs(20 * 60);

/// Calls that an account must be able to make while a delivery is held, lest every search for a bad id be cut short: one
/// for the batch, and 14 at worst to find a single one in it. It may be held for no longer than `SHORTEST_HOLD`.
const CALLS_WITHIN_A_HOLD: f64 = 16.0 / SHORTEST_HOLD;

/// A setting that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Its path: `broker.url`.
    pub setting: String,
    /// What is wrong and what to write instead; never the value of a setting that may be a secret.
    pub problem: String,
}

/// Every violation; empty if the settings make sense.
pub fn check(settings: &Settings) -> Vec<Violation> {
    let mut rules = Rules { section: String::new(), violations: Vec::new() };
    rules.section("broker").broker(&settings.broker);
    let longest_call = settings.accounts.values().map(|account| account.call_timeout).max().unwrap_or_default();
    rules.section("worker").worker(&settings.worker, longest_call);
    rules.section("retry").retry(&settings.retry);
    rules.section("safety").safety(&settings.safety);
    rules.section("log").log(&settings.log);
    rules.section("trace").trace(&settings.trace);
    for (name, account) in &settings.accounts {
        rules.section(&format!("accounts.{name}")).account(account, settings.worker.max_hold);
    }
    rules.violations
}

struct Rules {
    section: String,
    violations: Vec<Violation>,
}

impl Rules {
    fn section(&mut self, name: &str) -> &mut Self {
        name.clone_into(&mut self.section);
        self
    }

    fn demand(&mut self, holds: bool, key: &str, problem: impl Into<String>) {
        if !holds {
            self.violations.push(Violation { setting: format!("{}.{key}", self.section), problem: problem.into() });
        }
    }

    fn within<T: PartialOrd + std::fmt::Display>(&mut self, key: &str, value: T, range: RangeInclusive<T>) {
        let holds = range.contains(&value);
        self.demand(holds, key, format!("is {value}: write a number from {} to {}", range.start(), range.end()));
    }

    fn some_time(&mut self, key: &str, duration: Duration) {
        self.demand(duration >= Duration::from_millis(1), key, "is too short: write at least 1ms");
    }

    fn exists(&mut self, key: &str, file: Option<&Path>) {
        if let Some(file) = file {
            self.demand(file.is_file(), key, format!("names {}, which is no file here", file.display()));
        }
    }

    fn broker(&mut self, broker: &BrokerSettings) {
        if let Some(url) = &broker.url {
            self.demand(
                is_broker(url),
                "url",
                "must be amqp://HOST, amqps://HOST or sqlite:PATH; special characters of \
                a password are percent-encoded",
            );
        }
        let manages = |url: &str| {
            Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.host_str().is_some())
        };
        self.demand(
            broker.management_url.as_deref().is_none_or(manages),
            "management_url",
            "must be http://HOST:15672 or https://HOST:15671; special characters of a password are percent-encoded",
        );
        self.within("prefetch", broker.prefetch, 1..=u16::MAX);
        self.some_time("connect_timeout", broker.connect_timeout);
        let heartbeat = Duration::from_secs(1)..=Duration::from_secs(600);
        self.demand(heartbeat.contains(&broker.heartbeat), "heartbeat", "must be from 1s to 10m");

        let tls = &broker.tls;
        self.exists("tls.ca_file", tls.ca_file.as_deref());
        self.exists("tls.certificate_file", tls.certificate_file.as_deref());
        self.exists("tls.key_file", tls.key_file.as_deref());
        const TOGETHER: &str = "is missing: a certificate and its key come together";
        self.demand(tls.certificate_file.is_some() || tls.key_file.is_none(), "tls.certificate_file", TOGETHER);
        self.demand(tls.key_file.is_some() || tls.certificate_file.is_none(), "tls.key_file", TOGETHER);
        let encrypted = broker.url.as_deref().is_none_or(|url| url.starts_with("amqps:"));
        let unused = "has settings, but broker.url is not encrypted: write amqps://, or remove them";
        self.demand(encrypted || *tls == super::TlsSettings::default(), "tls", unused);
    }

    fn worker(&mut self, worker: &WorkerSettings, longest_call: Duration) {
        if let Some(name) = &worker.name {
            let valid = (1..=100).contains(&name.len()) && !name.chars().any(char::is_control);
            self.demand(valid, "name", "must be 1 to 100 bytes of text without control characters");
        }
        self.demand(worker.linger <= worker.max_wait, "linger", "is longer than worker.max_wait: shorten it");
        // Two kinds of overdue batches have a share each: with all permits between them nothing else would be called.
        self.within("overdue_share", worker.overdue_share, 3..=u32::MAX);
        self.within("max_in_flight_calls", worker.max_in_flight_calls, 1..=1000);
        self.within("split_budget", worker.split_budget, 1..=1000);
        // The result of a job lists every id, and must fit into one message.
        self.within("max_ids_per_job", worker.max_ids_per_job, 1..=MAX_IDS_PER_JOB);
        // 16 MiB is the largest message that RabbitMQ 4 takes.
        self.within("max_message_bytes", worker.max_message_bytes, 1024..=16 * 1024 * 1024);
        self.within("max_pending_ids", worker.max_pending_ids, MAX_IDS_PER_CALL..=100_000_000);
        self.demand(
            worker.max_pending_bytes >= worker.max_message_bytes,
            "max_pending_bytes",
            "is less than worker.max_message_bytes, so that the largest job could never be taken: raise it",
        );
        // The queue's own limit is 100; the worker must give up first, to say why.
        self.within("max_deliveries", worker.max_deliveries, 1..=90);
        self.some_time("max_hold", worker.max_hold);
        self.demand(
            worker.max_wait <= worker.max_hold / 2,
            "max_wait",
            "is more than half of worker.max_hold, so that a rare product would often be sent away before its turn: shorten \
             it, or lengthen worker.max_hold",
        );
        self.demand(
            worker.max_hold > longest_call,
            "max_hold",
            "is not longer than the longest call_timeout of an account: lengthen it",
        );
        self.demand(
            worker.max_hold + longest_call <= LONGEST_HOLD,
            "max_hold",
            "and the longest call_timeout make more than 20m: shorten it, for RabbitMQ takes a delivery back that is held \
             for its consumer_timeout, 30m by default",
        );
        self.some_time("drain_deadline", worker.drain_deadline);
    }

    fn retry(&mut self, retry: &RetrySettings) {
        self.within("attempts_in_process", retry.attempts_in_process, 1..=100);
        self.within("max_attempts", retry.max_attempts, 1..=1000);
        self.demand(
            retry.attempts_in_process <= retry.max_attempts,
            "max_attempts",
            "is less than retry.attempts_in_process, which would never be reached: raise it, or lower that",
        );
        self.some_time("max_age", retry.max_age);
        self.some_time("initial_interval", retry.initial_interval);
        self.within("multiplier", retry.multiplier, 1.0..=10.0);
        let ordered = retry.initial_interval <= retry.max_interval;
        self.demand(ordered, "max_interval", "is shorter than retry.initial_interval: lengthen it");
        let rising = retry.steps.is_sorted_by(|shorter, longer| shorter < longer);
        // The broker counts milliseconds.
        let whole =
            retry.steps.iter().all(|step| *step >= Duration::from_millis(1) && step.subsec_nanos() % 1_000_000 == 0);
        self.demand(
            (1..=8).contains(&retry.steps.len()) && rising && whole,
            "steps",
            "must be 1 to 8 delays in whole milliseconds, each longer than the one before: [\"10s\", \"1m\", \"10m\"]",
        );
    }

    fn safety(&mut self, safety: &SafetySettings) {
        for entry in &safety.protected {
            self.demand(
                is_protected_entry(entry),
                "protected",
                format!("holds {entry:?}: write a whole instance id, or the start of some and one * at its end"),
            );
        }
        self.exists("protected_file", safety.protected_file.as_deref());
    }

    fn log(&mut self, log: &LogSettings) {
        self.demand(
            is_log_filter(&log.level),
            "level",
            "must be error, warn, info, debug or trace, or TARGET=LEVEL pairs with commas between",
        );
    }

    fn trace(&mut self, trace: &TraceSettings) {
        self.demand(
            trace.otlp_endpoint.as_deref().is_none_or(is_collector),
            "otlp_endpoint",
            "must be the http:// or https:// URL of a collector, such as http://127.0.0.1:4318: without /v1/traces, user, \
             query and fragment; what it asks for goes into OTEL_EXPORTER_OTLP_HEADERS",
        );
    }

    fn account(&mut self, account: &AccountSettings, max_hold: Duration) {
        if let Some(Err(problem)) = account.endpoint.as_deref().map(endpoint) {
            self.demand(false, "endpoint", problem);
        }
        if let CallsPerSecond::Limited(rate) = account.calls_per_second {
            let calls = rate * max_hold.as_secs_f64();
            self.demand(
                calls >= CALLS_WITHIN_A_HOLD,
                "calls_per_second",
                format!(
                    "gives {calls:.1} calls within worker.max_hold, too few to find one bad id in a batch: write at least \
                     {:.3}, or lengthen worker.max_hold",
                    CALLS_WITHIN_A_HOLD / max_hold.as_secs_f64()
                ),
            );
        }
        self.demand(
            account.read_back_calls_per_second != CallsPerSecond::Auto,
            "read_back_calls_per_second",
            "can't be found by calling: write a number, or \"unlimited\"",
        );
        self.within("burst", account.burst, 1..=1000);
        self.some_time("connect_timeout", account.connect_timeout);
        self.some_time("call_timeout", account.call_timeout);
        for code in account.error_classes.keys() {
            let exact = code.strip_suffix('*').unwrap_or(code);
            let valid = !exact.is_empty() && exact.bytes().all(|b| b.is_ascii_graphic() && b != b'*');
            let problem = format!("holds {code:?}: write an error code, or the start of some and one * at its end");
            self.demand(valid, "error_classes", problem);
        }
    }
}

fn is_broker(url: &str) -> bool {
    if let Some(path) = url.strip_prefix("sqlite:") {
        return !path.is_empty();
    }
    Url::parse(url).is_ok_and(|url| {
        matches!(url.scheme(), "amqp" | "amqps") && url.host_str().is_some_and(|host| !host.is_empty())
    })
}

/// A `*` alone is allowed: it protects everything.
fn is_protected_entry(entry: &str) -> bool {
    let id = entry.strip_suffix('*').unwrap_or(entry);
    entry == "*" || (!id.contains('*') && InstanceId::new(id).is_ok())
}

/// A word that is no level is a target's name to the filter, which then drops everything else: a typo's silence.
fn is_log_filter(text: &str) -> bool {
    let words_are_levels = text
        .split(',')
        .map(str::trim)
        .all(|part| part.contains(['=', '[']) || part.parse::<tracing_subscriber::filter::LevelFilter>().is_ok());
    words_are_levels && tracing_subscriber::EnvFilter::try_new(text).is_ok()
}

/// A base URL, to which a path can be added. Credentials have no place in it: it is logged.
fn is_collector(text: &str) -> bool {
    let spaced = text.chars().any(|c| c.is_whitespace() || c.is_control());
    Url::parse(text).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && !url.path().trim_end_matches('/').ends_with("/v1/traces")
    }) && !spaced
}

#[cfg(test)]
mod tests;
