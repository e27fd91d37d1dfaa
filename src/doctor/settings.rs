//! Settings by themselves: rules that they break, and values that are allowed and unwise.

use std::time::Duration;

use super::{Code, Report};
use crate::config::{ConfigError, Settings, check};
use crate::contract::MAX_IDS_PER_CALL;

/// RabbitMQ's guide to heartbeats: values below 5 s are likely to cause false positives.
const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(5);
const LONGEST_HEARTBEAT: Duration = Duration::from_secs(60);

pub fn judge(settings: &Settings, report: &mut Report) {
    for violation in check(settings) {
        invalid(violation.setting, violation.problem, report);
    }
    if settings.accounts.values().all(|account| account.endpoint.is_none()) {
        let mend = "set accounts.default.endpoint, for instance to business.aliyuncs.com".to_owned();
        report.find(Code::NoEndpoint, "accounts", "no account names an endpoint", mend);
    }
    let broker = &settings.broker;
    if usize::from(broker.prefetch) < MAX_IDS_PER_CALL {
        let (found, mend) =
            (format!("broker.prefetch is {}", broker.prefetch), "set broker.prefetch to 1000".to_owned());
        report.find(Code::PrefetchBelowBatch, "broker.prefetch", found, mend);
    }
    let is_amqp = broker.url.as_deref().is_some_and(|url| !url.starts_with("sqlite:"));
    if is_amqp && !(SHORTEST_HEARTBEAT..=LONGEST_HEARTBEAT).contains(&broker.heartbeat) {
        let mend = "set broker.heartbeat to 10s".to_owned();
        let found = format!("broker.heartbeat is {:?}", broker.heartbeat);
        report.find(Code::HeartbeatUnsuitable, "broker.heartbeat", found, mend);
    }
    report.check("settings: every rule holds");
}

pub fn refused(error: &ConfigError, report: &mut Report) {
    match error {
        ConfigError::Rules(broken) => {
            for (violation, origin) in broken {
                invalid(format!("{} ({origin})", violation.setting), violation.problem.clone(), report);
            }
        }
        ConfigError::At { location, problem } => invalid(location.clone(), problem.clone(), report),
        ConfigError::Unwritable(_) => invalid("settings".to_owned(), error.to_string(), report),
    }
    report.miss("accounts and broker", "the settings are not valid", None);
}

fn invalid(setting: String, problem: String, report: &mut Report) {
    let mend = "write what the finding says; config/bulkrelease.toml explains every setting".to_owned();
    report.find(Code::SettingInvalid, setting, problem, mend);
}
