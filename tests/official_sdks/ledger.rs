//! What the sandbox says it did, read over its admin path. It must not know the SDKs.

use std::collections::{BTreeSet, HashMap};

use serde_json::{Value, json};

use super::calls::{Call, Expected};

/// What the sandbox says of itself.
pub struct Ledger {
    by_request_id: HashMap<String, Value>,
    pub released: BTreeSet<String>,
}

impl Ledger {
    pub async fn of(address: &str) -> Self {
        let text = |value: &Value, field: &str| value[field].as_str().unwrap_or_default().to_owned();
        let calls = page(address, "calls").await;
        let releases = page(address, "releases").await;
        Self {
            by_request_id: calls.into_iter().map(|call| (text(&call, "RequestId"), call)).collect(),
            released: releases.iter().map(|release| text(release, "InstanceId")).collect(),
        }
    }

    /// A call that got as far as the ledger stands there as the SDK's caller meant it.
    pub fn tells_the_same(&self, call: &Call, request_id: &str, context: &str) {
        let unauthentic = ["InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidSecurityToken"];
        if let Expected::Refused { code, .. } = call.expected
            && unauthentic.iter().any(|kind| code.starts_with(kind))
        {
            return;
        }
        let record = self.by_request_id.get(request_id).unwrap_or_else(|| panic!("not in the ledger: {context}"));
        assert_eq!((&record["Action"], &record["AccessKey"]), (&json!(call.action), &json!(call.key.id)), "{context}");
        assert_eq!(record["InstanceIds"], json!(call.asked_for()), "{context}");
        for name in ["ProductCode", "SubscriptionType", "ProductType", "Region", "RenewStatus", "OwnerId"] {
            let meant = call.parameters.get(name).map(|value| value.as_str().map_or(value.to_string(), str::to_owned));
            assert_eq!(record[name].as_str(), meant.as_deref(), "{name}: {context}");
        }
    }
}

/// Everything that the sandbox's ledger holds under a heading.
async fn page(address: &str, heading: &str) -> Vec<Value> {
    let url = format!("http://{address}/_sandbox/{heading}?from=0&limit=1000");
    let body = reqwest::get(url).await.expect("an answer").bytes().await.expect("a body");
    let mut page: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(page["Next"].is_null(), "one page holds all: {page}");
    let capital = heading[..1].to_uppercase() + &heading[1..];
    match page[&capital].take() {
        Value::Array(entries) => entries,
        other => panic!("{capital} is {other}"),
    }
}
