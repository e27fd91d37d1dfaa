//! STS, the metadata service and a credentials URI: what is sent, what is taken, what is refused.

use bulkrelease::api::signature::v1;
use bulkrelease::config::CredentialSource;

use crate::credentials::surroundings::{Given, KEY, Server, shown, temporary};

const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

fn sts(key: &str) -> (u16, String) {
    (200, format!(r#"{{"RequestId":"r","AssumedRoleUser":{{}},"Credentials":{{{key}}}}}"#))
}

fn plain() -> (u16, String) {
    (200, format!(r#"{{"Code":"Success",{KEY}}}"#))
}

fn pod(server: &Server) -> Given {
    let given = Given::new().file("token", "hush-jwt\n").services(server);
    let file = given.path("token").display().to_string();
    given
        .variable("ALIBABA_CLOUD_ROLE_ARN", "acs:ram::1:role/r")
        .variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "acs:ram::1:oidc-provider/p")
        .variable("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file)
}

#[tokio::test]
async fn a_pod_takes_its_role_on_with_its_token_and_without_a_signature() {
    let server = Server::start([sts(KEY), sts(KEY)]).await;
    let given = pod(&server);
    assert_eq!(given.found(&CredentialSource::Default).await, temporary());
    let given = given.variable("ALIBABA_CLOUD_ROLE_SESSION_NAME", "mine");
    assert_eq!(given.found(&CredentialSource::Oidc).await, temporary());
    let seen = server.seen();
    for (request, session) in seen.iter().zip(["bulkrelease", "mine"]) {
        let expected = [
            ("Action", "AssumeRoleWithOIDC"),
            ("Version", "2015-04-01"),
            ("Format", "JSON"),
            ("RoleArn", "acs:ram::1:role/r"),
            ("OIDCProviderArn", "acs:ram::1:oidc-provider/p"),
            ("OIDCToken", "hush-jwt"),
            ("RoleSessionName", session),
            ("DurationSeconds", "3600"),
        ];
        for (name, value) in expected {
            assert_eq!(request.parameter(name), Some(value), "{name}");
        }
        assert_eq!((request.method.as_str(), request.path.as_str()), ("POST", "/"));
        assert!(request.parameter("Timestamp").is_some() && request.parameter("Signature").is_none());
        assert!(!request.query.contains("hush"), "{}", request.query);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn a_role_is_taken_on_with_a_signed_request_from_either_file() {
    let config = r#"{"current": "r", "profiles": [{"name": "r", "mode": "RamRoleArn", "access_key_id": "ak",
        "access_key_secret": "hush", "ram_role_arn": "arn/~*é", "ram_session_name": "s", "expired_seconds": 900,
        "policy": "{\"a\": 1}", "external_id": "x y"}]}"#;
    let ini =
        "[r]\ntype=ram_role_arn\naccess_key_id=ak\naccess_key_secret=hush\nrole_arn=arn/~*é\nrole_session_name=s\n";
    let server = Server::start([sts(KEY), sts(KEY)]).await;
    let given =
        Given::new().file(".aliyun/config.json", config).file(".alibabacloud/credentials", ini).services(&server);
    assert_eq!(given.found(&CredentialSource::Default).await, temporary());
    assert_eq!(given.found(&CredentialSource::Ini("r".into())).await, temporary());
    let seen = server.seen();
    for request in &seen {
        let parameters: Vec<_> = request.parameters.iter().map(|(n, v)| (n.into(), v.into())).collect();
        v1::verify("POST", &parameters, "hush").unwrap_or_else(|fault| panic!("{fault:?}"));
        assert_eq!(request.parameter("Action"), Some("AssumeRole"));
        assert_eq!(request.parameter("RoleArn"), Some("arn/~*é"));
        assert_eq!(request.parameter("RoleSessionName"), Some("s"));
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
    }
    let (profile, section) = (&seen[0], &seen[1]);
    let optional = |name| (profile.parameter(name), section.parameter(name));
    assert_eq!(optional("Policy"), (Some("{\"a\": 1}"), None));
    assert_eq!(optional("ExternalId"), (Some("x y"), None));
    assert_eq!(optional("DurationSeconds"), (Some("900"), Some("3600")));
}

#[tokio::test]
async fn a_refusal_of_sts_shows_its_code_and_request_and_nothing_else_and_ends_the_search() {
    let refusal = r#"{"Code":"AuthenticationFail.OIDCToken.Expired","RequestId":"r-1","Message":"token hush-jwt"}"#;
    let cases = [
        (
            (400, refusal.to_owned()),
            "OIDC: STS: was refused with status 400, code AuthenticationFail.OIDCToken.Expired, request r-1",
        ),
        ((200, "{}".to_owned()), "OIDC: STS: the answer holds no key"),
        (sts(&KEY.replace("2999", "1999")), "OIDC: STS: the answer's key expired at 1999"),
        ((200, "hush".repeat(20_000)), "the answer is larger than 65536 bytes"),
    ];
    for (answer, expected) in cases {
        let server = Server::start([answer]).await;
        let config =
            r#"{"current":"a","profiles":[{"name":"a","mode":"AK","access_key_id":"i","access_key_secret":"hush"}]}"#;
        let error = pod(&server).file(".aliyun/config.json", config).refused(&CredentialSource::Default).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_token_file_that_is_missing_or_empty_is_named() {
    let server = Server::start([]).await;
    let given = pod(&server);
    std::fs::write(given.path("token"), " \n").unwrap();
    assert!(given.refused(&CredentialSource::Default).await.contains("/token: is empty"));
    std::fs::remove_file(given.path("token")).unwrap();
    assert!(given.refused(&CredentialSource::Default).await.contains("/token: there is no such file"));
    assert_eq!(server.seen().len(), 0);
}

#[tokio::test]
async fn the_token_file_is_read_again_once_the_api_refused_the_key() {
    let server = Server::start([sts(KEY), sts(&KEY.replace("\"id\"", "\"id-2\""))]).await;
    let given = pod(&server);
    let chain = given.chain(&CredentialSource::Oidc);
    assert_eq!(shown(&chain.current().await.unwrap()), temporary());
    std::fs::write(given.path("token"), "hush-rotated").unwrap();
    chain.refresh();
    let fresh = async {
        while chain.current().await.unwrap().access_key_id != "id-2" {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(30), fresh).await.expect("a fresh key comes");
    let tokens: Vec<_> = server.seen().iter().map(|seen| seen.parameter("OIDCToken").unwrap().to_owned()).collect();
    assert_eq!(tokens, ["hush-jwt", "hush-rotated"]);
}

#[tokio::test]
async fn an_instance_gives_the_key_of_its_role_for_a_token() {
    let answers = || [(200, "hush-token".to_owned()), (200, "my-role\n".to_owned()), plain()];
    let server = Server::start(answers()).await;
    assert_eq!(Given::new().services(&server).found(&CredentialSource::Default).await, temporary());
    let seen = server.seen();
    let paths: Vec<_> = seen.iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect();
    let credentials = "GET /latest/meta-data/ram/security-credentials/";
    assert_eq!(paths, ["PUT /latest/api/token", credentials, &format!("{credentials}my-role")]);
    assert_eq!(seen[0].headers["x-aliyun-ecs-metadata-token-ttl-seconds"], "21600");
    assert!(seen[1..].iter().all(|seen| seen.headers["x-aliyun-ecs-metadata-token"] == "hush-token"));

    let server = Server::start([(200, "hush-token".to_owned()), plain()]).await;
    let named = Given::new().services(&server).variable("ALIBABA_CLOUD_ECS_METADATA", "named");
    assert_eq!(named.found(&CredentialSource::Ecs).await, temporary());
    assert_eq!(server.seen()[1].path, "/latest/meta-data/ram/security-credentials/named");
}

#[tokio::test]
async fn an_instance_that_gives_no_key_is_refused_or_passed_over() {
    let token = || (200, "hush-token".to_owned());
    let cases = [
        (vec![(403, String::new())], "metadata service answered with status 403"),
        (vec![token(), (404, String::new())], "the instance has no role"),
        (vec![token(), (200, "../../hush".to_owned())], "the role's name is no name"),
        (vec![token(), (200, "r".to_owned()), (200, r#"{"Code":"Failed"}"#.to_owned())], "the answer's Code is Failed"),
        (vec![token(), (200, "r".to_owned()), (200, "hush".repeat(20_000))], "larger than 65536 bytes"),
    ];
    for (answers, expected) in cases {
        let server = Server::start(answers).await;
        let error = Given::new().services(&server).refused(&CredentialSource::Ecs).await;
        assert!(error.contains(expected), "{error}");
    }
    // Without a role, and switched off, the next source is asked.
    let roleless = Server::start([token(), (404, String::new())]).await;
    let uri = Server::start([plain(), plain()]).await;
    let given = Given::new().services(&roleless).variable(URI, uri.url.as_str());
    assert_eq!(given.found(&CredentialSource::Default).await, temporary());
    roleless.seen();
    assert_eq!(given.variable(DISABLED, "TRUE").found(&CredentialSource::Default).await, temporary());
    assert_eq!(roleless.seen().len(), 0);
}

#[tokio::test]
async fn a_uri_gives_a_key_from_the_environment_or_a_profile() {
    let server = Server::start([plain(), plain()]).await;
    let uri = format!("{}path?x=hush", server.url);
    let given = Given::new().variable(DISABLED, "true").variable(URI, &uri);
    assert_eq!(given.found(&CredentialSource::Default).await, temporary());
    let profile = serde_json::json!({"profiles": [{"name": "u", "mode": "CredentialsURI", "credentials_uri": uri}]});
    let given = Given::new().file(".aliyun/config.json", profile.to_string());
    assert_eq!(given.found(&CredentialSource::Profile("u".into())).await, temporary());
    for seen in server.seen() {
        assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.query.as_str()), ("GET", "/path", "x=hush"));
    }
}

#[tokio::test]
async fn a_uri_that_gives_no_key_is_refused_without_showing_it() {
    let answers = [(302, String::new()), (200, "<html>hush</html>".to_owned()), (200, format!("{{{KEY}}}"))];
    for (answer, expected) in answers.into_iter().zip(["status 302", "holds no key", "has no Code"]) {
        let server = Server::start([answer]).await;
        let given = Given::new().variable(URI, format!("{}?x=hush", server.url));
        let error = given.refused(&CredentialSource::Uri).await;
        assert!(error.contains("credentials URI: ") && error.contains(expected), "{error}");
    }
    for uri in ["hush", "file:///hush", "http://user:hush@127.0.0.1:9/?hush"] {
        Given::new().variable(URI, uri).refused(&CredentialSource::Uri).await;
    }
}
