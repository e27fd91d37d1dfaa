//! Environment and files: what is taken, in which order, and what is refused in which words.

use bulkrelease::config::CredentialSource;

use crate::credentials::surroundings::{Given, shown};

const ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
const CONFIG: &str = ".aliyun/config.json";
const INI: &str = ".alibabacloud/credentials";

const PROFILES: &str = r#"{"current": "a", "meta_path": "", "profiles": [
    {"name": "a", "mode": "AK", "access_key_id": "ida", "access_key_secret": "hush-a", "region_id": "cn-hangzhou"},
    {"name": "b", "mode": "StsToken", "access_key_id": "idb", "access_key_secret": "hush-b", "sts_token": "hush-t"},
    {"name": "blank", "mode": "AK", "access_key_id": "", "access_key_secret": ""},
    {"name": "half", "mode": "AK", "access_key_id": "", "access_key_secret": "hush-d"},
    {"name": "tokenless", "mode": "StsToken", "access_key_id": "ide", "access_key_secret": "hush-e"},
    {"name": "roleless", "mode": "RamRoleArn", "access_key_id": "idc", "access_key_secret": "hush-c"},
    {"name": "short", "mode": "RamRoleArn", "access_key_id": "i", "access_key_secret": "hush", "ram_role_arn": "r", "expired_seconds": 899},
    {"name": "region", "mode": "OIDC", "oidc_provider_arn": "p", "oidc_token_file": "t", "ram_role_arn": "r", "sts_region": "evil.example/"},
    {"name": "fileless", "mode": "OIDC", "oidc_provider_arn": "p", "ram_role_arn": "r"},
    {"name": "urless", "mode": "CredentialsURI"},
    {"name": "ftp", "mode": "CredentialsURI", "credentials_uri": "ftp://user:hush@host/"},
    {"name": "command", "mode": "External", "process_command": "echo hush"},
    {"name": "sso", "mode": "CloudSSO", "access_token": "hush"}]}"#;

const SECTIONS: &str = "\
; a comment\n\
[default]\n\
enable = true\n\
type = access_key # another\n\
access_key_id: ida\n\
Access_Key_Secret=hush-a\n\
[other]\n\
type = access_key\n\
access_key_id = ido\n\
access_key_secret = hush-o\n\
[typeless]\n\
access_key_id = hush\n\
[keyless]\n\
type = access_key\n\
access_key_id =\n\
[roleless]\n\
type = ram_role_arn\n\
access_key_id = i\n\
access_key_secret = hush\n\
[rsa]\n\
type = rsa_key_pair\n\
[garbage]\n\
hush hush\n\
[twice]\n\
[twice]\n";

fn key(id: &str, secret: &str) -> (String, String, Option<String>) {
    (id.into(), secret.into(), None)
}

fn profile(name: &str) -> CredentialSource {
    CredentialSource::Profile(name.into())
}

fn ini(name: &str) -> CredentialSource {
    CredentialSource::Ini(name.into())
}

