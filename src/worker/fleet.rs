//! The worker among others: which beacons it sends and when, and who is told of those that come. What they mean is pace's.

use std::time::Duration;

use super::lane::Lane;
use super::{Moment, Worker};
use crate::broker::{Broker, Fleet, Heard};
use crate::pace::{AccountBeacon, Beacon};

/// How long a stopping worker tries to say so.
const FAREWELL: Duration = Duration::from_millis(500);

impl Worker {
    /// Joins the fleet as soon as an account has a quota to share.
    pub(super) fn join_fleet(&mut self, broker: &dyn Broker) {
        let now = self.now();
        if self.fleet.is_none() && self.lanes.values().any(|lane| lane.beacon_at(now).is_some()) {
            self.fleet = Some(broker.join_fleet());
        }
    }

    /// Tells the others how things stand, if it is time. When the next beacon is due.
    pub(super) fn tell_fleet(&mut self, now: Moment) -> Option<Moment> {
        self.fleet.as_ref()?;
        let due = |worker: &Self| worker.lanes.values().filter_map(|lane| lane.beacon_at(now)).min();
        if due(self)? <= now {
            self.tell(Lane::beacon, now);
        }
        due(self)
    }

    /// Sends a beacon that speaks of each account whose quota is shared.
    fn tell(&mut self, of_account: fn(&mut Lane, Moment) -> AccountBeacon, now: Moment) {
        let sharing = self.lanes.values_mut().filter(|lane| lane.beacon_at(now).is_some());
        let accounts = sharing.map(|lane| of_account(lane, now)).collect();
        if let Some(fleet) = &self.fleet {
            fleet.tell(Beacon::new(self.me.clone(), now, accounts).to_bytes());
        }
    }

    pub(super) fn hear_fleet(&mut self, heard: &Heard) {
        let now = self.now();
        let bytes = match heard {
            Heard::Beacon(bytes) => bytes,
            Heard::Nobody => return self.lanes.values_mut().for_each(|lane| lane.alone(now)),
        };
        match Beacon::from_bytes(bytes) {
            Ok(beacon) => self.lanes.values_mut().for_each(|lane| lane.hear(&beacon, now)),
            Err(error) if std::mem::replace(&mut self.beacon_unread, true) => {
                tracing::debug!(%error, "another beacon can't be read");
            }
            Err(error) => tracing::warn!(%error, "a beacon can't be read: its sender is taken for gone"),
        }
    }

    /// Leaves the fleet: what this worker had of each quota is the others'.
    pub(super) async fn leave_fleet(&mut self) {
        self.tell(Lane::farewell, self.now());
        if let Some(fleet) = self.fleet.take() {
            fleet.leave(FAREWELL).await;
        }
    }
}

/// What the fleet tells next. Without one it is nothing, ever.
pub(super) async fn heard(fleet: &mut Option<Fleet>) -> Heard {
    match fleet {
        // One that can hear no more is as good as none: silence is what pace goes by.
        Some(fleet) => match fleet.hear().await {
            Some(heard) => heard,
            None => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}
