//! A RabbitMQ server as a whole: its version, rights, alarms and nodes, and what each of its exchanges and queues is.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::queue::{self, Server};
use super::{Code, Facts, Report, file};
use crate::broker::Queue;
use crate::broker::inspection::{
    Difference, Management, NoInspection, Publishing, RabbitMq, RightKind, Standing, StandingExchange,
};
use crate::config::{CallsPerSecond, Settings};
use crate::contract::FLEET;

/// The first with dead-lettering at least once, and TTLs in quorum queues.
const OLDEST_VERSION: (u32, u32) = (3, 10);
const ENABLE_MANAGEMENT: &str = "rabbitmq-plugins enable rabbitmq_management; rabbitmqctl set_user_tags USER monitoring; set \
                                 broker.management_url if it is not at the usual port";

/// A broker that could not be asked.
pub fn unreachable(reason: &NoInspection, report: &mut Report) {
    match reason {
        NoInspection::NotNamed => {
            let mend = "set broker.url to amqp://HOST, amqps://HOST or sqlite:PATH".to_owned();
            report.find(Code::BrokerNotNamed, "broker.url", "broker.url is not set", mend);
        }
        NoInspection::Unreachable { address, reason } => {
            let mend =
                "check broker.url, broker.tls and the network; is the broker up: rabbitmq-diagnostics ping".to_owned();
            report.find(Code::BrokerUnreachable, format!("broker {address}"), reason, mend);
        }
        NoInspection::LoginRefused { address, reason } => {
            let mend = "check user, password and virtual host in broker.url: rabbitmqctl authenticate_user USER, rabbitmqctl \
                        list_permissions -p VHOST";
            report.find(Code::BrokerLoginRefused, format!("broker {address}"), reason, mend.to_owned());
        }
        NoInspection::Settings(problem) => {
            let mend = "mend the setting that is named".to_owned();
            report.find(Code::BrokerUnreachable, "broker", problem, mend);
        }
    }
    report.miss("queues, rights and alarms", "the broker could not be asked", None);
}

pub fn judge(inspection: &RabbitMq, facts: &Facts<'_>, report: &mut Report) {
    let management = inspection.management.as_ref();
    let told = management.and_then(|management| management.as_ref().ok());
    if let Some(Err(missing)) = management {
        let because = format!("the management plugin at {} tells nothing: {}", missing.url, missing.reason);
        report.miss("policies, bindings and nodes", because, Some(ENABLE_MANAGEMENT));
    }
    let version = version(inspection, told, report);
    let running =
        told.and_then(|told| told.nodes.as_ref()).map_or(0, |nodes| nodes.iter().filter(|n| n.running).count());
    let server = Server {
        version,
        virtual_host: &inspection.virtual_host,
        settings: facts.settings,
        consumer_timeout: facts.consumer_timeout,
        nodes: running,
    };
    missing(inspection, facts.settings.broker.declare, report);
    for exchange in &inspection.exchanges {
        judge_exchange(exchange, inspection, told, &server, report);
    }
    for standing in &inspection.queues {
        let managed = told.and_then(|told| told.queues.get(&standing.queue.name()));
        if let Standing::Unavailable(reason) = &standing.standing {
            let mend = "start the nodes that hold it: rabbitmqctl cluster_status".to_owned();
            report.find(Code::QueueUnavailable, format!("queue {}", standing.queue.name()), reason, mend);
        } else {
            queue::judge(standing, managed, &server, report);
        }
    }
    untold(inspection, told, report);
    if let Some(told) = told {
        bindings(inspection, told, report);
    }
    rights(inspection, facts.settings.broker.declare, report);
    beacons(inspection, facts.settings, report);
    alarms(inspection, told, report);
    depths(inspection, report);
}

