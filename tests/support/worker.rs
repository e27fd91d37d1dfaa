//! A worker as a process of its own, against a sandbox and a broker. It must not know what is tested with it.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bulkrelease::sandbox::Sandbox;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::program::Program;

const PATIENCE: Duration = Duration::from_secs(60);

/// What a worker is told, by variables: `BROKER__URL` is written to `BULKRELEASE__BROKER__URL`.
#[derive(Debug, Clone)]
pub struct WorkerSettings(Vec<(String, String)>);

impl WorkerSettings {
    /// A worker of this broker for this sandbox, with a quota in calls a second.
    pub fn new(broker: &str, sandbox: &Sandbox, calls_per_second: f64) -> Self {
        let settings = [
            ("BROKER__URL", broker.to_owned()),
            ("OPS__LISTEN", "127.0.0.1:0".to_owned()),
            ("ACCOUNTS__DEFAULT__ENDPOINT", format!("http://{}", sandbox.address())),
            ("ACCOUNTS__DEFAULT__CALLS_PER_SECOND", calls_per_second.to_string()),
        ];
        let mut variables: Vec<_> = settings.into_iter().map(|(name, value)| variable(name, &value)).collect();
        for name in ["ALIBABA_CLOUD_ACCESS_KEY_ID", "ALIBABA_CLOUD_ACCESS_KEY_SECRET"] {
            variables.push((name.to_owned(), "sandbox".to_owned()));
        }
        Self(variables)
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(variable(name, value));
        self
    }

    /// What it is told by a file, unless a variable says something else.
    pub fn with_file(mut self, path: &str) -> Self {
        self.0.push(("BULKRELEASE_CONFIG".to_owned(), path.to_owned()));
        self
    }

    /// Leaves a setting to the file.
    pub fn without(mut self, name: &str) -> Self {
        let (left_out, _) = variable(name, "");
        self.0.retain(|(name, _)| *name != left_out);
        self
    }
}

impl WorkerSettings {
    /// For other commands of the program, which are to see the same broker.
    pub fn variables(&self) -> &[(String, String)] {
        &self.0
    }
}

/// A setting as a variable.
pub fn variable(name: &str, value: &str) -> (String, String) {
    (format!("BULKRELEASE__{name}"), value.to_owned())
}

/// A running worker.
#[derive(Debug)]
pub struct Worker {
    program: Program,
    ops: SocketAddr,
}

impl Worker {
    /// Starts a worker and waits until its HTTP side serves.
    pub async fn start(settings: &WorkerSettings) -> Self {
        let mut program = Program::start(&["worker"], &settings.0, "");
        let begun = Instant::now();
        loop {
            let log = program.errors();
            if let Some(ops) = log.lines().find_map(ops_address) {
                return Self { program, ops };
            }
            assert!(program.runs() && begun.elapsed() < PATIENCE, "the worker does not start:\n{log}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Asks the worker's HTTP side; answers with the status and the body.
    pub async fn get(&self, path: &str) -> (u16, String) {
        let asking = async {
            let mut stream = TcpStream::connect(self.ops).await?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = timeout(PATIENCE, asking).await.expect("an answer in time").expect("an answer");
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, body.to_owned())
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.ops)
    }

    /// Waits until a page answers with this status and says these words.
    pub async fn until(&self, path: &str, status: u16, words: &str) {
        let begun = Instant::now();
        loop {
            let (found, body) = self.get(path).await;
            if found == status && body.contains(words) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{path} stays {found}: {body}\n{}", self.errors());
            sleep(Duration::from_millis(20)).await;
        }
    }
}

fn ops_address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("metrics and health are served address=")?;
    rest.trim().parse().ok()
}

impl Deref for Worker {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.program
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.program
    }
}
