//! A worker before it works: a lane for each account that can be called, the guard over what is protected, and its name.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Worker;
use super::drain::Summary;
use super::lane::Lane;
use super::postpone::PostponedLately;
use super::queued::{Mix, Queued};
use crate::api::{Client, ClientError, credentials::Chain};
use crate::config::Settings;
use crate::contract::AccountName;
use crate::engine::{InvalidProtection, Protection};
use crate::ops::trace::Tracer;
use crate::ops::{Metrics, Vitals};
use crate::pace::Member;

/// Why a worker can't start.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("no account names an endpoint: set accounts.default.endpoint, for nothing is released anywhere by default")]
    NoAccount,
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Protection(#[from] InvalidProtection),
    #[error("safety.protected_file {path}: {problem}")]
    ProtectedFile { path: String, problem: String },
}

impl Worker {
    /// Builds a worker. `credentials` gives each account's source of access keys.
    pub fn new(
        settings: Settings,
        credentials: impl Fn(&AccountName) -> Chain,
        metrics: Arc<Metrics>,
        vitals: Arc<Vitals>,
    ) -> Result<Self, WorkerError> {
        let protection = protection(&settings)?;
        let name = settings.worker.name.clone().unwrap_or_else(own_name);
        let born = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default();
        let me = Member { born, name };
        let (worker, retry) = (&settings.worker, &settings.retry);
        let mut lanes = BTreeMap::new();
        for (account, of_account) in settings.accounts.iter().filter(|(_, account)| account.endpoint.is_some()) {
            let client = Client::new(account.as_str(), of_account, credentials(account))?;
            let (guard, me) = (protection.clone(), me.clone());
            let mut lane = Lane::new(account.clone(), client, of_account, worker, retry, guard, me);
            lane.begin(&metrics);
            lanes.insert(account.clone(), lane);
        }
        if lanes.is_empty() {
            return Err(WorkerError::NoAccount);
        }
        Ok(Self {
            settings,
            lanes,
            me,
            fleet: None,
            probed: false,
            beacon_unread: false,
            changes: None,
            queued: Queued::default(),
            mix: Mix::default(),
            jobs: HashMap::new(),
            pending_bytes: 0,
            waiting: VecDeque::new(),
            unconfirmed: HashMap::new(),
            calls: JoinSet::new(),
            started: Instant::now(),
            metrics,
            tracer: Tracer::default(),
            vitals,
            summary: Summary::default(),
            postponed_lately: PostponedLately::default(),
        })
    }
}

/// The guard that the settings describe.
pub(super) fn protection(settings: &Settings) -> Result<Protection, WorkerError> {
    let mut entries = settings.safety.protected.clone();
    if let Some(path) = &settings.safety.protected_file {
        let unreadable = |problem: std::io::Error| WorkerError::ProtectedFile {
            path: path.display().to_string(),
            problem: format!("{problem}: nothing is released while it can't be read"),
        };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
        entries.extend(lines.filter(|line| !line.is_empty()).map(str::to_owned));
    }
    Ok(Protection::new(entries.iter().map(String::as_str))?)
}

fn own_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "worker" } else { host.trim() };
    format!("{host}-{}", std::process::id())
}
