//! What is wrong with settings, accounts and broker before it is felt: facts in, findings out. Pure: who gathers the facts
//! (`cli::doctor`, or a worker at its start) asks; this only judges. What could not be asked is said, never passed over.
//!
//! `facts` come in, a `report` of `finding`s goes out. Each `code` has one severity and one reason; `settings`, `account`,
//! `rabbitmq` (with its `queue`s) and `file` judge.

mod account;
mod code;
mod facts;
mod file;
mod finding;
mod queue;
mod rabbitmq;
mod report;
mod settings;

pub use code::{Code, Severity};
pub use facts::{AccountFacts, Facts};
pub use finding::{Finding, NotChecked};
pub use report::{Report, Soundness};

use crate::broker::inspection::{Inspection, NoInspection};
use crate::config::{ConfigError, Settings};

/// Judges everything.
pub fn examine(facts: &Facts<'_>) -> Report {
    let mut report = Report::default();
    settings::judge(facts.settings, &mut report);
    for (name, account) in &facts.accounts {
        if let Some(settings) = facts.settings.accounts.get(name) {
            account::judge(name, settings, account, &mut report);
        }
    }
    broker(facts, &mut report);
    report.sorted()
}

/// Settings that nobody can start with.
pub fn refused(error: &ConfigError) -> Report {
    let mut report = Report::default();
    settings::refused(error, &mut report);
    report
}

/// What a worker should know of its broker before it begins, from a brief inspection.
pub fn examine_broker(settings: &Settings, inspection: Result<Inspection, NoInspection>) -> Report {
    let facts = Facts { settings, accounts: Default::default(), broker: inspection, consumer_timeout: None };
    let mut report = Report::default();
    broker(&facts, &mut report);
    report.sorted()
}

fn broker(facts: &Facts<'_>, report: &mut Report) {
    match &facts.broker {
        Ok(Inspection::RabbitMq(server)) => rabbitmq::judge(server, facts, report),
        Ok(Inspection::File(queue_file)) => file::judge(queue_file, facts.settings.broker.declare, report),
        Err(reason) => rabbitmq::unreachable(reason, report),
    }
}
