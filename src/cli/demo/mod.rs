//! `bulkrelease demo`: the main job at work on this machine alone. A sandbox in place of the API, an SQLite file in place
//! of RabbitMQ, and a worker between them, exactly as it runs elsewhere.

mod audit;
mod jobs;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::signals;
use crate::api::credentials::{Chain, Credential};
use crate::broker::{Broker, Event, Queue, Settlement, embedded::EmbeddedBroker};
use crate::config::{AccountSettings, CallsPerSecond, RetrySettings, SafetySettings, Settings};
use crate::contract::{AccountName, JobResult};
use crate::ops::{Metrics, OpsServer, Vitals};
use crate::sandbox::{Sandbox, SandboxSettings};
use crate::worker::Worker;

use audit::Audit;
use progress::Progress;

/// The quota of the sandbox, and of the worker.
const CALLS_PER_SECOND: f64 = 40.0;

/// Nothing here takes longer, or something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// See the main job at work: a sandbox API, an embedded broker and a worker, nothing else needed
#[derive(Debug, clap::Args)]
pub struct DemoCommand {
    /// Stay up afterwards, with /metrics and the sandbox, until Ctrl-C
    #[arg(long)]
    keep: bool,

    /// Chooses the jobs and the faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl DemoCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = signals::stop()?;
        let folder = tempfile::tempdir().context("no temporary folder")?;
        let sandbox = Sandbox::start(sandbox_settings(self.seed)?).await.context("the sandbox can't start")?;
        let broker = Arc::new(EmbeddedBroker::open(&folder.path().join("broker.sqlite"))?);
        broker.declare().await?;
        let orders = jobs::orders(self.seed);
        say!("sandbox API on http://{}, broker in {}", sandbox.address(), folder.path().display());

        let settings = worker_settings(&sandbox);
        let (metrics, vitals) = (Arc::new(Metrics::new()?), Arc::new(Vitals::default()));
        let worker = Worker::new(settings.clone(), |_| credentials(), Arc::clone(&metrics), Arc::clone(&vitals))?;
        let ops = OpsServer::start(settings.ops.listen, metrics, vitals).await.context("the ops server can't start")?;
        say!("metrics on http://{}/metrics", ops.address());

        let answers = broker.enqueue(orders.iter().map(jobs::Order::message).collect()).await;
        answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        let ids: usize = orders.iter().map(|order| order.ids.len()).sum();
        say!("enqueued {} jobs with {ids} ids; the quota is {CALLS_PER_SECOND} calls a second\n", orders.len());

        let started = Instant::now();
        let (halt, halted) = oneshot::channel::<()>();
        let working = tokio::spawn({
            let broker = Arc::clone(&broker);
            async move { worker.run(&*broker, async { drop(halted.await) }).await }
        });
        let results = tokio::select! {
            results = collect(&*broker, orders.len(), &sandbox) => results?,
            () = stop => bail!("interrupted"),
            () = tokio::time::sleep(PATIENCE) => bail!("no end after {PATIENCE:?}: this is a defect, please report it"),
        };
        let took = started.elapsed();
        let summary = if self.keep {
            None
        } else {
            drop(halt);
            Some(working.await.context("the worker panicked")?)
        };

        let audit = Audit::new(&orders, &results, &sandbox.ledger());
        audit.show(took, summary.as_ref());
        if self.keep {
            say!("\nstaying up: http://{}/metrics (Ctrl-C ends it)", ops.address());
            signals::stop()?.await;
        }
        sandbox.stop().await?;
        audit.judge()
    }
}

fn sandbox_settings(seed: u64) -> anyhow::Result<SandboxSettings> {
    let instances = [
        format!("{}* state=gone", jobs::GONE),
        format!("{}* owner=somebody-else", jobs::FOREIGN),
        format!("{}* state=locked", jobs::LOCKED),
        "*".to_owned(),
    ];
    let faults =
        ["service-unavailable share=0.03", "internal-error share=0.02", "internal-error share=0.005 lands=true"];
    let rule = anyhow::Error::msg::<String>;
    Ok(SandboxSettings {
        calls_per_second: Some(CALLS_PER_SECOND),
        latency: Duration::from_millis(30),
        latency_p99: Some(Duration::from_millis(80)),
        instances: instances.iter().map(|line| line.parse().map_err(rule)).collect::<Result<_, _>>()?,
        faults: faults.iter().map(|line| line.parse().map_err(rule)).collect::<Result<_, _>>()?,
        seed,
        ..SandboxSettings::default()
    })
}

fn worker_settings(sandbox: &Sandbox) -> Settings {
    let account = AccountSettings {
        endpoint: Some(format!("http://{}", sandbox.address())),
        calls_per_second: CallsPerSecond::Limited(CALLS_PER_SECOND),
        // This API is ours: we know that it is.
        atomic: true,
        ..AccountSettings::default()
    };
    let mut settings = Settings {
        safety: SafetySettings { protected: vec![format!("{}*", jobs::PROTECTED)], protected_file: None },
        retry: RetrySettings { initial_interval: Duration::from_millis(100), ..RetrySettings::default() },
        accounts: [(AccountName::default(), account)].into(),
        ..Settings::default()
    };
    settings.ops.listen.set_port(0);
    settings
}

fn credentials() -> Chain {
    // The sandbox's default key.
    let (access_key_id, access_key_secret) = ("sandbox".to_owned(), "sandbox".into());
    Chain::fixed(Credential { access_key_id, access_key_secret, security_token: None })
}

/// Reads results as any consumer would, until there is one for each job.
async fn collect(broker: &dyn Broker, jobs: usize, sandbox: &Sandbox) -> anyhow::Result<Vec<JobResult>> {
    let mut subscription = broker.subscribe(Queue::Results, 1000);
    let mut progress = Progress::new(jobs);
    let mut results = Vec::with_capacity(jobs);
    while results.len() < jobs {
        match subscription.events.recv().await {
            Some(Event::Delivery(delivery)) => {
                results.push(serde_json::from_slice(&delivery.message.body).context("a result that is no result")?);
                subscription.settle(Settlement::Finish { tag: delivery.tag, publications: Vec::new() });
                progress.show(results.len(), &sandbox.counts());
            }
            Some(Event::Settled(_) | Event::SessionLost { .. }) => {}
            None => bail!("the results queue has ended"),
        }
    }
    progress.end();
    subscription.close(Duration::from_secs(5)).await;
    Ok(results)
}
