//! A private Prometheus with the project's own configuration and rules, in a hurry, on the loopback. It must not know what is
//! scraped.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::rules::{FILES, hurried};
use super::{file, http};
use crate::support::program::Program;
use crate::support::rabbitmq::free_ports;

const PATIENCE: Duration = Duration::from_secs(60);

pub struct Prometheus {
    program: Program,
    address: SocketAddr,
    client: reqwest::Client,
    started: jiff::Timestamp,
    _directory: TempDir,
}

impl Prometheus {
    /// Starts it with these addresses in place of what each of the configuration's jobs finds by itself.
    pub async fn start(targets: &[(&str, Vec<SocketAddr>)]) -> Self {
        let directory = TempDir::with_prefix("bulkrelease-prometheus-").expect("a directory");
        let [port] = free_ports();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        std::fs::create_dir(directory.path().join("rules")).expect("a directory");
        for name in FILES {
            let path = directory.path().join("rules").join(Path::new(name).file_name().expect("a name"));
            std::fs::write(path, hurried(&file(name))).expect("a file");
        }
        std::fs::write(directory.path().join("prometheus.yml"), configuration(targets)).expect("a file");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", directory.path().join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        let program = Program::spawn(command, "");
        let mut prometheus =
            Self { program, address, client: http::client(), started: jiff::Timestamp::now(), _directory: directory };
        let begun = Instant::now();
        while !http::answers(&prometheus.client, &format!("http://{address}/-/ready")).await {
            let runs = prometheus.program.runs();
            assert!(runs && begun.elapsed() < PATIENCE, "Prometheus does not start:\n{}", prometheus.program.errors());
            sleep(Duration::from_millis(50)).await;
        }
        prometheus
    }

    async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let base = format!("http://{}/api/v1/{path}", self.address);
        let url = url::Url::parse_with_params(&base, parameters).expect("a URL");
        let answer: Value = serde_json::from_str(&http::get(&self.client, url.as_str()).await).expect("JSON");
        assert_eq!(answer["status"], "success", "{path} {parameters:?}: {answer}");
        answer["data"].clone()
    }

    /// Waits until something is so: a query that answers only then.
    pub async fn until(&self, query: &str) {
        let begun = Instant::now();
        loop {
            let found = self.ask("query", &[("query", query)]).await;
            if found["result"].as_array().is_some_and(|series| !series.is_empty()) {
                println!("{:>6.1?} {query}", self.age());
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "in vain: {query}");
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// From here on counts what it sees.
    pub fn begin(&mut self) {
        self.started = jiff::Timestamp::now();
    }

    /// Waits until something is so, or has been since the beginning.
    pub async fn until_ever(&self, query: &str) {
        let begun = Instant::now();
        while self.history(query).await.is_empty() {
            assert!(begun.elapsed() < PATIENCE, "in vain: {query}");
            sleep(Duration::from_millis(100)).await;
        }
        println!("{:>6.1?} {query}", self.age());
    }

    pub async fn until_alert(&self, name: &str) {
        self.until_ever(&format!("ALERTS{{alertname=\"{name}\"}}")).await;
    }

    pub fn age(&self) -> Duration {
        Duration::try_from(jiff::Timestamp::now().duration_since(self.started)).unwrap_or_default()
    }

    /// The values that a query had since the beginning; what is no number is left out.
    pub async fn history(&self, query: &str) -> Vec<f64> {
        let (start, end) = (self.started.to_string(), jiff::Timestamp::now().to_string());
        let parameters = [("query", query), ("start", start.as_str()), ("end", end.as_str()), ("step", "500ms")];
        let found = self.ask("query_range", &parameters).await;
        let series = found["result"].as_array().cloned().unwrap_or_default();
        let values = series.iter().flat_map(|series| series["values"].as_array().cloned().unwrap_or_default());
        let numbers = values.filter_map(|value| value[1].as_str().and_then(|number| number.parse::<f64>().ok()));
        numbers.filter(|number| !number.is_nan()).collect()
    }

    /// The name of every series that was scraped or recorded.
    pub async fn names(&self) -> Vec<String> {
        serde_json::from_value(self.ask("label/__name__/values", &[]).await).expect("names")
    }
}

fn configuration(targets: &[(&str, Vec<SocketAddr>)]) -> String {
    use serde_norway::Value;
    let mut configuration: Value =
        serde_norway::from_str(&file("config/prometheus/prometheus.yml")).expect("it is YAML");
    for (name, value) in configuration["global"].as_mapping_mut().expect("global settings") {
        let often = if name.as_str() == Some("scrape_timeout") { "400ms" } else { "500ms" };
        *value = often.into();
    }
    let jobs = configuration["scrape_configs"].as_sequence_mut().expect("scrape_configs");
    jobs.retain_mut(|job| {
        let Some((_, addresses)) = targets.iter().find(|(name, _)| job["job_name"].as_str() == Some(name)) else {
            return false;
        };
        let addresses: Vec<_> = addresses.iter().map(|address| Value::from(address.to_string())).collect();
        let job = job.as_mapping_mut().expect("a job");
        job.remove("dns_sd_configs");
        let targets = serde_norway::Mapping::from_iter([("targets".into(), addresses.into())]);
        job.insert("static_configs".into(), vec![Value::from(targets)].into());
        true
    });
    assert_eq!(jobs.len(), targets.len(), "each job is known");
    serde_norway::to_string(&configuration).expect("YAML")
}
