//! The operations: what a call of a known caller does, in the order of the service's own checks (judged): may the caller
//! do this, is the account a VNO (for releasing), do the parameters make sense, and then the instances.

mod query;
mod release;

use std::collections::HashSet;
use std::sync::Arc;

pub(super) use query::Page;

use super::accounts::Key;
use super::answer::Reply;
use super::call::{Action, Call, RENEW_STATUSES, SUBSCRIPTION_TYPES};
use super::inventory::{Inventory, Released, is_id};
use super::policy::{Permission, permission};
use super::refusal::Refusal;
use crate::contract::MAX_IDS_PER_CALL;

/// What a call did.
pub(super) struct Effect {
    pub reply: Reply,
    pub released: Vec<Arc<str>>,
}

/// The world that operations work on.
pub(super) struct World<'a> {
    pub inventory: &'a Inventory,
    pub released: &'a mut Released,
    pub atomic: bool,
    pub name_ids: bool,
}

impl World<'_> {
    /// Carries a call out.
    pub(super) fn carry_out(&mut self, key: &Key, call: &Call, number: u64) -> Effect {
        if let Err(refusal) = authorise(key, call.action).and_then(|()| fit(call)) {
            return Effect { reply: Reply::Refused(refusal), released: Vec::new() };
        }
        match call.action {
            Action::ReleaseInstance => self.release(key, call, number),
            Action::QueryAvailableInstances => Effect { reply: self.query(key, call).into(), released: Vec::new() },
        }
    }
}

/// The names by which policies speak of an operation, the present one first.
fn policy_names(action: Action) -> &'static [&'static str] {
    match action {
        Action::ReleaseInstance => &["bss:ReleaseInstance", "bssapi:ReleaseInstance"],
        // The vendor's pages have named `bssapi:QueryAvailableInstances` and `bss:DescribeInstances`, too.
        Action::QueryAvailableInstances => {
            &["bss:QueryAvailableInstances", "bssapi:QueryAvailableInstances", "bss:DescribeInstances"]
        }
    }
}

/// A parent account's own key may do everything; only a VNO may release.
fn authorise(key: &Key, action: Action) -> Result<(), Refusal> {
    if key.settings.user.is_some() {
        let names = policy_names(action);
        let permission = permission(&key.settings.policies, names);
        if permission != Permission::Allowed {
            return Err(Refusal::denied(key, names[0], permission));
        }
    }
    if action == Action::ReleaseInstance && !key.vno {
        // Judged: that others are blocked is documented, how is not.
        return Err(Refusal::bad_request("NotApplicable", "This API is not applicable for caller."));
    }
    Ok(())
}

/// Refuses a call by the parameter at fault.
fn fit(call: &Call) -> Result<(), Refusal> {
    if let Some(name) = &call.repeated {
        return Err(Refusal::bad_request("InvalidParameter", format!("{name} is specified twice.")));
    }
    let not_one_of =
        |value: &Option<String>, allowed: &[&str]| value.as_deref().is_some_and(|value| !allowed.contains(&value));
    if not_one_of(&call.subscription_type, &SUBSCRIPTION_TYPES) {
        return Err(Refusal::invalid("SubscriptionType"));
    }
    if not_one_of(&call.renew_status, &RENEW_STATUSES) {
        return Err(Refusal::invalid("RenewStatus"));
    }
    if call.owner_id.as_ref().is_some_and(|id| id.starts_with('+') || id.parse::<i64>().is_err()) {
        return Err(Refusal::invalid("OwnerId"));
    }
    let missing = match call.action {
        Action::ReleaseInstance => release::missing(call),
        Action::QueryAvailableInstances => query::missing(call),
    };
    if let Some(name) = missing {
        return Err(Refusal::missing(name));
    }
    // Not `InvalidInstanceIds`: that would say that an instance is at fault.
    violation(call).map_or(Ok(()), |message| Err(Refusal::bad_request("InvalidParameter", message)))
}

