//! The parameters of the operations that are called. It must not know HTTP or signatures.

use super::signature::Parameter;
use crate::contract::{Batch, MAX_IDS_PER_CALL};

pub const RELEASE: &str = "ReleaseInstance";
pub const QUERY: &str = "QueryAvailableInstances";
pub const VERSION: &str = "2017-12-14";

/// The parameters of `ReleaseInstance` for a batch, all in the query string as the official SDKs send them.
pub fn release_parameters(batch: &Batch) -> Vec<Parameter<'_>> {
    let group = batch.group();
    let mut parameters: Vec<Parameter<'_>> = vec![
        ("ProductCode".into(), group.product_code.as_str().into()),
        ("SubscriptionType".into(), group.subscription_type.as_str().into()),
        ("InstanceIds".into(), joined(batch).into()),
    ];
    parameters.extend(group.product_type.as_ref().map(|value| ("ProductType".into(), value.as_str().into())));
    parameters.extend(group.region.as_ref().map(|value| ("Region".into(), value.as_str().into())));
    parameters.extend(group.renew_status.map(|value| ("RenewStatus".into(), value.as_str().into())));
    parameters
}

/// The parameters of `QueryAvailableInstances` for the ids of a batch. By id alone: each further filter could hide an
/// instance that is there. The operation takes 100 ids and gives up to 300 a page (the official SDK's model).
pub fn query_parameters(batch: &Batch) -> Vec<Parameter<'_>> {
    vec![("InstanceIDs".into(), joined(batch).into()), ("PageSize".into(), MAX_IDS_PER_CALL.to_string().into())]
}

fn joined(batch: &Batch) -> String {
    let mut ids = String::with_capacity(batch.ids().iter().map(|id| id.as_str().len() + 1).sum());
    for id in batch.ids() {
        if !ids.is_empty() {
            ids.push(',');
        }
        ids.push_str(id.as_str());
    }
    ids
}
