//! What the demo asks for: jobs of several groups, some ids of which can't be released.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::contract::{
    AccountName, GroupKey, InstanceId, JOB_KIND, Job, JobId, Message, Priority, Properties, SubscriptionType, Token,
};

/// Ids that begin so never existed.
pub const GONE: &str = "i-gone-";
/// Ids that begin so belong to somebody else.
pub const FOREIGN: &str = "i-foreign-";
/// Ids that begin so are in a state that forbids their release.
pub const LOCKED: &str = "i-locked-";
/// Ids that begin so are protected by the worker's settings.
pub const PROTECTED: &str = "i-prod-";

/// Products with the share of jobs that each gets.
const PRODUCTS: [(&str, SubscriptionType, u32); 6] = [
    ("ecs", SubscriptionType::PayAsYouGo, 10),
    ("ecs", SubscriptionType::Subscription, 5),
    ("rds", SubscriptionType::PayAsYouGo, 4),
    ("rds", SubscriptionType::Subscription, 3),
    ("slb", SubscriptionType::PayAsYouGo, 2),
    ("kvstore", SubscriptionType::PayAsYouGo, 1),
];

const JOBS: usize = 300;

/// How many ids of each kind that can't be released are strewn among the others.
const BAD: [(&str, usize); 4] = [(GONE, 4), (FOREIGN, 4), (LOCKED, 3), (PROTECTED, 25)];

/// A job that the demo sends.
#[derive(Debug, Clone)]
pub struct Order {
    pub job_id: String,
    pub group: GroupKey,
    pub ids: Vec<InstanceId>,
    pub dry_run: bool,
}

impl Order {
    /// The job as a producer sends it.
    pub fn message(&self) -> Message {
        let job = Job {
            id: JobId::new(&self.job_id).expect("the demo names its jobs in ASCII"),
            group: self.group.clone(),
            ids: self.ids.clone(),
            suspects: Default::default(),
            dry_run: self.dry_run,
            priority: Priority::Normal,
            not_after: None,
            labels: BTreeMap::from([("from".to_owned(), "demo".to_owned())]),
        };
        let properties = Properties {
            message_id: Some(self.job_id.clone()),
            kind: Some(JOB_KIND.to_owned()),
            timestamp: Some(Timestamp::now().as_second().max(0).unsigned_abs()),
            ..Properties::default()
        };
        Message { body: job.to_body(), properties }
    }
}

/// The same jobs for the same seed.
pub fn orders(seed: u64) -> Vec<Order> {
    let mut random = fastrand::Rng::with_seed(seed);
    let id = |prefix: &str, number: usize| {
        InstanceId::new(format!("{prefix}{number:05}")).expect("the demo's ids are short ASCII words")
    };
    let mut next = 0;
    let mut orders: Vec<Order> = (0..JOBS)
        .map(|number| {
            let mut draw = random.u32(0..PRODUCTS.iter().map(|(.., share)| share).sum());
            let chosen = PRODUCTS.iter().find(|(.., share)| match draw.checked_sub(*share) {
                Some(rest) => {
                    draw = rest;
                    false
                }
                None => true,
            });
            let (product, subscription_type, _) = chosen.unwrap_or(&PRODUCTS[0]);
            let size = random.usize(1..=50);
            let ids = (next..next + size).map(|number| id("i-", number)).collect();
            next += size;
            Order {
                job_id: format!("demo-{number:03}"),
                group: GroupKey {
                    account: AccountName::default(),
                    product_code: Token::new(product).expect("a product's code is a token"),
                    subscription_type: *subscription_type,
                    product_type: None,
                    region: None,
                    renew_status: None,
                },
                ids,
                dry_run: number == JOBS / 2,
            }
        })
        .collect();
    for (prefix, count) in BAD {
        for number in 0..count {
            let order = random.usize(0..orders.len());
            let place = random.usize(0..=orders[order].ids.len());
            orders[order].ids.insert(place, id(prefix, number));
        }
    }
    orders
}
