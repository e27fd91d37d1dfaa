//! A queue's arguments and policies as RabbitMQ joins them, and what changes either. It must not know what is good.

use serde_json::Value;

use crate::broker::inspection::{Arguments, ManagedQueue};
use crate::contract::{JOBS, RESULTS};

/// What RabbitMQ 4 allows where nobody says how many.
const DEFAULT_DELIVERY_LIMIT: i64 = 20;

/// A queue as it is, as far as it is told.
pub struct Known<'a> {
    pub name: String,
    pub virtual_host: &'a str,
    pub arguments: Arguments,
    pub policies: Option<&'a Arguments>,
    pub managed: Option<&'a ManagedQueue>,
}

/// What an argument and a policy come to, and which of them decides.
pub struct Effective<T> {
    pub value: T,
    pub by_policy: bool,
}

impl Known<'_> {
    /// Quorum or classic.
    pub fn kind(&self) -> &str {
        let told = self.managed.and_then(|managed| managed.kind.as_deref());
        let declared = || self.arguments.get("x-queue-type").and_then(Value::as_str);
        told.or_else(declared).unwrap_or("classic")
    }

    /// The smaller one of argument and policy, as RabbitMQ takes limits.
    pub fn least(&self, argument: &str, policy: &str) -> Option<Effective<i64>> {
        let (own, by_policy) = self.numbers(argument, policy);
        own.into_iter().chain(by_policy).min_by_key(|effective| effective.value)
    }

    /// How often a message of a quorum queue may be delivered; below zero is for ever. RabbitMQ 4 takes any limit before none,
    /// and has one of its own where nobody says how many. Where the version is not known it is the worse of both readings.
    pub fn delivery_limit(&self, is_4: Option<bool>) -> Option<Effective<i64>> {
        let (own, by_policy) = self.numbers("x-delivery-limit", "delivery-limit");
        let none_is_less = is_4 != Some(true);
        let least = own.into_iter().chain(by_policy).min_by_key(|set| (set.value < 0 && !none_is_less, set.value));
        let default = (is_4 != Some(false)).then_some(Effective { value: DEFAULT_DELIVERY_LIMIT, by_policy: false });
        least.or(default)
    }

    fn numbers(&self, argument: &str, policy: &str) -> (Option<Effective<i64>>, Option<Effective<i64>>) {
        let number = |arguments: &Arguments, name: &str, by_policy| {
            let value = arguments.get(name).and_then(Value::as_i64)?;
            Some(Effective { value, by_policy })
        };
        let by_policy = self.policies.and_then(|policies| number(policies, policy, true));
        (number(&self.arguments, argument, false), by_policy)
    }

    /// The argument, or else the policy, as RabbitMQ takes words.
    pub fn text(&self, argument: &str, policy: &str) -> Option<Effective<String>> {
        let (own, by_policy) = self.words(argument, policy);
        own.or(by_policy)
    }

    /// What happens beyond a limit of length: the one word that a quorum queue takes from its policy first.
    pub fn overflow(&self) -> Option<Effective<String>> {
        let (own, by_policy) = self.words("x-overflow", "overflow");
        if self.kind() == "quorum" { by_policy.or(own) } else { own.or(by_policy) }
    }

    fn words(&self, argument: &str, policy: &str) -> (Option<Effective<String>>, Option<Effective<String>>) {
        let word = |arguments: &Arguments, name: &str, by_policy| {
            let value = arguments.get(name).and_then(Value::as_str)?.to_owned();
            Some(Effective { value, by_policy })
        };
        let by_policy = self.policies.and_then(|policies| word(policies, policy, true));
        (word(&self.arguments, argument, false), by_policy)
    }

    pub fn mend(&self, by_policy: bool, key: &str) -> String {
        if !by_policy {
            return self.replace();
        }
        let clear = |command: &str, name: &str| format!("rabbitmqctl {command} -p '{}' '{name}'", self.virtual_host);
        let named = |name: Option<&String>, command| name.map(|name| clear(command, name));
        let managed = self.managed;
        let own = named(managed.and_then(|managed| managed.policy.as_ref()), "clear_policy");
        let operators = named(managed.and_then(|managed| managed.operator_policy.as_ref()), "clear_operator_policy");
        match (own, operators) {
            (Some(own), Some(operators)) => format!("{own}, or {operators}: whichever sets {key}"),
            (Some(clear), None) | (None, Some(clear)) => format!("{clear}, or take {key} out of that policy"),
            (None, None) => format!("take {key} out of the policy that matches the queue: rabbitmqctl list_policies"),
        }
    }

    /// Arguments can't be changed: the queue has to be made anew. A quorum queue takes no `--if-empty`, so whoever deletes it
    /// has to look, and its count is some seconds old.
    pub fn replace(&self) -> String {
        let Self { name, virtual_host, .. } = self;
        let empty = match name.as_str() {
            JOBS => "stop the producers, let the workers empty it and the retry queues, stop the workers",
            RESULTS => "stop the workers, let whoever reads the results empty it",
            _ => "stop producers and workers, move its messages away",
        };
        format!(
            "{empty} (docs/runbook.md, \"A queue must be made anew\", says how); once rabbitmqctl list_queues -p '{virtual_host}' name messages says 0 of it, twice and ten seconds apart: \
             rabbitmqctl delete_queue -p '{virtual_host}' '{name}'; then bulkrelease setup"
        )
    }
}
