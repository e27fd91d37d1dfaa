//! What a call asks for: its operation and parameters, as they came. It must not know whether it may be asked so.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::api::signature::Parameter;
use crate::contract::MAX_IDS_PER_CALL;

/// As many ids of a call are kept: enough to show that there were too many, and no request costs much for ever.
const KEPT_IDS: usize = MAX_IDS_PER_CALL + 1;

pub(super) const SUBSCRIPTION_TYPES: [&str; 2] = ["Subscription", "PayAsYouGo"];
pub(super) const RENEW_STATUSES: [&str; 3] = ["AutoRenewal", "ManualRenewal", "NotRenewal"];

/// The operations that are served.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    #[default]
    ReleaseInstance,
    QueryAvailableInstances,
}

/// The parameters of a call as they came, empty ones left out.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Call {
    pub action: Action,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_num: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_size: Option<String>,
    /// The first 101: a call may carry no more than 100.
    pub instance_ids: Vec<Arc<str>>,
    /// How many ids the call carried, those left out above included.
    pub id_count: usize,
    /// Filters on times, which no instance here has.
    #[serde(skip)]
    pub(super) times: Option<String>,
    /// A parameter that is there more than once.
    #[serde(skip)]
    pub(super) repeated: Option<String>,
}

impl Action {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "ReleaseInstance" => Some(Self::ReleaseInstance),
            "QueryAvailableInstances" => Some(Self::QueryAvailableInstances),
            _ => None,
        }
    }

    /// Its parameter for ids: the API spells it in two ways.
    fn ids_parameter(self) -> &'static str {
        match self {
            Self::ReleaseInstance => "InstanceIds",
            Self::QueryAvailableInstances => "InstanceIDs",
        }
    }
}

impl Call {
    /// Reads what is there. A call that can't be carried out is read too, for the ledger.
    pub(super) fn read(action: Action, parameters: &[Parameter<'_>]) -> Self {
        let mut call = Self { action, ..Self::default() };
        for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
            let repeated = if name == action.ids_parameter() {
                let repeated = call.id_count > 0;
                let room = KEPT_IDS.saturating_sub(call.id_count);
                call.instance_ids.extend(value.split(',').take(room).map(Arc::<str>::from));
                call.id_count += value.split(',').count();
                repeated
            } else {
                call.field(name).is_some_and(|field| field.replace(value.clone().into_owned()).is_some())
            };
            if repeated {
                call.repeated = Some(name.clone().into_owned());
            }
        }
        call
    }

    fn field(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match (self.action, name) {
            (_, "ProductCode") => &mut self.product_code,
            (_, "SubscriptionType") => &mut self.subscription_type,
            (_, "ProductType") => &mut self.product_type,
            (_, "Region") => &mut self.region,
            (_, "RenewStatus") => &mut self.renew_status,
            (_, "OwnerId") => &mut self.owner_id,
            (Action::QueryAvailableInstances, "PageNum") => &mut self.page_num,
            (Action::QueryAvailableInstances, "PageSize") => &mut self.page_size,
            (Action::QueryAvailableInstances, "CreateTimeStart" | "CreateTimeEnd" | "EndTimeStart" | "EndTimeEnd") => {
                self.times = Some(name.to_owned());
                return None;
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_spells_its_ids_in_its_own_way() {
        let parameters = [("InstanceIds".into(), "a,b".into()), ("InstanceIDs".into(), "c".into())];
        let ids = |action| Call::read(action, &parameters).instance_ids;
        assert_eq!(ids(Action::ReleaseInstance), ["a".into(), "b".into()]);
        assert_eq!(ids(Action::QueryAvailableInstances), ["c".into()]);
    }

    #[test]
    fn of_a_call_with_too_many_ids_the_first_are_kept_and_all_are_counted() {
        let many = vec!["i"; 250].join(",");
        let read = |parameters: &[Parameter<'_>]| {
            let call = Call::read(Action::ReleaseInstance, parameters);
            (call.instance_ids.len(), call.id_count)
        };
        let ids = |text: &str| ("InstanceIds".into(), text.to_owned().into());
        assert_eq!(read(&[ids(&many)]), (101, 250));
        assert_eq!(read(&[ids("a"), ids(&many)]), (101, 251));
        assert_eq!(read(&[ids("a,b")]), (2, 2));
    }
}
