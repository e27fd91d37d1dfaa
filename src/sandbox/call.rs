//! What a call asks for, read from its parameters, and whether it may be asked so.

use std::collections::HashSet;
use std::sync::Arc;

use serde::Serialize;

use super::answer::Refusal;
use crate::api::signature::Parameter;
use crate::contract::MAX_IDS_PER_CALL;

/// The parameters of a call as they came, empty ones left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Call {
    pub product_code: Option<String>,
    pub subscription_type: Option<String>,
    pub product_type: Option<String>,
    pub region: Option<String>,
    pub renew_status: Option<String>,
    pub instance_ids: Vec<Arc<str>>,
}

/// Why a call is refused before any instance is looked at.
pub(super) struct Unfit {
    pub refusal: Refusal,
    /// No careful client makes such a call, whatever its input.
    pub violation: bool,
}

impl Call {
    /// Reads what is there. A call that is unfit is read too, for the ledger.
    pub(super) fn read(parameters: &[Parameter<'_>]) -> (Self, Option<Unfit>) {
        let mut call = Self::default();
        let mut repeated = None;
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            let known = match name.as_ref() {
                "ProductCode" => &mut call.product_code,
                "SubscriptionType" => &mut call.subscription_type,
                "ProductType" => &mut call.product_type,
                "Region" => &mut call.region,
                "RenewStatus" => &mut call.renew_status,
                "InstanceIds" => {
                    if !call.instance_ids.is_empty() {
                        repeated = Some("InstanceIds");
                    }
                    call.instance_ids.extend(value.split(',').map(Arc::<str>::from));
                    continue;
                }
                _ => continue,
            };
            if known.replace(value.clone().into_owned()).is_some() {
                repeated = Some("A parameter");
            }
        }
        let unfit = match repeated {
            Some(what) => Some(Unfit::request("InvalidParameter", format!("{what} is specified twice."))),
            None => call.unfit(),
        };
        (call, unfit)
    }

    fn unfit(&self) -> Option<Unfit> {
        let missing = |code, name| Some(Unfit::request(code, format!("{name} is mandatory for this action.")));
        let invalid = |code, name| Some(Unfit::request(code, format!("The specified {name} is not valid.")));
        if self.product_code.is_none() {
            return missing("MissingProductCode", "ProductCode");
        }
        match self.subscription_type.as_deref() {
            None => return missing("MissingSubscriptionType", "SubscriptionType"),
            Some("Subscription" | "PayAsYouGo") => {}
            Some(_) => return invalid("InvalidSubscriptionType", "SubscriptionType"),
        }
        if !matches!(self.renew_status.as_deref(), None | Some("AutoRenewal" | "ManualRenewal" | "NotRenewal")) {
            return invalid("InvalidRenewStatus", "RenewStatus");
        }
        if self.instance_ids.is_empty() {
            return missing("MissingInstanceIds", "InstanceIds");
        }
        let violation = |message| {
            // Not InvalidInstanceIds: that would say that an instance is at fault.
            Some(Unfit { refusal: Refusal::bad_request("InvalidParameter", message), violation: true })
        };
        if self.instance_ids.len() > MAX_IDS_PER_CALL {
            return violation("InstanceIds holds more than 100 instances.");
        }
        if self.instance_ids.iter().any(|id| id.is_empty()) {
            return violation("InstanceIds holds an empty entry.");
        }
        if self.instance_ids.iter().collect::<HashSet<_>>().len() < self.instance_ids.len() {
            return violation("InstanceIds holds an instance twice.");
        }
        None
    }
}

impl Unfit {
    fn request(code: &'static str, message: String) -> Self {
        Self { refusal: Refusal::bad_request(code, message), violation: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(changes: &[(&str, &str)]) -> Option<(&'static str, bool)> {
        let mut parameters = vec![("ProductCode", "ecs"), ("SubscriptionType", "PayAsYouGo"), ("InstanceIds", "a,b")];
        parameters.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        parameters.extend(changes);
        let parameters: Vec<_> = parameters.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Call::read(&parameters).1.map(|unfit| (unfit.refusal.code, unfit.violation))
    }

    #[test]
    fn a_call_is_refused_by_the_parameter_at_fault() {
        let hundred = vec!["i"; 100].iter().enumerate().map(|(n, i)| format!("{i}{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(code_of(&[]), None);
        assert_eq!(code_of(&[("RenewStatus", ""), ("Region", "x"), ("OwnerId", "1")]), None);
        assert_eq!(code_of(&[("InstanceIds", &hundred)]), None);
        assert_eq!(code_of(&[("ProductCode", "")]), Some(("MissingProductCode", false)));
        assert_eq!(code_of(&[("SubscriptionType", "")]), Some(("MissingSubscriptionType", false)));
        assert_eq!(code_of(&[("SubscriptionType", "payasyougo")]), Some(("InvalidSubscriptionType", false)));
        assert_eq!(code_of(&[("RenewStatus", "Never")]), Some(("InvalidRenewStatus", false)));
        assert_eq!(code_of(&[("InstanceIds", "")]), Some(("MissingInstanceIds", false)));
        assert_eq!(code_of(&[("Region", "x"), ("Region", "y")]), Some(("InvalidParameter", false)));
        assert_eq!(code_of(&[("InstanceIds", &format!("{hundred},j"))]), Some(("InvalidParameter", true)));
        assert_eq!(code_of(&[("InstanceIds", "a,,b")]), Some(("InvalidParameter", true)));
        assert_eq!(code_of(&[("InstanceIds", "a,b,a")]), Some(("InvalidParameter", true)));
    }
}
