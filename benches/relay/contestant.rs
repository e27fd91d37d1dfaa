//! Who is measured: the bare relay, or the worker with a sandbox for its API.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::bare;
use super::process::Process;
use super::queues::Queues;
use super::rabbitmq::free_ports;

const PROGRAM: &str = env!("CARGO_BIN_EXE_bulkrelease");

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Contestant {
    Bare,
    /// With an API that takes so long to answer.
    Worker {
        api: Duration,
    },
}

/// A contestant at work.
pub struct Running {
    pub client: Process,
    pub sandbox: Option<Process>,
    metrics_port: u16,
}

impl Contestant {
    pub fn start(self, queues: &Queues<'_>) -> anyhow::Result<Running> {
        let [metrics_port] = free_ports();
        let Self::Worker { api } = self else {
            let mut command = Command::new(std::env::current_exe()?);
            let client = Process::start(command.args([bare::COMMAND, &queues.url]))?;
            return Ok(Running { client, sandbox: None, metrics_port });
        };
        let latency = format!("{}ms", api.as_millis());
        let mut sandbox = Process::start(
            Command::new(PROGRAM)
                .args(["sandbox", "--listen", "127.0.0.1:0", "--latency", &latency])
                .stdout(Stdio::piped()),
        )?;
        let mut line = String::new();
        BufReader::new(sandbox.child().stdout.take().context("its output")?).read_line(&mut line)?;
        let endpoint = line.split_whitespace().find(|word| word.starts_with("http://")).context("its address")?;
        let mut command = Command::new(PROGRAM);
        for setting in [
            format!("broker.url={}", queues.url),
            format!("broker.queue_type={}", queues.queue_type()),
            format!("accounts.default.endpoint={endpoint}"),
            "accounts.default.calls_per_second=unlimited".to_owned(),
            format!("ops.listen=127.0.0.1:{metrics_port}"),
            "worker.name=benchmark-12345".to_owned(),
            "log.level=warn".to_owned(),
        ] {
            command.args(["--set", &setting]);
        }
        command.env("ALIBABA_CLOUD_ACCESS_KEY_ID", "sandbox").env("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "sandbox");
        let client = Process::start(command.arg("worker"))?;
        Ok(Running { client, sandbox: Some(sandbox), metrics_port })
    }
}

impl fmt::Display for Contestant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bare => f.pad("bare relay"),
            Self::Worker { .. } => f.pad("worker"),
        }
    }
}

impl Running {
    /// The sum and the number of what a histogram of the worker has seen.
    pub fn histogram(&self, name: &str) -> anyhow::Result<(f64, f64)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics_port))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let total = |suffix: &str| {
            let series = format!("{name}_{suffix}{{");
            let values = text.lines().filter(|line| line.starts_with(&series));
            values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
        };
        Ok((total("sum"), total("count")))
    }

    pub async fn stop(self) -> anyhow::Result<()> {
        self.client.stop().await?;
        match self.sandbox {
            Some(sandbox) => sandbox.stop().await,
            None => Ok(()),
        }
    }
}
