//! What is let go of: the deliveries of a session that was lost, and those that a worker on its way out never began. Each
//! comes again, to this worker or to another.

use std::collections::BTreeMap;

use super::Worker;
use crate::broker::{DeliveryTag, Settlement, Subscription};
use crate::contract::AccountName;
use crate::engine::JobKey;
use crate::ops::events::{GivenBack, SessionLost};

/// Why a span ends whose delivery will come again through another connection.
const SESSION_LOST: &str = "SessionLost";

impl Worker {
    /// Every delivery of a lost session comes again under another tag, so what is held of it is let go.
    pub(super) fn lose(&mut self, session: u64, reason: &str) {
        let lost: Vec<_> =
            self.jobs.iter().filter(|(_, held)| held.tag.session == session).map(|(key, _)| key.clone()).collect();
        for held in self.jobs.values().filter(|held| held.tag.session == session) {
            held.span.failed(SESSION_LOST);
        }
        for (_, span) in self.unconfirmed.extract_if(|tag, _| tag.session == session).map(|(_, owed)| owed) {
            span.failed(SESSION_LOST);
        }
        self.waiting.retain(|(_, delivery)| delivery.tag.session != session);
        SessionLost { session, reason, jobs: lost.len() }.emit(&self.metrics);
        self.let_go(lost);
    }

    pub(super) fn let_go(&mut self, keys: Vec<(AccountName, JobKey)>) -> Vec<DeliveryTag> {
        let now = self.now();
        let mut by_account: BTreeMap<AccountName, Vec<JobKey>> = BTreeMap::new();
        let mut tags = Vec::with_capacity(keys.len());
        for key in keys {
            if let Some(held) = self.jobs.remove(&key) {
                self.pending_bytes -= held.bytes;
                tags.push(held.tag);
            }
            by_account.entry(key.0).or_default().push(key.1);
        }
        for (account, keys) in by_account {
            if let Some(lane) = self.lanes.get_mut(&account) {
                lane.engine.forget(&keys, now);
            }
        }
        tags
    }

    pub(super) fn give_back(&mut self, tags: impl IntoIterator<Item = DeliveryTag>, subscription: &Subscription) {
        let mut deliveries = 0;
        for tag in tags {
            deliveries += 1;
            subscription.settle(Settlement::GiveBack { tag });
        }
        self.summary.given_back += deliveries;
        GivenBack { deliveries }.emit(&self.metrics);
    }
}
