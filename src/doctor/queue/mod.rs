//! One queue: what its arguments and its policies come to together (`known`), against what it is for.

mod known;

use std::time::Duration;

use serde_json::Value;

use self::known::{Effective, Known};
use super::{Code, Report};
use crate::broker::Queue;
use crate::broker::inspection::{Arguments, Difference, ManagedQueue, Standing, StandingQueue};
use crate::config::Settings;

/// Nobody looks at a queue so often.
const ENOUGH_DELIVERIES: i64 = 1_000_000;

/// What all queues of a server share.
pub struct Server<'a> {
    /// `None`: not known, so the stricter reading holds.
    pub version: Option<(u32, u32)>,
    pub virtual_host: &'a str,
    pub settings: &'a Settings,
    /// As the operator says.
    pub consumer_timeout: Option<Duration>,
    /// How many nodes run.
    pub nodes: usize,
}

/// Judges a queue that exists.
pub fn judge(queue: &StandingQueue, managed: Option<&ManagedQueue>, server: &Server<'_>, report: &mut Report) {
    let name = queue.queue.name();
    let subject = format!("queue {name}");
    let before = report.findings.len();
    let Some(arguments) = arguments(queue, managed) else { return };
    let policies = managed.and_then(|managed| managed.policies.as_ref());
    let known = Known { name, virtual_host: server.virtual_host, arguments, policies, managed };
    if !kind(&known, queue, &subject, report) {
        return;
    }
    delivery_limit(&known, queue, server, &subject, report);
    dead_lettering(&known, &queue.wanted, &subject, report);
    vanishing(&known, &queue.wanted, &subject, report);
    if queue.queue == Queue::Jobs {
        consumers(&known, server, &subject, report);
    }
    if let Some(managed) = managed {
        copies(managed, server, &subject, report);
    }
    if let Standing::Differs(difference) = &queue.standing
        && report.findings.len() == before
        && server.settings.broker.declare
    {
        report.find(Code::QueueDiffers, &subject, &difference.words, known.replace());
    }
}

/// The arguments, from whoever tells: the plugin all of them, a declaration the first that differs.
fn arguments(queue: &StandingQueue, managed: Option<&ManagedQueue>) -> Option<Arguments> {
    if let Some(arguments) = managed.and_then(|managed| managed.arguments.clone()) {
        return Some(arguments);
    }
    let mut arguments = queue.wanted.clone();
    match &queue.standing {
        Standing::AsWanted => {}
        Standing::Differs(Difference { argument: Some(argument), current, .. }) => match current {
            Some(value) => drop(arguments.insert(argument.clone(), value.clone())),
            None => drop(arguments.remove(argument)),
        },
        Standing::Differs(_) => {}
        Standing::Missing | Standing::Untold | Standing::Unavailable(_) => return None,
    }
    Some(arguments)
}

/// Whether type and durability are such that the rest can be judged.
fn kind(known: &Known<'_>, queue: &StandingQueue, subject: &str, report: &mut Report) -> bool {
    let wanted = queue.wanted.get("x-queue-type").and_then(Value::as_str).unwrap_or("classic");
    let found = known.kind();
    if found != wanted {
        let code = match queue.queue {
            Queue::Retry { .. } => Code::RetryQueueClassic,
            _ => Code::QueueTypeDiffers,
        };
        report.find(code, subject, format!("it is a {found} queue, not a {wanted} one"), known.replace());
        return false;
    }
    let durable = known.managed.map_or_else(|| !known.arguments.contains_key("durable"), |managed| managed.durable);
    if !durable {
        report.find(Code::QueueNotDurable, subject, "it is not durable", known.replace());
    }
    durable
}

fn delivery_limit(known: &Known<'_>, queue: &StandingQueue, server: &Server<'_>, subject: &str, report: &mut Report) {
    if queue.wanted.get("x-queue-type").and_then(Value::as_str) != Some("quorum") {
        return;
    }
    let is_4 = server.version.map(|version| version >= (4, 0));
    let set = known.delivery_limit(is_4);
    let Some(Effective { value: limit, by_policy }) = set else { return };
    let mend = known.mend(by_policy, "delivery-limit");
    if limit < 0 && is_4 != Some(true) {
        report.find(Code::DeliveryLimitDestroys, subject, format!("its delivery limit is {limit}"), mend);
    } else if limit >= 0 {
        let max_deliveries = server.settings.worker.max_deliveries;
        let low = i64::try_from(max_deliveries).is_ok_and(|deliveries| limit <= deliveries);
        if queue.queue == Queue::Jobs && low {
            let found = format!("its delivery limit is {limit}, and worker.max_deliveries is {max_deliveries}");
            report.find(Code::JobsDeliveryLimitLow, subject, found, mend);
        } else if queue.queue != Queue::Jobs && limit < ENOUGH_DELIVERIES {
            report.find(Code::DeliveryLimitWearsOut, subject, format!("its delivery limit is {limit}"), mend);
        }
    }
}

