//! What is sent in a campaign: jobs of every kind that users send, and a few bodies that are none.

use fastrand::Rng;
use serde_json::json;

use bulkrelease::contract::{Message, Properties};

use crate::support::orders::GROUPS;

/// Ids that begin so never existed, can't be released, or are protected by the worker's settings.
pub const GONE: &str = "i-gone-";
pub const LOCKED: &str = "i-locked-";
pub const PROTECTED: &str = "i-keep-";

/// A message that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    pub name: String,
    pub body: String,
    /// Whether it has a result: what is no job has a dead letter only.
    pub is_job: bool,
    pub ids: Vec<String>,
}

impl Sent {
    pub fn message(&self) -> Message {
        let properties = Properties { message_id: Some(self.name.clone()), ..Properties::default() };
        Message { body: self.body.clone().into_bytes(), properties }
    }

    /// No job, and so large that its dead letter needs room.
    pub fn large(bytes: usize) -> Self {
        Self { name: "large".to_owned(), body: "x".repeat(bytes), is_job: false, ids: Vec::new() }
    }

    /// As `bulkrelease verify` reads it.
    pub fn line(&self) -> String {
        json!({"Body": self.body, "MessageId": self.name}).to_string()
    }
}

/// Jobs with so many ids altogether, 1 to 50 each; the same seed gives the same jobs.
pub fn mixed(ids: usize, seed: u64) -> Vec<Sent> {
    let mut draws = Rng::with_seed(seed);
    let (mut sent, mut count) = (Vec::new(), 0);
    while count < ids {
        let next = if draws.u32(..500) == 0 { malformed(sent.len()) } else { job(sent.len(), &mut draws) };
        count += next.ids.len();
        sent.push(next);
    }
    sent
}

fn malformed(number: usize) -> Sent {
    let name = format!("job-{number}");
    // A typing error in a job: the whole of it is refused.
    let body =
        json!({"JobId": name, "ProductCode": "ecs", "SubscriptionTyp": "PayAsYouGo", "InstanceIds": ["i-never"]});
    Sent { name, body: body.to_string(), is_job: false, ids: Vec::new() }
}

fn job(number: usize, draws: &mut Rng) -> Sent {
    let name = format!("job-{number}");
    let (product, subscription_type, region) = GROUPS[draws.usize(..GROUPS.len())];
    let count = draws.usize(1..=50);
    let mut id = |index: usize| {
        let prefix = match draws.u32(..10_000) {
            0..2 => GONE,
            2..4 => LOCKED,
            4..10 => PROTECTED,
            _ => "i-",
        };
        format!("{prefix}{number}-{index}")
    };
    let ids: Vec<String> = (0..count).map(&mut id).collect();
    let mut body = json!({
        "JobId": name,
        "ProductCode": product,
        "SubscriptionType": subscription_type,
        "InstanceIds": ids,
    });
    if let Some(region) = region {
        body["Region"] = region.into();
    }
    match draws.u32(..100) {
        0 => body["DryRun"] = true.into(),
        1 => body["NotAfter"] = "2020-01-01T00:00:00Z".into(),
        2 => body["Labels"] = json!({"team": "campaign"}),
        _ => {}
    }
    Sent { name, body: body.to_string(), is_job: true, ids }
}
