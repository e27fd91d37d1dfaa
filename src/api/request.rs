//! The parameters of a `ReleaseInstance` call. It must not know HTTP or signatures.

use super::signature::Parameter;
use crate::contract::Batch;

pub const ACTION: &str = "ReleaseInstance";
pub const VERSION: &str = "2017-12-14";

/// The operation's own parameters for a batch, all in the query string as the official SDKs send them.
pub fn parameters(batch: &Batch) -> Vec<Parameter<'_>> {
    let group = batch.group();
    let mut ids = String::with_capacity(batch.ids().iter().map(|id| id.as_str().len() + 1).sum());
    for id in batch.ids() {
        if !ids.is_empty() {
            ids.push(',');
        }
        ids.push_str(id.as_str());
    }
    let mut parameters: Vec<Parameter<'_>> = vec![
        ("ProductCode".into(), group.product_code.as_str().into()),
        ("SubscriptionType".into(), group.subscription_type.as_str().into()),
        ("InstanceIds".into(), ids.into()),
    ];
    parameters.extend(group.product_type.as_ref().map(|value| ("ProductType".into(), value.as_str().into())));
    parameters.extend(group.region.as_ref().map(|value| ("Region".into(), value.as_str().into())));
    parameters.extend(group.renew_status.map(|value| ("RenewStatus".into(), value.as_str().into())));
    parameters
}
