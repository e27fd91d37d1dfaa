//! The fleet's beacons as rows that expire: told by inserting one, heard by looking for new ones. It must not know what a
//! beacon says.

use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::connection::Connection;
use super::statements::{self, Told};
use super::store::{self, Store};
use super::turn::millis;
use crate::broker::BrokerError;
use crate::broker::fleet::{EXPIRY, Ends, Heard};

/// Between two looks for new rows.
const LOOK: Duration = Duration::from_millis(100);

/// Takes part until the worker leaves. What others told lately is heard at once.
pub async fn take_part(connection: Connection, mut ends: Ends) {
    let Some(first) = ends.next().await else { return };
    let me = fastrand::i64(..);
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut comes) = (0, Some(first));
    loop {
        let outcome = tokio::select! {
            _ = look.tick() => {
                let first = comes.clone();
                let looked = connection.run(move |store| match first {
                    Some(beacon) => come(store, me, &beacon),
                    None => hear(store, heard),
                });
                looked.await.map(|beacons| {
                    if comes.take().is_some() && beacons.iter().all(|beacon| beacon.left) {
                        ends.pass_on(Heard::Nobody);
                    }
                    for Told { number, body, .. } in beacons {
                        heard = number;
                        ends.pass_on(Heard::Beacon(body));
                    }
                })
            }
            beacon = ends.next(), if comes.is_none() => match beacon {
                Some(beacon) => connection.run(move |store| tell(store, me, &beacon)).await,
                None => {
                    if let Err(error) = connection.run(move |store| store.write(|file| statements::leave(file, me))).await {
                        tracing::debug!(%error, "the fleet was left without a word");
                    }
                    return;
                }
            },
        };
        ends.flow(outcome.as_ref().map(drop));
    }
}

/// Looks who is there and tells the first beacon, in one: of those that come together the first alone finds nobody.
fn come(store: &mut Store, member: i64, beacon: &[u8]) -> Result<Vec<Told>, BrokerError> {
    let now = store::now();
    store.write(|file| {
        let beacons = statements::hear(file, 0, now)?;
        statements::tell(file, member, beacon, now + millis(EXPIRY))?;
        Ok(beacons)
    })
}

fn tell(store: &mut Store, member: i64, beacon: &[u8]) -> Result<(), BrokerError> {
    let now = store::now();
    store.write(|file| {
        statements::end_expired_beacons(file, now)?;
        statements::tell(file, member, beacon, now + millis(EXPIRY))
    })
}

fn hear(store: &mut Store, after: i64) -> Result<Vec<Told>, BrokerError> {
    let now = store::now();
    store.read(|file| statements::hear(file, after, now))
}
