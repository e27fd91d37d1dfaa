//! `bulkrelease worker`: consume jobs until told to stop.

use std::sync::Arc;

use anyhow::{Context, bail};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::reload::Reload;
use super::{logging, signals};
use crate::api::credentials::Chain;
use crate::broker::inspection::{Extent, NoInspection};
use crate::broker::{self, BrokerError};
use crate::config::{ConfigError, Loaded, Settings};
use crate::doctor::{self, Severity};
use crate::ops::trace::Tracer;
use crate::ops::{Metrics, OpsServer, Vitals};
use crate::worker::Worker;

/// Consume release jobs until SIGTERM or SIGINT, then finish what was begun and give the rest back; SIGHUP reads the settings
/// again
#[derive(Debug, clap::Args)]
pub struct WorkerCommand {}

impl WorkerCommand {
    /// `load` reads the settings, now and whenever a signal asks for it.
    pub async fn run<L>(self, load: L) -> anyhow::Result<()>
    where
        L: Fn() -> Result<Loaded, ConfigError> + Clone + Send + 'static,
    {
        let settings = load()?.settings;
        let level = logging::start(&settings.log)?;
        let (stop, hangups) = (signals::stop()?, signals::hangups()?);
        let broker = broker::open(&settings.broker, &settings.retry.steps)?;
        let (metrics, vitals) = (Arc::new(Metrics::new()?), Arc::new(Vitals::default()));
        let credentials = settings.accounts.clone();
        let chain = |name: &_| Chain::new(&credentials.get(name).cloned().unwrap_or_default().credentials);
        let (change, changes) = mpsc::channel(1);
        let worker = Worker::new(settings.clone(), chain, Arc::clone(&metrics), Arc::clone(&vitals))?;
        let tracer = Tracer::start(&settings, worker.name(), Arc::clone(&metrics))?;
        let worker = worker.traced(tracer).with_changes(changes);
        let reload = Reload { running: settings.clone(), load, level, changes: change, metrics: Arc::clone(&metrics) };
        let _reloading = AbortOnDropHandle::new(tokio::spawn(reload.at_each(hangups)));
        let listen = settings.ops.listen;
        let ops = OpsServer::start(listen, metrics, vitals).await.with_context(|| format!("ops.listen {listen}"))?;
        tracing::info!(address = %ops.address(), "metrics and health are served");
        for (account, settings) in &settings.accounts {
            let (endpoint, quota) = (settings.endpoint.as_deref(), settings.calls_per_second);
            tracing::info!(%account, endpoint, ?quota, "releases go here");
        }
        let protected = settings.safety.protected.len();
        let file = settings.safety.protected_file.as_ref().map(|file| file.display().to_string());
        tracing::info!(protected, file, "protected ids and prefixes");
        if let Some(endpoint) = &settings.trace.otlp_endpoint {
            tracing::info!(endpoint, "spans go here");
        }
        let declared = if settings.broker.declare { broker.declare().await } else { Ok(()) };
        match declared {
            // The subscription goes on trying, and says so on /readyz.
            Err(BrokerError::Unreachable { address, reason }) => {
                tracing::warn!(address, reason, "the broker can't be reached yet");
            }
            declared => {
                declared?;
                heed_the_doctor(&settings).await?;
            }
        }
        let summary = worker.run(&*broker, stop).await;
        tracing::info!("{summary}");
        Ok(())
    }
}

/// Refuses to work where data would be lost, and warns of what else is wrong. A broker that is away may come back.
async fn heed_the_doctor(settings: &Settings) -> anyhow::Result<()> {
    let inspection = broker::inspect(&settings.broker, &settings.retry.steps, Extent::Brief).await;
    if let Err(NoInspection::Unreachable { .. }) = inspection {
        return Ok(());
    }
    let mut losses = Vec::new();
    for finding in doctor::examine_broker(settings, inspection).findings {
        let (code, subject, found, mend) = (finding.code.as_str(), &finding.subject, &finding.found, &finding.mend);
        let why = finding.code.why();
        match finding.code.severity() {
            Severity::LosesData => losses.push(format!("{code}: {subject}: {found}. {why} To mend it: {mend}")),
            Severity::WillFail | Severity::Wasteful => {
                tracing::warn!(code, subject, found, why, mend, "see bulkrelease doctor")
            }
            Severity::Note => tracing::info!(code, subject, found, mend, "see bulkrelease doctor"),
        }
    }
    if !losses.is_empty() {
        bail!("a worker would lose data here: {}", losses.join("; "));
    }
    Ok(())
}
