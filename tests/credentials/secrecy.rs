//! No secret ever shows: not in a `Debug`, not in an error, not in a log line of any level.

use std::io::Write;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bulkrelease::api::credentials::{Chain, Credential};
use bulkrelease::config::CredentialSource;
use tracing_subscriber::fmt::MakeWriter;

use crate::credentials::surroundings::{Given, KEY, Server};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nobody panicked").write(text)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// In a process of its own: where other tests begin and end subscribers of theirs meanwhile, lines may be missed.
#[test]
fn no_secret_shows_in_debug_output_or_a_log_line_of_any_level() {
    let alone = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "credentials::secrecy::all_that_is_shown", "--ignored"])
        .output()
        .expect("another process");
    let said = String::from_utf8_lossy(&alone.stdout);
    assert!(alone.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&alone.stderr));
}

#[tokio::test]
#[ignore = "is the other process of the test above"]
async fn all_that_is_shown() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // The runtime has this one thread, so every task's lines come here.
    let _default = tracing::subscriber::set_default(subscriber);
    let sts = format!(r#"{{"Credentials":{{{KEY}}}}}"#);
    let refused = (403, r#"{"Code":"hush hush","Message":"hush"}"#.to_owned());
    let server = Server::start([(200, sts), refused]).await;
    let given = Given::new().file("token", "hush-jwt").services(&server);
    let file = given.path("token").display().to_string();
    let given = given
        .variable("ALIBABA_CLOUD_ROLE_ARN", "r")
        .variable("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "p")
        .variable("ALIBABA_CLOUD_OIDC_TOKEN_FILE", file);
    let mut shown = String::new();
    for _ in 0..2 {
        let chain = given.chain(&CredentialSource::Default);
        let current = chain.current().await;
        shown += &format!("{chain:?} {current:?} {:?}\n", chain.problem());
    }
    let fixed = Chain::fixed(Credential {
        access_key_id: "fixed".to_owned(),
        access_key_secret: "hush".into(),
        security_token: Some("hush".into()),
    });
    shown += &format!("{fixed:?} {:?}", fixed.current().await);
    let lines = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(
        lines.contains("calls are signed with this access key") && lines.contains("there is no access key"),
        "{lines}"
    );
    assert!(shown.contains("fixed") && shown.contains("code unknown"), "{shown}");
    assert!(!lines.contains("hush") && !shown.contains("hush"), "{lines}{shown}");
}