/// What is wrong with a call's ids that no careful client sends, whatever its input.
pub(super) fn violation(call: &Call) -> Option<&'static str> {
    let ids = &call.instance_ids;
    if call.id_count > MAX_IDS_PER_CALL {
        Some("More than 100 instances are specified.")
    } else if !ids.iter().all(|id| is_id(id)) {
        Some("An instance is specified whose id is empty, or has white space or control characters.")
    } else if ids.iter().collect::<HashSet<_>>().len() < ids.len() {
        Some("An instance is specified twice.")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(action: Action, changes: &[(&str, &str)]) -> Option<(String, bool)> {
        let mut parameters = vec![("ProductCode", "ecs"), ("SubscriptionType", "PayAsYouGo")];
        parameters.push((if action == Action::ReleaseInstance { "InstanceIds" } else { "InstanceIDs" }, "a,b"));
        parameters.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        parameters.extend(changes);
        let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        let call = Call::read(action, &parameters);
        fit(&call).err().map(|refusal| (refusal.code.into_owned(), violation(&call).is_some()))
    }

    fn hundred() -> String {
        (0..100).map(|number| format!("i-{number}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn a_release_is_refused_by_the_parameter_at_fault() {
        let release = |changes: &[(&str, &str)]| code_of(Action::ReleaseInstance, changes);
        let code = |code: &str| Some((code.to_owned(), false));
        assert_eq!(release(&[]), None);
        assert_eq!(release(&[("RenewStatus", ""), ("Region", "x"), ("OwnerId", "1"), ("Other", "x")]), None);
        assert_eq!(release(&[("OwnerId", "-9223372036854775808")]), None);
        assert_eq!(release(&[("InstanceIds", &hundred())]), None);
        assert_eq!(release(&[("ProductCode", "")]), code("MissingProductCode"));
        assert_eq!(release(&[("SubscriptionType", "")]), code("MissingSubscriptionType"));
        assert_eq!(release(&[("SubscriptionType", "payasyougo")]), code("InvalidSubscriptionType"));
        assert_eq!(release(&[("RenewStatus", "Never")]), code("InvalidRenewStatus"));
        assert_eq!(release(&[("OwnerId", "9223372036854775808")]), code("InvalidOwnerId"));
        assert_eq!(release(&[("OwnerId", "me")]), code("InvalidOwnerId"));
        assert_eq!(release(&[("OwnerId", "+5")]), code("InvalidOwnerId"));
        assert_eq!(release(&[("InstanceIds", "")]), code("MissingInstanceIds"));
        assert_eq!(release(&[("Region", "x"), ("Region", "y")]), code("InvalidParameter"));
        assert_eq!(release(&[("InstanceIds", "a"), ("InstanceIds", "b")]), code("InvalidParameter"));
        let many = format!("{},j", hundred());
        for ids in [&many, "a,,b", "a,", "a,b,a", "a, b", " a", "a\t,b", "a\u{a0}", "a b", "a\n", "a\u{0}"] {
            assert_eq!(release(&[("InstanceIds", ids)]), Some(("InvalidParameter".to_owned(), true)), "{ids:?}");
        }
        // Held against the caller whatever else is wrong.
        assert_eq!(release(&[("InstanceIds", "a,a"), ("ProductCode", "")]), Some(("MissingProductCode".into(), true)));
    }

    #[test]
    fn a_query_needs_no_parameter_but_a_product_for_a_region() {
        let query = |changes: &[(&str, &str)]| code_of(Action::QueryAvailableInstances, changes);
        let code = |code: &str| Some((code.to_owned(), false));
        assert_eq!(query(&[("ProductCode", ""), ("SubscriptionType", ""), ("InstanceIDs", "")]), None);
        assert_eq!(query(&[("Region", "x")]), None);
        assert_eq!(query(&[("Region", "x"), ("ProductCode", "")]), code("MissingProductCode"));
        assert_eq!(query(&[("RenewStatus", "Never")]), code("InvalidRenewStatus"));
        let many = format!("{},j", hundred());
        assert_eq!(query(&[("InstanceIDs", &many)]), Some(("InvalidParameter".to_owned(), true)));
    }
}