/// Major and minor.
fn version(inspection: &RabbitMq, told: Option<&Management>, report: &mut Report) -> Option<(u32, u32)> {
    let text = inspection.version.as_ref().or_else(|| told.and_then(|told| told.version.as_ref()));
    let read = |text: &String| {
        let mut numbers = text.split(['.', '-', '+']).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let version = text.and_then(read);
    match (text, version) {
        (Some(text), Some(version)) if version < OLDEST_VERSION => {
            let (found, mend) = (format!("RabbitMQ {text}"), "upgrade RabbitMQ to 3.10 or newer".to_owned());
            report.find(Code::VersionTooOld, format!("broker {}", inspection.address), found, mend);
        }
        (Some(text), Some(_)) => report.check(format!("broker {}: RabbitMQ {text}", inspection.address)),
        _ => report.miss("the broker's version", "it doesn't tell it as RabbitMQ does", None),
    }
    version
}

fn missing(inspection: &RabbitMq, declare: bool, report: &mut Report) {
    let queues = inspection.queues.iter().filter(|queue| queue.standing == Standing::Missing);
    let exchanges = inspection.exchanges.iter().filter(|exchange| exchange.standing == Standing::Missing);
    let mut names: Vec<String> = exchanges.map(|exchange| format!("exchange {}", exchange.name)).collect();
    names.extend(queues.map(|queue| format!("queue {}", queue.queue.name())));
    if !names.is_empty() {
        let code = if declare { Code::NotSetUp } else { Code::EntityMissing };
        let found = format!("missing: {}", names.join(", "));
        report.find(code, format!("virtual host {}", inspection.virtual_host), found, "bulkrelease setup".to_owned());
    }
}

fn judge_exchange(
    exchange: &StandingExchange,
    inspection: &RabbitMq,
    told: Option<&Management>,
    server: &Server<'_>,
    report: &mut Report,
) {
    let name = &exchange.name;
    let subject = format!("exchange {name}");
    let mend = || replace_exchange(name, inspection, told);
    let difference = match &exchange.standing {
        Standing::Differs(difference) => Some(difference),
        _ => None,
    };
    let differs =
        |argument: &str| matches!(difference, Some(Difference { argument: Some(found), .. }) if found == argument);
    let managed = told.and_then(|told| told.exchanges.get(name));
    let has_none = managed.map(|managed| {
        let arguments = managed.arguments.as_ref();
        // A policy may name one as well.
        arguments.is_none_or(|arguments| !arguments.contains_key("alternate-exchange")) && managed.policy.is_none()
    });
    if exchange.alternate.is_some() && has_none.unwrap_or_else(|| differs("alternate-exchange")) {
        report.find(Code::AlternateExchangeMissing, &subject, "it has no alternate exchange", mend());
    } else if let Some(difference) = difference
        && server.settings.broker.declare
    {
        report.find(Code::ExchangeDiffers, &subject, &difference.words, mend());
    } else if let Some(managed) = managed
        && (managed.kind != exchange.kind || !managed.durable)
    {
        let found = format!("it is a {} exchange, durable: {}", managed.kind, managed.durable);
        report.find(Code::ExchangeDiffers, &subject, found, mend());
    }
}

/// rabbitmqctl can't delete an exchange, and rabbitmqadmin says it otherwise from version to version.
fn replace_exchange(name: &str, inspection: &RabbitMq, told: Option<&Management>) -> String {
    let management = told.map_or("http://HOST:15672", |told| told.url.trim_end_matches('/'));
    let virtual_host = utf8_percent_encode(&inspection.virtual_host, NON_ALPHANUMERIC);
    format!(
        "rabbitmqctl list_bindings shows which queues of others lose their bindings with it; while neither producers nor workers run: \
         curl -u USER -X DELETE '{management}/api/exchanges/{virtual_host}/{name}'; then \
         bulkrelease setup"
    )
}

/// What nobody could tell of things that exist.
fn untold(inspection: &RabbitMq, told: Option<&Management>, report: &mut Report) {
    if told.is_none() {
        let queues = inspection.queues.iter().filter(|queue| queue.standing == Standing::Untold);
        let exchanges = inspection.exchanges.iter().filter(|exchange| exchange.standing == Standing::Untold);
        let names: Vec<String> =
            queues.map(|queue| queue.queue.name()).chain(exchanges.map(|exchange| exchange.name.clone())).collect();
        if !names.is_empty() {
            let because = "the user has no right to configure them, which AMQP asks of whoever compares";
            report.miss(format!("arguments of {}", names.join(", ")), because, Some(ENABLE_MANAGEMENT));
        }
    }
    let managed = |queue: &Queue| told.and_then(|told| told.queues.get(&queue.name()));
    let young = inspection.queues.iter().filter(|queue| managed(&queue.queue).is_some_and(|m| m.policies.is_none()));
    let names: Vec<String> = young.map(|queue| queue.queue.name()).collect();
    if !names.is_empty() {
        let because = "the management plugin has no statistics of them yet";
        report.miss(format!("policies of {}", names.join(", ")), because, Some("try again in ten seconds"));
    }
}

fn bindings(inspection: &RabbitMq, told: &Management, report: &mut Report) {
    for binding in &inspection.bindings {
        let exist = told.exchanges.contains_key(&binding.exchange) && told.queues.contains_key(&binding.queue);
        if exist && !told.bindings.contains(binding) {
            let found = format!("no binding leads to queue {} with the key {:?}", binding.queue, binding.key);
            let subject = format!("exchange {}", binding.exchange);
            report.find(Code::BindingMissing, subject, found, "bulkrelease setup".to_owned());
        }
    }
    report.check("bindings and policies: told by the management plugin");
}

fn rights(inspection: &RabbitMq, declare: bool, report: &mut Report) {
    let missing = |entity: &str| {
        let mut exchanges = inspection.exchanges.iter();
        exchanges.any(|exchange| exchange.name == entity && exchange.standing == Standing::Missing)
    };
    let mut lacking = Vec::new();
    for right in &inspection.rights {
        let what = format!("{} {}", right.kind.as_str(), right.entity);
        match &right.held {
            Ok(false) if right.kind != RightKind::Configure || declare => lacking.push(what),
            Ok(_) => {}
            Err(_) if missing(&right.entity) => {}
            Err(reason) => report.miss(format!("the right to {what}"), reason, Some("rabbitmqctl list_permissions")),
        }
    }
    if !lacking.is_empty() {
        let found = format!("it has no right to {}", lacking.join(", "));
        let permit = permit(inspection, declare);
        let mend = if lacking.iter().all(|what| what.starts_with("configure ")) {
            format!("set broker.declare to false, or {permit}")
        } else {
            permit
        };
        report.find(Code::RightMissing, format!("user {}", inspection.user), found, mend);
    }
}

/// What a worker needs, and no more.
fn permit(inspection: &RabbitMq, declare: bool) -> String {
    let RabbitMq { virtual_host, user, .. } = inspection;
    let configure = if declare { "^release\\." } else { "^release\\.(fleet|watch)\\." };
    format!(
        "rabbitmqctl set_permissions -p '{virtual_host}' '{user}' '{configure}' '^(release\\.|amq\\.default$)' '^release\\.' \
         (it replaces what list_user_permissions shows)"
    )
}

/// Where there is a quota to share.
fn beacons(inspection: &RabbitMq, settings: &Settings, report: &mut Report) {
    let mut accounts = settings.accounts.values();
    let missing =
        inspection.exchanges.iter().any(|exchange| exchange.name == FLEET && exchange.standing == Standing::Missing);
    if missing
        || !accounts.any(|account| account.endpoint.is_some() && account.calls_per_second != CallsPerSecond::Unlimited)
    {
        return;
    }
    let mut lacking = Vec::new();
    for right in &inspection.beacon_rights {
        let what = format!("{} {}", right.kind.as_str(), right.entity);
        match &right.held {
            Ok(true) => {}
            Ok(false) => lacking.push(what),
            Err(reason) => report.miss(format!("the right to {what}"), reason, Some("rabbitmqctl list_permissions")),
        }
    }
    if !lacking.is_empty() {
        let found = format!("it has no right to {}", lacking.join(", "));
        let mend = permit(inspection, settings.broker.declare);
        report.find(Code::BeaconsNotPermitted, format!("user {}", inspection.user), found, mend);
    }
}

fn alarms(inspection: &RabbitMq, told: Option<&Management>, report: &mut Report) {
    let nodes = told.and_then(|told| told.nodes.as_ref());
    if told.is_some() && nodes.is_none() {
        let because = format!("user {} has no tag monitoring", inspection.user);
        report.miss("nodes and the cluster", because, Some("rabbitmqctl set_user_tags USER monitoring"));
    }
    let mut alarmed = false;
    for node in nodes.into_iter().flatten() {
        let subject = format!("node {}", node.name);
        let start = "start it: rabbitmqctl cluster_status".to_owned();
        let what = match (node.mem_alarm, node.disk_free_alarm) {
            (true, _) => {
                Some(("its memory alarm is on", "give it more memory, or fewer messages: rabbitmqctl list_queues"))
            }
            (_, true) => Some(("its disk alarm is on", "make room on its disk")),
            _ => None,
        };
        if let Some((found, mend)) = what {
            alarmed = true;
            report.find(Code::BrokerAlarm, &subject, found, mend.to_owned());
        }
        if !node.running {
            report.find(Code::NodeDown, &subject, "it does not run", start);
        } else if !node.partitions.is_empty() {
            let found = format!("it does not see {}", node.partitions.join(", "));
            let mend = "mend the network between the nodes, then restart those of the smaller part".to_owned();
            report.find(Code::ClusterPartitioned, &subject, found, mend);
        }
    }
    match &inspection.publishing {
        Some(Publishing::Blocked) if !alarmed => {
            let mend = "rabbitmq-diagnostics alarms tells which; make room on its disk or in its memory".to_owned();
            let found = "it holds publishers up".to_owned();
            report.find(Code::BrokerAlarm, format!("broker {}", inspection.address), found, mend);
        }
        Some(Publishing::Unknown(reason)) if nodes.is_none() => {
            let because = format!("nothing could be published: {reason}");
            report.miss("the broker's alarms", because, Some("rabbitmq-diagnostics alarms"));
        }
        Some(Publishing::Read) => report.check("alarms: none, what is published is read"),
        _ => {}
    }
}

fn depths(inspection: &RabbitMq, report: &mut Report) {
    let standing = |queue: Queue| inspection.queues.iter().find(|standing| standing.queue == queue);
    let ready = |queue: Queue| standing(queue).map_or(0, |standing| standing.ready);
    file::waiting(ready(Queue::Dead), ready(Queue::Unrouted), report);
    if let Some(jobs) = standing(Queue::Jobs)
        && jobs.ready > 0
        && jobs.consumers == 0
    {
        let (found, mend) =
            (format!("{} jobs wait, and it has no consumer", jobs.ready), "bulkrelease worker".to_owned());
        report.find(Code::NoWorkerConsumes, "queue release.jobs", found, mend);
    }
}

#[cfg(test)]
mod tests;
