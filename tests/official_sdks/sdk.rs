//! The official SDKs: how each is run, and how it tells its caller what a call came to. It must not know the sandbox.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

use super::calls::{Call, Expected};
use super::installation;
use crate::support::program::{PATIENCE, Program};

/// An SDK, and how it tells its caller of an error.
pub struct Sdk {
    pub name: &'static str,
    interpreter: PathBuf,
    /// The script with what it is told after the endpoint.
    script: (&'static str, Option<&'static str>),
    variables: Vec<(&'static str, PathBuf)>,
    throttled: &'static str,
    client: &'static str,
    server: &'static str,
    /// Whether its errors have fields for details and for the wait that the server asks for.
    detailed: bool,
    /// What it makes of a refused signature.
    bad_signature: &'static str,
}

/// What an SDK showed of a call: a response, or an exception.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Seen {
    status: u16,
    #[serde(default)]
    body: Value,
    exception: Option<String>,
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    request_id: String,
    retry_after: Option<u64>,
    #[serde(default)]
    access_denied_detail: Value,
}

impl Sdk {
    pub async fn python(name: &'static str, signature_algorithm: Option<&'static str>) -> Self {
        Self {
            name,
            interpreter: installation::python().await,
            script: ("python/client.py", signature_algorithm),
            variables: Vec::new(),
            throttled: "ThrottlingException",
            client: "ClientException",
            server: "ServerException",
            detailed: true,
            bad_signature: "SignatureDoesNotMatch",
        }
    }

    pub async fn legacy(name: &'static str, method: &'static str) -> Self {
        Self {
            script: ("python/legacy.py", Some(method)),
            throttled: "ServerException",
            client: "ServerException",
            detailed: false,
            // It compares what the server would have signed with what it signed itself, and draws its conclusion.
            bad_signature: "InvalidAccessKeySecret",
            ..Self::python(name, None).await
        }
    }

    pub async fn node() -> Self {
        Self {
            name: "Node, ACS3-HMAC-SHA256",
            interpreter: "node".into(),
            script: ("node/client.js", None),
            variables: vec![("NODE_PATH", installation::node().await)],
            throttled: "ThrottlingError",
            client: "ClientError",
            server: "ServerError",
            detailed: true,
            bad_signature: "SignatureDoesNotMatch",
        }
    }

    /// Makes the calls, and answers with what it saw of each.
    pub async fn make(&self, calls: &[Call], address: &str) -> Vec<Seen> {
        let (script, argument) = self.script;
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/official_sdks").join(script);
        let mut command = Command::new(&self.interpreter);
        command.arg(script).arg(address).args(argument);
        // Nothing of the surroundings, neither a proxy nor a credential, may have a say.
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let orders = calls.iter().map(|call| {
            json!({
                "AccessKeyId": call.key.id,
                "AccessKeySecret": call.key.secret,
                "SecurityToken": call.key.token,
                "Action": call.action,
                "Parameters": call.parameters,
            })
        });
        let orders = Value::Array(orders.collect()).to_string();
        let ended = Program::spawn(command, &orders).ended(PATIENCE).await;
        assert_eq!(ended.code, Some(0), "{}:\n{}\n{}", self.name, ended.output, ended.errors);
        let parsed = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{}: {error}: {line}", self.name));
        let seen: Vec<Seen> = ended.output.lines().map(parsed).collect();
        assert_eq!(seen.len(), calls.len(), "{}: a line for each call", self.name);
        seen
    }

    /// Holds what was seen of a call against what is expected; answers with the call's `RequestId`.
    pub fn saw_the_expected<'a>(&self, call: &Call, seen: &'a Seen, context: &str) -> &'a str {
        match call.expected {
            Expected::Released => {
                let body = seen.body(context);
                assert_eq!((&body["Success"], &body["Code"]), (&json!(true), &json!("Success")), "{context}");
                assert_eq!(body["Data"]["ReleaseResult"], json!(true), "{context}");
                assert!(body["Data"]["HostId"].is_string() && body["Message"].is_string(), "{context}");
                seen.body_request_id()
            }
            Expected::NotReleased { code } => {
                let body = seen.body(context);
                assert_eq!((&body["Success"], &body["Code"]), (&json!(false), &json!(code)), "{context}");
                assert_ne!(body["Data"]["ReleaseResult"], json!(true), "{context}");
                seen.body_request_id()
            }
            Expected::There(ids) => {
                let body = seen.body(context);
                assert_eq!((&body["Success"], &body["Code"]), (&json!(true), &json!("Success")), "{context}");
                let list = body["Data"]["InstanceList"].as_array().expect("a list");
                let there: Vec<_> =
                    list.iter().map(|instance| instance["InstanceID"].as_str().expect("an id")).collect();
                assert_eq!((there.as_slice(), &body["Data"]["TotalCount"]), (ids, &json!(ids.len())), "{context}");
                for instance in list {
                    for (field, value) in
                        [("ProductCode", "ecs"), ("SubscriptionType", "PayAsYouGo"), ("Region", "cn-hangzhou")]
                    {
                        assert_eq!(instance[field], value, "{context}");
                    }
                }
                seen.body_request_id()
            }
            Expected::Refused { status, code } => {
                let code = if code == "SignatureDoesNotMatch" { self.bad_signature } else { code };
                let throttled = code.starts_with("Throttling");
                let exception = match status {
                    _ if throttled => self.throttled,
                    ..500 => self.client,
                    500.. => self.server,
                };
                self.is_an_error(seen, exception, status, code, context);
                assert_eq!(seen.retry_after.is_some_and(|wait| wait > 0), throttled && self.detailed, "{context}");
                assert!(seen.access_denied_detail.is_null(), "{context}");
                &seen.request_id
            }
            Expected::Denied { action, by } => {
                self.is_an_error(seen, self.client, 403, "NoPermission", context);
                if self.detailed {
                    let detail = &seen.access_denied_detail;
                    assert_eq!(
                        (&detail["AuthAction"], &detail["NoPermissionType"]),
                        (&json!(action), &json!(by)),
                        "{context}"
                    );
                    assert_eq!(detail["AuthPrincipalDisplayName"], call.key.id, "{context}");
                }
                &seen.request_id
            }
        }
    }

    fn is_an_error(&self, seen: &Seen, exception: &str, status: u16, code: &str, context: &str) {
        assert_eq!((seen.exception.as_deref(), seen.status), (Some(exception), status), "{context}");
        assert_eq!(seen.code, code, "{context}");
        // What the newer SDKs print where a field is missing.
        let missing = ["None", "undefined"].iter().any(|word| seen.message.contains(word));
        assert!(!seen.message.is_empty() && !missing, "{context}");
    }
}

impl Seen {
    fn body(&self, context: &str) -> &Value {
        assert_eq!((self.exception.as_deref(), self.status), (None, 200), "{context}");
        &self.body
    }

    fn body_request_id(&self) -> &str {
        self.body["RequestId"].as_str().unwrap_or_default()
    }
}
