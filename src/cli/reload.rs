//! SIGHUP: the settings are read again as at the start, and what can change in a running worker does. A file that is no good
//! changes nothing.

use std::sync::Arc;

use anyhow::Context;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;

use super::logging::Level;
use crate::config::{ConfigError, Loaded, Settings, change};
use crate::ops::Metrics;
use crate::ops::events::SettingsReloaded;
use crate::worker::Change;

/// What a change of settings needs.
pub struct Reload<L> {
    pub running: Settings,
    pub load: L,
    pub level: Level,
    pub changes: mpsc::Sender<Change>,
    pub metrics: Arc<Metrics>,
}

impl<L> Reload<L>
where
    L: Fn() -> Result<Loaded, ConfigError> + Clone + Send + 'static,
{
    /// Reads the settings again at each signal, for as long as there is a worker.
    pub async fn at_each(mut self, mut hangups: Signal) {
        while hangups.recv().await.is_some() {
            match self.reload().await {
                Ok((applied, needs_restart)) => {
                    SettingsReloaded::Applied { applied: &applied, needs_restart: &needs_restart }.emit(&self.metrics);
                }
                Err(error) => SettingsReloaded::Refused { error: &format!("{error:#}") }.emit(&self.metrics),
            }
        }
    }

    /// All of it, or nothing.
    async fn reload(&mut self) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let (load, running) = (self.load.clone(), self.running.clone());
        // Files, beside the worker's loop.
        let reading = tokio::task::spawn_blocking(move || -> anyhow::Result<_> {
            let changed = change(&running, &load()?)?;
            let taken = Change::new(changed.settings.clone())?;
            Ok((changed, taken))
        });
        let (changed, taken) = reading.await.context("the settings can't be read")??;
        self.level.set(&changed.settings.log.level)?;
        self.changes.send(taken).await.context("the worker has stopped")?;
        self.running = changed.settings;
        Ok((changed.applied, changed.needs_restart))
    }
}
