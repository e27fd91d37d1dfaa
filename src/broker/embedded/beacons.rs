//! The fleet's beacons as rows that expire: told by inserting one, heard by looking for new ones. It must not know what a
//! beacon says.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;
use super::statements;
use super::store::{self, Store};
use super::turn::millis;
use crate::broker::BrokerError;
use crate::broker::fleet::{EXPIRY, Ends};

/// Between two looks for new rows.
const LOOK: Duration = Duration::from_millis(100);

/// Takes part until the worker leaves. What others told lately is heard at once.
pub async fn take_part(connection: Connection, mut ends: Ends) {
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = 0;
    loop {
        let outcome = tokio::select! {
            beacon = ends.next() => {
                let Some(beacon) = beacon else { return };
                connection.run(move |store| tell(store, &beacon)).await
            }
            _ = look.tick() => connection.run(move |store| hear(store, heard)).await.map(|beacons| {
                for (number, beacon) in beacons {
                    heard = number;
                    ends.pass_on(beacon);
                }
            }),
        };
        ends.flow(outcome.as_ref().map(drop));
    }
}

fn tell(store: &mut Store, beacon: &[u8]) -> Result<(), BrokerError> {
    let now = store::now();
    store.write(|file| {
        statements::end_expired_beacons(file, now)?;
        statements::tell(file, beacon, now + millis(EXPIRY))
    })
}

fn hear(store: &mut Store, after: i64) -> Result<Vec<(i64, Vec<u8>)>, BrokerError> {
    let now = store::now();
    store.read(|file| statements::hear(file, after, now))
}
