//! What a producer orders in a test of the whole program: jobs of many groups whose ids are all different. It must not
//! know what becomes of them.

use bulkrelease::contract::{MAX_IDS_PER_CALL, Message, Properties};
use fastrand::Rng;
use serde_json::json;

/// Groups that differ in each field that a call's ids must share, one at a time and together.
pub const GROUPS: [(&str, &str, Option<&str>); 12] = [
    ("ecs", "PayAsYouGo", None),
    ("ecs", "PayAsYouGo", Some("cn-hangzhou")),
    ("ecs", "PayAsYouGo", Some("cn-shanghai")),
    ("ecs", "Subscription", None),
    ("ecs", "Subscription", Some("cn-hangzhou")),
    ("rds", "PayAsYouGo", None),
    ("rds", "PayAsYouGo", Some("cn-hangzhou")),
    ("rds", "Subscription", None),
    ("slb", "PayAsYouGo", None),
    ("slb", "PayAsYouGo", Some("eu-central-1")),
    ("kvstore", "Subscription", None),
    ("kvstore", "Subscription", Some("us-west-1")),
];

/// A job that a test sends.
#[derive(Debug, Clone)]
pub struct Order {
    pub job: String,
    pub group: usize,
    pub ids: Vec<String>,
}

impl Order {
    /// The job as a producer sends it.
    pub fn message(&self) -> Message {
        let (product, subscription_type, region) = GROUPS[self.group];
        let mut body = json!({
            "JobId": self.job,
            "ProductCode": product,
            "SubscriptionType": subscription_type,
            "InstanceIds": self.ids,
        });
        if let Some(region) = region {
            body["Region"] = region.into();
        }
        let properties = Properties { message_id: Some(self.job.clone()), ..Properties::default() };
        Message { body: body.to_string().into_bytes(), properties }
    }
}

/// Jobs of 1 to 50 ids, of all groups; the same seed gives the same jobs.
pub fn orders(count: usize, seed: u64) -> Vec<Order> {
    let mut draws = Rng::with_seed(seed);
    let order = |number| Order {
        job: format!("job-{number}"),
        group: draws.usize(..GROUPS.len()),
        ids: (0..draws.usize(1..=50)).map(|index| format!("i-{number}-{index}")).collect(),
    };
    (0..count).map(order).collect()
}

pub fn messages(orders: &[Order]) -> Vec<Message> {
    orders.iter().map(Order::message).collect()
}

/// The calls that nobody can do without: full batches of each group.
pub fn fewest_calls(orders: &[Order]) -> usize {
    let mut ids = [0; GROUPS.len()];
    for order in orders {
        ids[order.group] += order.ids.len();
    }
    ids.into_iter().map(|ids: usize| ids.div_ceil(MAX_IDS_PER_CALL)).sum()
}