/// Where what leaves the queue by itself goes, and whether it gets there.
fn dead_lettering(known: &Known<'_>, wanted: &Arguments, subject: &str, report: &mut Report) {
    let text = |argument, policy| (argument, policy, known.text(argument, policy));
    for ((argument, policy, found), code) in [
        (("x-overflow", "overflow", known.overflow()), Code::OverflowDrops),
        (text("x-dead-letter-strategy", "dead-letter-strategy"), Code::DeadLetterStrategyDrops),
        (text("x-dead-letter-exchange", "dead-letter-exchange"), Code::DeadLetterExchangeDiffers),
    ] {
        let Some(wanted) = wanted.get(argument).and_then(Value::as_str) else { continue };
        let value = found.as_ref().map(|found| found.value.as_str());
        if value != Some(wanted) {
            let by_policy = found.as_ref().is_some_and(|found| found.by_policy);
            let words = format!("{argument} is {}, not {wanted}", value.unwrap_or("not set"));
            report.find(code, subject, words, known.mend(by_policy, policy));
        }
    }
}

/// Limits of age and length.
fn vanishing(known: &Known<'_>, wanted: &Arguments, subject: &str, report: &mut Report) {
    let wanted_life = wanted.get("x-message-ttl").and_then(Value::as_i64);
    let life = known.least("x-message-ttl", "message-ttl");
    match (life, wanted_life) {
        (None, Some(_)) => report.find(Code::RetryNeverReturns, subject, "it has no message TTL", known.replace()),
        (Some(life), Some(wanted)) if life.value != wanted => {
            let (found, mend) = (
                format!("its messages wait {} ms, not {wanted} ms", life.value),
                known.mend(life.by_policy, "message-ttl"),
            );
            report.find(Code::RetryDelayDiffers, subject, found, mend);
        }
        (Some(life), None) => {
            let (found, mend) =
                (format!("its messages expire after {} ms", life.value), known.mend(life.by_policy, "message-ttl"));
            report.find(Code::MessagesExpire, subject, found, mend);
        }
        _ => {}
    }
    if let Some(unused) = known.least("x-expires", "expires") {
        let found = format!("it expires after {} ms without use", unused.value);
        report.find(Code::QueueExpires, subject, found, known.mend(unused.by_policy, "expires"));
    }
    for (argument, policy, unit) in
        [("x-max-length", "max-length", "messages"), ("x-max-length-bytes", "max-length-bytes", "bytes")]
    {
        let Some(limit) = known.least(argument, policy) else { continue };
        let overflow = known.overflow().map_or("drop-head".to_owned(), |found| found.value);
        let code = if overflow == "drop-head" { Code::LengthLimitDrops } else { Code::LengthLimitBlocks };
        // A finding of the queue that should refuse says it all.
        if code == Code::LengthLimitDrops
            && report.findings.iter().any(|f| f.code == Code::OverflowDrops && f.subject == subject)
        {
            continue;
        }
        let found = format!("it holds {} {unit} at most, and then {overflow} applies", limit.value);
        report.find(code, subject, found, known.mend(limit.by_policy, policy));
    }
}

fn consumers(known: &Known<'_>, server: &Server<'_>, subject: &str, report: &mut Report) {
    if known.arguments.get("x-single-active-consumer") == Some(&Value::Bool(true)) {
        report.find(Code::SingleActiveConsumer, subject, "x-single-active-consumer is set", known.replace());
    }
    let settings = server.settings;
    let longest_call = settings.accounts.values().map(|account| account.call_timeout).max().unwrap_or_default();
    let held = settings.worker.max_hold + longest_call;
    let set = known.least("x-consumer-timeout", "consumer-timeout");
    let own =
        set.map(|set| (Duration::from_millis(set.value.unsigned_abs()), known.mend(set.by_policy, "consumer-timeout")));
    let raise = || format!("set consumer_timeout = {} in rabbitmq.conf", (held.as_millis() * 2).max(1_800_000));
    let timeout = own.or_else(|| server.consumer_timeout.map(|timeout| (timeout, raise())));
    match timeout {
        Some((timeout, mend)) if timeout <= held => {
            let found = format!(
                "consumer_timeout is {timeout:?}, and a worker holds a delivery for {held:?} at most (worker.max_hold and the \
                 longest call_timeout)"
            );
            report.find(Code::ConsumerTimeoutTooShort, subject, found, format!("{mend}, or shorten worker.max_hold"));
        }
        Some((timeout, _)) => report.check(format!("consumer_timeout: {timeout:?}, a delivery is held for {held:?} at most")),
        None => report.miss(
            format!("consumer_timeout, which must be more than {held:?}"),
            "the broker tells it only to its own command line",
            Some(
                "rabbitmqctl eval 'application:get_env(rabbit, consumer_timeout).' tells it in milliseconds (30 minutes unless \
                 somebody changed it); give it as --consumer-timeout 1800000ms",
            ),
        ),
    }
}

/// Whether the queue outlives a node.
fn copies(managed: &ManagedQueue, server: &Server<'_>, subject: &str, report: &mut Report) {
    let (members, online) = (managed.members.len(), managed.online.len());
    if members == 0 {
        return;
    }
    let ask = "rabbitmq-diagnostics check_if_node_is_quorum_critical, and start the nodes that are down".to_owned();
    if managed.leader.as_deref().is_none_or(str::is_empty) {
        report.find(Code::QueueWithoutLeader, subject, format!("{online} of its {members} members are online"), ask);
    } else if online < members {
        let found = format!("{online} of its {members} members are online");
        report.find(Code::QueueMemberOffline, subject, found, ask);
    } else if members < server.nodes.min(3) {
        let found = format!("it has {members} members, and the cluster {} nodes", server.nodes);
        let mend = format!("rabbitmq-queues grow NODE all --vhost-pattern '{}'", server.virtual_host);
        report.find(Code::QueueNotReplicated, subject, found, mend);
    }
}

#[cfg(test)]
mod tests;
