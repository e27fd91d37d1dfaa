//! A store that async code may use: by one caller at a time, off the async threads. It must not know any SQL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::store::Store;
use crate::broker::BrokerError;

pub struct Connection {
    path: PathBuf,
    /// Empty before the first use and after an error: whoever comes next opens the file anew.
    store: Arc<Mutex<Option<Store>>>,
}

impl Connection {
    pub fn new(path: PathBuf) -> Self {
        Self { path, store: Arc::default() }
    }

    /// Makes the file and its tables, unless they are there.
    pub async fn declare(&self) -> Result<(), BrokerError> {
        self.run_in(Store::create, Store::declare).await
    }

    /// Runs `work` to its end, even when the caller stops waiting for it.
    pub async fn run<T, W>(&self, work: W) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Store) -> Result<T, BrokerError> + Send + 'static,
    {
        self.run_in(Store::open, work).await
    }

    async fn run_in<T, W>(&self, open: fn(&Path) -> Result<Store, BrokerError>, work: W) -> Result<T, BrokerError>
    where
        T: Send + 'static,
        W: FnOnce(&mut Store) -> Result<T, BrokerError> + Send + 'static,
    {
        let mut slot = Arc::clone(&self.store).lock_owned().await;
        let path = self.path.clone();
        let running = tokio::task::spawn_blocking(move || {
            let mut store = slot.take().map_or_else(|| open(&path), Ok)?;
            let answer = work(&mut store)?;
            *slot = Some(store);
            Ok(answer)
        });
        running.await.unwrap_or_else(|stopped| Err(BrokerError::Other(format!("{}: {stopped}", self.path.display()))))
    }
}
