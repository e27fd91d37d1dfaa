//! Who may do what: VNOs, RAM users and their policies.

use reqwest::StatusCode;

use crate::sandbox::client::{Client, assert_error};
use crate::sandbox::start;

/// A sandbox with a RAM user `user` that has these policies.
async fn with_policies(statements: &[&str]) -> bulkrelease::sandbox::Sandbox {
    let policies: Vec<_> =
        statements.iter().map(|text| format!("'{{\"Version\":\"1\",\"Statement\":[{text}]}}'")).collect();
    start(&format!(
        "access_keys = [{{ id = 'sandbox', secret = 'sandbox', user = 'releaser', policies = [{}] }}]",
        policies.join(",")
    ))
    .await
}

#[tokio::test]
async fn only_a_vno_may_release_and_everybody_may_look() {
    let sandbox = start("accounts = { default = { vno = false } }").await;
    assert_error(Client::of(&sandbox).release(&["i-1"]).await, 400, "NotApplicable");
    assert_eq!(Client::of(&sandbox).existing("i-1").await, ["i-1"]);
    assert_eq!((sandbox.counts().refused, sandbox.counts().ids_released), (1, 0));
}

#[tokio::test]
async fn a_ram_user_may_do_what_its_policies_allow() {
    let allowed = [
        r#"{"Effect":"Allow","Action":"bss:ReleaseInstance","Resource":"*"}"#,
        r#"{"Effect":"Allow","Action":["bssapi:Release*"],"Resource":["*"]}"#,
    ];
    for statement in allowed {
        let sandbox = with_policies(&[statement]).await;
        assert_eq!(Client::of(&sandbox).release(&["i-1"]).await.0, StatusCode::OK, "{statement}");
        let query = Client { action: "QueryAvailableInstances", ..Client::of(&sandbox) };
        let denied = query.call(&[("InstanceIDs", "i-2")]).await;
        assert_eq!(denied.1["AccessDeniedDetail"]["AuthAction"], "bss:QueryAvailableInstances");
        assert_error(denied, 403, "NoPermission");
    }
    for action in ["bss:DescribeInstances", "bss:QueryAvailableInstances", "bssapi:Query*"] {
        let statement = format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"*"}}"#);
        assert_eq!(Client::of(&with_policies(&[&statement]).await).existing("i-1").await, ["i-1"], "{action}");
    }
}

#[tokio::test]
async fn what_no_policy_allows_or_one_denies_is_refused_with_the_reason() {
    let allow = r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#;
    let deny = r#"{"Effect":"Deny","Action":"bssapi:ReleaseInstance","Resource":"*"}"#;
    let cases: [(&[&str], &str); 3] =
        [(&[], "ImplicitDeny"), (&[deny], "ExplicitDeny"), (&[allow, deny], "ExplicitDeny")];
    for (statements, kind) in cases {
        let sandbox = with_policies(statements).await;
        let answer = Client::of(&sandbox).release(&["i-1"]).await;
        let detail = &answer.1["AccessDeniedDetail"];
        assert_eq!(detail["NoPermissionType"], kind);
        assert_eq!(detail["AuthAction"], "bss:ReleaseInstance");
        assert_eq!(detail["AuthPrincipalType"], "SubUser");
        assert_eq!(detail["AuthPrincipalDisplayName"], "releaser");
        assert_eq!(detail["PolicyType"], "AccountLevelIdentityBasedPolicy");
        assert!(detail["AuthPrincipalOwnerId"].as_str().is_some_and(|id| id.len() == 16), "{detail}");
        assert_error(answer, 403, "NoPermission");
        assert!(sandbox.ledger().released.is_empty());
    }
}
