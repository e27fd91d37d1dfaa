//! A queue's arguments and policies as RabbitMQ joins them, and what changes either. It must not know what is good.

use serde_json::Value;

use crate::broker::inspection::{Arguments, ManagedQueue};

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
    /// The smaller one of argument and policy, as RabbitMQ takes limits.
    pub fn least(&self, argument: &str, policy: &str) -> Option<Effective<i64>> {
        let number = |arguments: &Arguments, name: &str| arguments.get(name).and_then(Value::as_i64);
        let own = number(&self.arguments, argument).map(|value| Effective { value, by_policy: false });
        let by_policy = self.policies.and_then(|policies| number(policies, policy));
        let by_policy = by_policy.map(|value| Effective { value, by_policy: true });
        own.into_iter().chain(by_policy).min_by_key(|effective| effective.value)
    }

    /// The argument, or else the policy, as RabbitMQ takes words.
    pub fn text(&self, argument: &str, policy: &str) -> Option<Effective<String>> {
        let word = |arguments: &Arguments, name: &str| arguments.get(name).and_then(Value::as_str).map(str::to_owned);
        let own = word(&self.arguments, argument).map(|value| Effective { value, by_policy: false });
        let by_policy = || {
            let value = self.policies.and_then(|policies| word(policies, policy))?;
            Some(Effective { value, by_policy: true })
        };
        own.or_else(by_policy)
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

    /// Arguments can't be changed: the queue has to be made anew.
    pub fn replace(&self) -> String {
        let Self { name, virtual_host, .. } = self;
        format!(
            "when it is empty: rabbitmqctl delete_queue -p '{virtual_host}' {name} --if-empty; then bulkrelease setup"
        )
    }
}
