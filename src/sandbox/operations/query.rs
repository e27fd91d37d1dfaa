//! `QueryAvailableInstances`: which of an account's instances are there. Its shape is that of the vendor's own models.
//!
//! What an instance leaves open (a renewal, a product type, and whatever its rule doesn't say) is what the caller asks for.

use serde::Serialize;

use super::super::accounts::{Key, number_of};
use super::super::answer::Reply;
use super::super::call::Call;
use super::super::inventory::{Instance, InstanceState};
use super::super::refusal::Refusal;
use super::World;

/// A list without ids goes through everything that rules and file name, while every other call waits; above this, ask by
/// ids.
const MAX_LISTED: u64 = 10_000;

/// Source: the vendor's model, "default value: 20, maximum value: 300".
const DEFAULT_PAGE_SIZE: u32 = 20;
const MAX_PAGE_SIZE: u32 = 300;

/// A page of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in super::super) struct Page {
    instance_list: Vec<Listed>,
    page_num: u32,
    page_size: u32,
    total_count: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(rename = "InstanceID")]
    instance_id: String,
    owner_id: u64,
    status: &'static str,
    sub_status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_status: Option<String>,
}

/// The required parameter that is not there (source: the vendor's model, "if the region is specified, this parameter
/// cannot be empty").
pub(super) fn missing(call: &Call) -> Option<&'static str> {
    (call.region.is_some() && call.product_code.is_none()).then_some("ProductCode")
}

impl World<'_> {
    pub(super) fn query(&self, key: &Key, call: &Call) -> Result<Reply, Refusal> {
        if let Some(name) = &call.times {
            let message = format!("{name} is not supported: instances of this server have no times.");
            return Err(Refusal::bad_request("UnsupportedParameter", message));
        }
        let page_num = number("PageNum", &call.page_num, 1, u32::MAX)?;
        let page_size = number("PageSize", &call.page_size, DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)?;
        let skipped = (page_num as usize - 1).saturating_mul(page_size as usize);
        let mut page = Page { instance_list: Vec::new(), page_num, page_size, total_count: 0 };
        let mut take = |id: &str| {
            let Some(instance) = self.seen(id, key, call) else { return };
            if page.total_count >= skipped && page.instance_list.len() < page_size as usize {
                page.instance_list.push(Listed::of(id, instance, key, call));
            }
            page.total_count += 1;
        };
        if call.instance_ids.is_empty() {
            let listed = self.inventory.listed(MAX_LISTED).ok_or_else(|| {
                let message = format!("This server lists up to {MAX_LISTED} instances: specify InstanceIDs.");
                Refusal::bad_request("InvalidParameter", message)
            })?;
            listed.for_each(|id| take(&id));
        } else {
            call.instance_ids.iter().for_each(|id| take(id));
        }
        Ok(Reply::listed(page))
    }

    /// An instance that is there, the caller's, and what is asked for.
    fn seen(&self, id: &str, key: &Key, call: &Call) -> Option<Instance<'_>> {
        let instance = self.inventory.find(id).filter(|instance| instance.fits(call))?;
        let own = instance.owner.is_none_or(|owner| *owner == *key.account);
        (own && !self.released.contains_key(id)).then_some(instance)
    }
}

impl Page {
    /// A page that says of itself that it should hold an instance.
    pub(in super::super) fn contradictory() -> Self {
        Self { instance_list: Vec::new(), page_num: 1, page_size: DEFAULT_PAGE_SIZE, total_count: 1 }
    }
}

impl Listed {
    /// An instance as the caller sees it.
    fn of(id: &str, instance: Instance<'_>, key: &Key, call: &Call) -> Self {
        let or = |own: Option<&str>, asked: &Option<String>| own.map(str::to_owned).or_else(|| asked.clone());
        Self {
            instance_id: id.to_owned(),
            owner_id: number_of(&key.account),
            status: "Normal",
            sub_status: if instance.state == InstanceState::Locked { "Locked" } else { "Normal" },
            product_code: or(instance.product, &call.product_code),
            product_type: call.product_type.clone(),
            subscription_type: or(instance.subscription_type, &call.subscription_type),
            region: or(instance.region, &call.region),
            renew_status: call.renew_status.clone(),
        }
    }
}

fn number(name: &str, text: &Option<String>, default: u32, maximum: u32) -> Result<u32, Refusal> {
    let Some(text) = text else { return Ok(default) };
    let signed = text.starts_with('+');
    let number = text.parse().ok().filter(|number| !signed && (1..=maximum).contains(number));
    number.ok_or_else(|| Refusal::invalid(name))
}
