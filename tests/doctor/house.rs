//! A node with its management plugin, and an account that is well: whatever is wrong beside them is the test's doing.

use bulkrelease::sandbox::{Sandbox, SandboxSettings};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};

use crate::support::program::run;
use crate::support::rabbitmq::{Configuration, Node, free_ports};
use crate::support::worker::variable;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct House {
    pub node: Node,
    sandbox: Sandbox,
    http: Client,
    management: String,
}

impl House {
    pub async fn start() -> Self {
        // Another test of this program may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let [port] = free_ports();
        let configuration = Configuration {
            lines: format!(
                "management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\ncollect_statistics_interval = 1000\n"
            ),
            // Quorum queues tell their policies at each tick.
            advanced: "[{rabbit, [{quorum_tick_interval, 1000}]}].\n".to_owned(),
            plugins: "rabbitmq_management".to_owned(),
        };
        let (node, sandbox) = tokio::join!(Node::start(&configuration), Sandbox::start(SandboxSettings::default()));
        node.until_it_listens_at(port).await;
        let http = Client::builder().timeout(PATIENCE).build().expect("a client");
        Self { node, sandbox: sandbox.expect("a sandbox"), http, management: format!("http://127.0.0.1:{port}") }
    }

    /// Makes a virtual host where guest may do everything, and answers with its URL.
    pub async fn virtual_host(&self, name: &str) -> String {
        self.ask(Method::PUT, &format!("vhosts/{name}"), json!({})).await;
        self.permit(name, "guest", ".*").await;
        format!("{}{name}", self.node.url())
    }

    /// Lets a user write what matches, and configure and read everything.
    pub async fn permit(&self, virtual_host: &str, user: &str, write: &str) {
        let rights = json!({"configure": ".*", "write": write, "read": ".*"});
        self.ask(Method::PUT, &format!("permissions/{virtual_host}/{user}"), rights).await;
    }

    /// Asks the management plugin, which must agree.
    pub async fn ask(&self, method: Method, path: &str, body: Value) {
        let request = self.http.request(method, format!("{}/api/{path}", self.management));
        let request = request.basic_auth("guest", Some("guest")).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().await.expect("an answer");
        assert!(
            answer.status().is_success(),
            "{path}: {} {}",
            answer.status(),
            answer.text().await.unwrap_or_default()
        );
    }

    /// Every setting of a doctor or a worker in this house.
    pub fn variables(&self, virtual_host: &str) -> Vec<(String, String)> {
        let url = format!("{}{virtual_host}", self.node.url());
        let mut variables = account(&format!("http://{}", self.sandbox.address()), "sandbox");
        variables.extend([variable("BROKER__URL", &url), variable("BROKER__MANAGEMENT_URL", &self.management)]);
        variables
    }

    /// Waits until the plugin knows the policies of every queue.
    pub async fn until_policies_are_told(&self) {
        let begun = Instant::now();
        loop {
            let asking = self.http.get(format!("{}/api/queues", self.management)).basic_auth("guest", Some("guest"));
            let body = asking.send().await.expect("an answer").bytes().await.expect("its body");
            let queues: Vec<Value> = serde_json::from_slice(&body).expect("a list");
            if queues.iter().all(|queue| queue.get("effective_policy_definition").is_some()) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "no policies are told: {queues:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Asks until these are the findings; what was said then.
    pub async fn until_codes(&self, virtual_host: &str, wanted: &[&str]) {
        self.until(&self.variables(virtual_host), wanted, "").await;
    }

    /// What is told of an alarm: by the management plugin some seconds after it is felt.
    pub async fn until_alarm(&self, more: &[(String, String)], words: &str) {
        self.until(&[&self.variables("healthy")[..], more].concat(), &["broker-alarm"], words).await;
    }

    async fn until(&self, variables: &[(String, String)], wanted: &[&str], words: &str) {
        let begun = Instant::now();
        loop {
            let examined = examine(&[], variables).await;
            if codes(&examined) == wanted && examined.to_string().contains(words) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{wanted:?} {words:?} is not found: {examined:#}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether its node is one of RabbitMQ 4, to which a delivery limit below zero is none.
    pub fn is_4(&self) -> bool {
        self.node.control(&["version"]).trim().starts_with('4')
    }

    /// Runs a command as the doctor gives it.
    pub async fn obey(&self, command: &str) {
        let words: Vec<&str> = command.split_whitespace().map(|word| word.trim_matches('\'')).collect();
        match words.split_first().expect("a command") {
            (&"rabbitmqctl", arguments) => drop(self.node.control(arguments)),
            (&"curl", ["-u", "USER", "-X", "DELETE", url]) => {
                let path = url.strip_prefix(&format!("{}/api/", self.management)).expect("the plugin's address");
                self.ask(Method::DELETE, path, json!({})).await;
            }
            _ => panic!("{command}"),
        }
    }

    /// Nobody who is woken by messages that reach no queue was woken for the doctor, nor for a worker.
    pub fn assert_nothing_went_astray(&self) {
        let counted = self.node.control(&["eval", "rabbit_global_counters:overview()."]);
        let told = counted.split("messages_unroutable_").skip(1).filter_map(|rest| rest.split([',', '}']).next());
        let counts: Vec<&str> = told.collect();
        assert!(counts.len() >= 2 && counts.iter().all(|count| count.ends_with("_total => 0")), "{counts:?}");
    }

    /// No call to release was made, and the healthy broker is as empty as it was.
    pub async fn assert_untouched(&self) {
        assert_eq!(self.sandbox.counts().calls, 0);
        let listed = self.node.control(&["list_queues", "-p", "healthy", "--no-table-headers", "name", "messages"]);
        assert!(listed.lines().count() > 5, "{listed}");
        assert!(listed.lines().all(|line| line.ends_with("\t0")), "{listed}");
    }
}

/// An account at this endpoint, with the sandbox's access key and this secret.
pub fn account(endpoint: &str, secret: &str) -> Vec<(String, String)> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    vec![
        variable("ACCOUNTS__DEFAULT__ENDPOINT", endpoint),
        own("ALIBABA_CLOUD_ACCESS_KEY_ID", "sandbox"),
        own("ALIBABA_CLOUD_ACCESS_KEY_SECRET", secret),
        own("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true"),
    ]
}

/// What the doctor says as JSON; its exit code agrees with its word.
pub async fn examine(arguments: &[&str], variables: &[(String, String)]) -> Value {
    let ended = run(&[&["doctor", "--json"], arguments].concat(), variables, "").await;
    let examined: Value = serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let expected = match examined["Soundness"].as_str() {
        Some("sound") => 0,
        Some("findings") => 1,
        Some("unchecked") => 2,
        other => panic!("{other:?}: {ended:?}"),
    };
    assert_eq!(ended.code, Some(expected), "{ended:?}");
    for finding in examined["Findings"].as_array().expect("findings") {
        for field in ["Severity", "Code", "Subject", "Found", "Why", "Mend"] {
            assert!(finding[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {finding}");
        }
    }
    examined
}

fn texts(examined: &Value, list: &str, field: &str) -> Vec<String> {
    let items = examined[list].as_array().expect("a list").iter();
    items.map(|item| item[field].as_str().expect("a text").to_owned()).collect()
}

pub fn codes(examined: &Value) -> Vec<String> {
    texts(examined, "Findings", "Code")
}

pub fn missed(examined: &Value) -> Vec<String> {
    texts(examined, "NotChecked", "Subject")
}
