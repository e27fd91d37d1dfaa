//! Settings that change while the worker runs: what takes effect, at once and with no job lost.

use tokio::sync::mpsc;

use super::begin::protection;
use super::{Worker, WorkerError};
use crate::config::Settings;
use crate::engine::Protection;

/// Settings to go on with, known to make sense.
#[derive(Debug)]
pub struct Change {
    settings: Settings,
    protection: Protection,
}

impl Change {
    /// Reads what the settings name. Of what they say only rates and protected ids take effect here.
    pub fn new(settings: Settings) -> Result<Self, WorkerError> {
        Ok(Self { protection: protection(&settings)?, settings })
    }
}

impl Worker {
    /// Takes changes from here while it runs.
    #[must_use]
    pub fn with_changes(self, changes: mpsc::Receiver<Change>) -> Self {
        Self { changes: Some(changes), ..self }
    }

    pub(super) fn change(&mut self, change: Change) {
        let now = self.now();
        for (name, lane) in &mut self.lanes {
            if let Some(account) = change.settings.accounts.get(name) {
                lane.change(account, change.protection.clone(), now);
            }
        }
        self.settings = change.settings;
    }
}

/// The next change. Where none can come, none does.
pub(super) async fn next(changes: &mut Option<mpsc::Receiver<Change>>) -> Change {
    match changes {
        Some(receiver) => match receiver.recv().await {
            Some(change) => change,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
