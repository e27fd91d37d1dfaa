//! Accounts with one thing wrong each, over a broker in a file, which has a case or two of its own.

use bulkrelease::sandbox::{AccessKey, Sandbox, SandboxSettings};
use tempfile::TempDir;

use super::clock::Answering;
use super::house::{account, codes, examine, missed};
use crate::support::program::run;
use crate::support::worker::variable;

const DENIED: &str = r#"{"RequestId":"A","HostId":"h","Code":"NoPermission","Message":"no","Recommend":"r"}"#;
const LATE: &str =
    r#"{"RequestId":"A","HostId":"h","Code":"InvalidTimeStamp.Expired","Message":"late","Recommend":"r"}"#;

type Variables = Vec<(String, String)>;

pub async fn each_is_found() {
    let folder = TempDir::new().expect("a directory");
    let path = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
    let file = variable("BROKER__URL", &path("queues"));
    let ended = run(&["setup"], std::slice::from_ref(&file), "").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let newer = rusqlite::Connection::open(folder.path().join("newer")).expect("a file");
    newer.pragma_update(None, "user_version", 99).expect("a version");
    std::fs::write(folder.path().join("text"), "no database, and long enough to be none\n".repeat(100))
        .expect("a file");

    let clerk = AccessKey { user: Some("clerk".to_owned()), .."sandbox:sandbox".parse().expect("a key") };
    let denying = SandboxSettings { access_keys: vec![clerk], ..SandboxSettings::default() };
    let (sandbox, denying) = (start(SandboxSettings::default()).await, start(denying).await);
    let (slow, late) = (Answering::start(400, DENIED, 10).await, Answering::start(400, LATE, -20).await);
    let page = Answering::start(200, "<html>welcome</html>", 0).await;
    let at = |address: std::net::SocketAddr| account(&format!("http://{address}"), "sandbox");
    let good = || at(sandbox.address());
    let with = |mut variables: Variables, name: &str, value: &str| {
        variables.push(variable(name, value));
        variables
    };
    let keyless = account(&format!("http://{}", sandbox.address()), "sandbox")
        .into_iter()
        .filter(|(name, _)| !name.contains("ACCESS_KEY"))
        .collect();
    let cases: Vec<(&str, Variables, &[&str])> = vec![
        ("all is well", good(), &[]),
        ("it may not query, and need not", at(denying.address()), &[]),
        (
            "it may not query, and should",
            with(at(denying.address()), "ACCOUNTS__DEFAULT__READ_BACK", "true"),
            &["read-back-not-permitted"],
        ),
        ("nobody listens", account("http://127.0.0.1:1", "sandbox"), &["endpoint-unreachable"]),
        ("something else answers", at(page.address), &["endpoint-not-the-api"]),
        ("the secret is wrong", account(&format!("http://{}", sandbox.address()), "geheim"), &["credential-refused"]),
        ("there is no key", keyless, &["credential-missing"]),
        ("the clock is 10 minutes off", at(slow.address), &["clock-off"]),
        ("the clock is 20 minutes off", at(late.address), &["clock-refused"]),
        ("no endpoint", Vec::new(), &["no-endpoint"]),
        ("a schema of tomorrow", with(good(), "BROKER__URL", &path("newer")), &["file-version-differs"]),
        ("no database", with(good(), "BROKER__URL", &path("text")), &["file-unusable"]),
        ("no directory", with(good(), "BROKER__URL", &path("none/queues")), &["file-unusable"]),
        ("no file yet", with(good(), "BROKER__URL", &path("none")), &["not-set-up"]),
    ];
    for (name, variables, expected) in cases {
        // The later one of a name holds.
        let variables = [vec![file.clone()], variables].concat();
        let examined = examine(&[], &variables).await;
        assert_eq!(codes(&examined), expected, "{name}: {examined:#}");
        assert!(!examined.to_string().contains("geheim"), "{examined}");
        if name == "all is well" {
            assert_eq!(missed(&examined), ["account default: the permission bss:ReleaseInstance"]);
            assert_eq!(examined["Soundness"], "sound");
        }
    }
    assert_eq!(codes(&examine(&[], &good()).await), ["broker-not-named"]);
    assert!(!folder.path().join("none").exists(), "the doctor makes no file");
    assert_eq!(sandbox.counts().calls + denying.counts().calls, 0, "nothing was asked to be released");
}

async fn start(settings: SandboxSettings) -> Sandbox {
    Sandbox::start(settings).await.expect("a sandbox")
}