#[tokio::test]
async fn the_environment_goes_before_the_profile_and_the_profile_before_the_ini_file() {
    let given = Given::new().file(CONFIG, PROFILES).file(INI, SECTIONS);
    assert_eq!(given.found(&CredentialSource::Default).await, key("ida", "hush-a"));
    let given = given.variable("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "True").variable(PROFILE, "other");
    assert_eq!(given.found(&CredentialSource::Default).await, key("ido", "hush-o"));
    let given = given.variable(ID, "id").variable(SECRET, "hush").variable(TOKEN, "");
    assert_eq!(given.found(&CredentialSource::Default).await, key("id", "hush"));
    let given = given.variable(TOKEN, "hush-t");
    let expected = ("id".into(), "hush".into(), Some("hush-t".into()));
    assert_eq!(given.found(&CredentialSource::Environment).await, expected);
}

#[tokio::test]
async fn the_profile_is_the_one_named_by_setting_or_environment_or_the_file_itself() {
    let given = Given::new().file(CONFIG, PROFILES).variable(PROFILE, "b");
    let b = ("idb".into(), "hush-b".into(), Some("hush-t".into()));
    assert_eq!(given.found(&CredentialSource::Default).await, b);
    let given = given.variable(ID, "x").variable("ALIBABA_CLOUD_CLI_PROFILE_DISABLED", "true");
    assert_eq!(given.found(&profile("a")).await, key("ida", "hush-a"));
    let elsewhere = Given::new().file("elsewhere.json", PROFILES);
    let path = elsewhere.path("elsewhere.json").display().to_string();
    let elsewhere = elsewhere.variable("ALIBABA_CLOUD_CONFIG_FILE", path);
    assert_eq!(elsewhere.found(&CredentialSource::Default).await, key("ida", "hush-a"));
}

#[tokio::test]
async fn the_ini_file_is_found_under_every_name_that_the_packages_give_it() {
    for path in [INI, ".alibabacloud/credentials.ini"] {
        let given = Given::new().file(path, SECTIONS);
        assert_eq!(given.found(&CredentialSource::Default).await, key("ida", "hush-a"));
        assert_eq!(given.found(&ini("other")).await, key("ido", "hush-o"));
    }
    let given = Given::new().file("mine", SECTIONS.replace('\n', "\r\n"));
    let path = given.path("mine").display().to_string();
    let given = given.variable("ALIBABA_CLOUD_CREDENTIALS_FILE", path);
    assert_eq!(given.found(&CredentialSource::Default).await, key("ida", "hush-a"));
}

#[tokio::test]
async fn half_a_source_is_an_error_rather_than_another_accounts_key() {
    let cases = [
        (ID, "environment: ALIBABA_CLOUD_ACCESS_KEY_SECRET is not set"),
        (SECRET, "environment: ALIBABA_CLOUD_ACCESS_KEY_ID is not set"),
        ("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "OIDC: ALIBABA_CLOUD_ROLE_ARN is not set"),
        ("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "OIDC: ALIBABA_CLOUD_ROLE_ARN is not set"),
    ];
    for (set, expected) in cases {
        let given = Given::new().file(CONFIG, PROFILES).variable(set, "hush");
        let error = given.refused(&CredentialSource::Default).await;
        assert!(error.contains(expected) && !error.contains("config.json"), "{error}");
    }
    let given = Given::new().file(CONFIG, "{").file(INI, SECTIONS);
    assert!(given.refused(&CredentialSource::Default).await.contains("config.json: is no valid configuration"));
}

#[tokio::test]
async fn a_file_or_profile_that_is_named_and_missing_is_an_error_rather_than_another_accounts_key() {
    let uri = ("ALIBABA_CLOUD_CREDENTIALS_URI", "http://127.0.0.1:9/key");
    let given = || Given::new().file(CONFIG, PROFILES).variable(uri.0, uri.1);
    let refused = |given: Given| async move { given.refused(&CredentialSource::Default).await };
    for named in ["ALIBABA_CLOUD_CONFIG_FILE", "ALIBABA_CLOUD_CREDENTIALS_FILE"] {
        let error = refused(Given::new().variable(uri.0, uri.1).variable(named, "/nowhere/it/is")).await;
        assert!(error.contains("/nowhere/it/is: there is no such file") && !error.contains("URI:"), "{error}");
    }
    let error = refused(given().variable(PROFILE, "prd")).await;
    assert!(error.contains("config.json: has no profile \"prd\"") && !error.contains("URI:"), "{error}");
    let error = refused(given().file(INI, SECTIONS).variable(PROFILE, "prd")).await;
    assert!(error.contains("has no section [prd]") && !error.contains("URI:"), "{error}");
    let gone = PROFILES.replacen("\"current\": \"a\"", "\"current\": \"gone\"", 1);
    let error = refused(Given::new().file(CONFIG, gone).variable(uri.0, uri.1)).await;
    assert!(error.contains("has no profile \"gone\"") && !error.contains("URI:"), "{error}");
}

#[tokio::test]
async fn an_error_says_of_every_source_in_order_what_it_lacked() {
    let error = Given::new().refused(&CredentialSource::Default).await;
    let mut rest = error.as_str();
    for part in [
        "found no access key: environment: ALIBABA_CLOUD_ACCESS_KEY_ID is not set; ",
        "OIDC: ALIBABA_CLOUD_ROLE_ARN is not set; ",
        "/.aliyun/config.json: there is no such file; ",
        "/.alibabacloud/credentials: there is no such file; ",
        "ECS instance role: no metadata service answers: ",
        "credentials URI: ALIBABA_CLOUD_CREDENTIALS_URI is not set. Set ",
    ] {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is missing in {error}"));
        rest = &rest[at + part.len()..];
    }
}

#[tokio::test]
async fn a_profile_that_can_not_be_used_is_refused_by_name() {
    let given = Given::new().file(CONFIG, PROFILES);
    let cases = [
        ("nobody", "has no profile \"nobody\": it has a, b, blank"),
        ("blank", "profile \"blank\" is not filled in"),
        ("half", "profile \"half\": access_key_id is empty"),
        ("tokenless", "sts_token is empty"),
        ("roleless", "ram_role_arn is empty"),
        ("short", "expired_seconds is 899: write at least 900"),
        ("region", "the address of STS must name nothing but a host"),
        ("fileless", "oidc_token_file is empty"),
        ("urless", "credentials_uri is empty"),
        ("ftp", "the address is no http:// or https:// URL"),
        ("command", "mode \"External\" is not supported: use AK, StsToken"),
        ("sso", "mode \"CloudSSO\" is not supported"),
    ];
    for (name, expected) in cases {
        let error = given.refused(&profile(name)).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_section_that_can_not_be_used_is_refused_by_name() {
    let given = Given::new().file(INI, SECTIONS);
    let cases = [
        ("nobody", "has no section [nobody]"),
        ("typeless", "section [typeless]: type is missing"),
        ("keyless", "access_key_id is missing"),
        ("roleless", "role_arn is missing"),
        ("rsa", "type \"rsa_key_pair\" is not supported"),
        ("garbage", "line 23 is no key = value"),
        ("twice", "has two sections [twice]"),
    ];
    for (name, expected) in cases {
        let error = given.refused(&ini(name)).await;
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_file_that_is_none_of_the_kind_is_refused_in_words() {
    let enormous = "[default]\n".to_owned() + &" hush".repeat(300_000);
    let cases: [(&[u8], &str); 8] = [
        (b"", "is no valid configuration"),
        (b"hush", "is no valid configuration"),
        (b"[1]", "is no valid configuration"),
        (b"{\"profiles\": \"hush\"}", "is no valid configuration"),
        (b"{\"profiles\": [{\"name\": 7}]}", "is no valid configuration"),
        (
            b"{\"current\": \"a\", \"profiles\": [{\"name\": \"a\", \"expired_seconds\": -1}]}",
            "is no valid configuration",
        ),
        (b"\xff\xfe", "is no valid configuration"),
        (enormous.as_bytes(), "is larger than 1048576 bytes"),
    ];
    for (text, expected) in cases {
        let error = Given::new().file(CONFIG, text).refused(&profile("a")).await;
        assert!(error.contains(expected), "{error}");
    }
    let cases: [(&[u8], &str); 3] = [
        (b"", "has no section [a]"),
        (b"[a]\ntype = \xff", "is no text in UTF-8"),
        (enormous.as_bytes(), "is larger than 1048576 bytes"),
    ];
    for (text, expected) in cases {
        let error = Given::new().file(INI, text).refused(&ini("a")).await;
        assert!(error.contains(expected), "{error}");
    }
    let folder = Given::new().file(".aliyun/config.json/inside", "");
    assert!(folder.refused(&profile("a")).await.contains("is no regular file"));
}

#[tokio::test]
async fn what_needs_no_network_is_known_at_once() {
    let given = Given::new().file(CONFIG, PROFILES);
    assert_eq!(given.chain(&profile("a")).problem(), None);
    assert!(given.chain(&profile("nobody")).problem().is_some());
    assert_eq!(shown(&given.chain(&profile("a")).current().await.unwrap()), key("ida", "hush-a"));
}
