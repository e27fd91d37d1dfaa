//! The calls that every official SDK makes, in this order, and what its caller must see. It must not know the SDKs.

use serde_json::{Map, Value, json};

/// Everything in a parameter that a signature could stumble over.
const ODD: &str = "华东 é~*'()!%20+&=/?#:;@,\"\\";

/// A call for an SDK to make.
pub struct Call {
    pub name: &'static str,
    pub key: Key,
    pub action: &'static str,
    pub parameters: Map<String, Value>,
    pub expected: Expected,
}

/// An access key as its owner has it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub id: &'static str,
    pub secret: &'static str,
    pub token: Option<&'static str>,
}

/// What the caller sees.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    Released,
    /// A success to the SDK, and none to whoever reads the body.
    NotReleased {
        code: &'static str,
    },
    Refused {
        status: u16,
        code: &'static str,
    },
    /// Refused for want of a policy that allows this, or because one denies it.
    Denied {
        action: &'static str,
        by: &'static str,
    },
    /// These instances are there, of those that were asked for.
    There(&'static [&'static str]),
}

impl Call {
    /// With these parameters more, or otherwise; `null` leaves one out.
    fn with(mut self, changes: Value) -> Self {
        self.parameters.extend(changes.as_object().cloned().unwrap_or_default());
        self.parameters.retain(|_, value| !value.is_null());
        self
    }

    /// What a call asks for, as the sandbox should have read it.
    pub fn asked_for(&self) -> Vec<String> {
        let named = ["InstanceIds", "InstanceIDs"].iter().find_map(|name| self.parameters.get(*name));
        named.and_then(Value::as_str).into_iter().flat_map(|ids| ids.split(',').map(str::to_owned)).collect()
    }
}

/// A key whose secret is its own name, as all of the sandbox's are but the temporary one.
const fn key(id: &'static str) -> Key {
    Key { id, secret: id, token: None }
}

const SANDBOX: Key = key("sandbox");
const EXPIRED: Key = Key { id: "STS.expired", secret: "temporary", token: Some("expired/for+an=hour") };
const TEMPORARY: Key = Key { id: "STS.sandbox", secret: "temporary", token: Some("good/for+an=hour") };

/// A release of pay-as-you-go ECS instances.
fn release(name: &'static str, key: Key, ids: &str, expected: Expected) -> Call {
    let parameters = json!({"ProductCode": "ecs", "SubscriptionType": "PayAsYouGo", "InstanceIds": ids});
    Call { name, key, action: "ReleaseInstance", parameters: Map::new(), expected }.with(parameters)
}

fn query(name: &'static str, key: Key, ids: &str, expected: Expected) -> Call {
    let parameters = json!({"ProductCode": "ecs", "SubscriptionType": "PayAsYouGo", "InstanceIDs": ids});
    Call { name, key, action: "QueryAvailableInstances", parameters: Map::new(), expected }.with(parameters)
}

/// The ids of a range, as the API takes them.
fn ids(numbers: std::ops::RangeInclusive<u32>) -> String {
    numbers.map(|number| format!("i-{number:03}")).collect::<Vec<_>>().join(",")
}

pub fn calls() -> Vec<Call> {
    use Expected::{Denied, NotReleased, Refused, Released, There};

    let every_option = json!({
        "Region": "cn-hangzhou", "ProductType": "ecs", "RenewStatus": "ManualRenewal", "OwnerId": 1_234_567_890_123_456_i64,
    });
    let odd_id = format!("i-named-{}", ODD.replace([',', ' '], ""));
    let denied = |by| Denied { action: "bss:ReleaseInstance", by };
    let refused = |status, code| Refused { status, code };
    vec![
        release("one id", SANDBOX, "i-001", Released),
        release("the same id again", SANDBOX, "i-001", refused(400, "ResourceNotExists")),
        release("a hundred ids", SANDBOX, &ids(101..=200), Released),
        release("a hundred and one ids", SANDBOX, &ids(201..=301), refused(400, "InvalidParameter")),
        release("every optional parameter", SANDBOX, "i-002", Released).with(every_option),
        release("odd characters in a parameter", SANDBOX, "i-named-1", Released).with(json!({"ProductType": ODD})),
        release("odd characters in an id", SANDBOX, &odd_id, Released),
        release("a temporary key", TEMPORARY, "i-003", Released),
        release(
            "a temporary key with another token",
            Key { token: Some("stale"), ..TEMPORARY },
            "i-004",
            refused(400, "InvalidSecurityToken.Malformed"),
        ),
        release("a temporary key that has expired", EXPIRED, "i-004", refused(400, "InvalidSecurityToken.Expired")),
        release("a wrong secret", Key { secret: "guessed", ..SANDBOX }, "i-004", refused(400, "SignatureDoesNotMatch")),
        release("an unknown key", key("nobody"), "i-004", refused(404, "InvalidAccessKeyId.NotFound")),
        release("a retired key", key("retired"), "i-004", refused(400, "InvalidAccessKeyId.Inactive")),
        release("no VNO", key("plain"), "i-004", refused(400, "NotApplicable")),
        release("a user whom no policy allows it", key("onlooker"), "i-004", denied("ImplicitDeny")),
        release("a user whom a policy denies it", key("forbidden"), "i-004", denied("ExplicitDeny")),
        release("a user whom a policy allows it", key("releaser"), "i-005", Released),
        release("the first call of a slow account", key("busy"), "i-busy-1", Released),
        release("a call above the quota", key("busy"), "i-busy-2", refused(400, "Throttling.User")),
        release("an unknown id", SANDBOX, "i-never-was", refused(400, "ResourceNotExists")),
        release("an id of another account", SANDBOX, "i-foreign-1", refused(400, "InvalidOwner")),
        release("an id in a state that forbids it", SANDBOX, "i-locked-1", refused(400, "ResourceStatusError")),
        release("an id of another product", SANDBOX, "i-004", refused(400, "InvalidInstanceId"))
            .with(json!({"ProductCode": "rds"})),
        release("no product", SANDBOX, "i-004", refused(400, "MissingProductCode")).with(json!({"ProductCode": null})),
        release("an odd subscription type", SANDBOX, "i-004", refused(400, "InvalidSubscriptionType"))
            .with(json!({"SubscriptionType": "Lease"})),
        release(
            "concurrent operation",
            SANDBOX,
            "i-named-concurrent",
            NotReleased { code: "SYSTEM.CONCURRENT_OPERATE" },
        ),
        release("an internal error", SANDBOX, "i-named-error", refused(500, "InternalError")),
        release("a service unavailable", SANDBOX, "i-named-unavailable", refused(503, "ServiceUnavailable")),
        query("what is there", SANDBOX, "i-001,i-004,i-006,i-foreign-1", There(&["i-004", "i-006"])),
        query("what is there, for a user", key("onlooker"), "i-004", There(&["i-004"])),
        query(
            "what is there, for a user without a policy",
            key("releaser"),
            "i-004",
            Denied { action: "bss:QueryAvailableInstances", by: "ImplicitDeny" },
        ),
    ]
}
