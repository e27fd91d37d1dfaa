//! A worker of a world: a heart that makes batches and the library's pace, joined as the program's lane joins them.

use std::collections::HashSet;
use std::time::Duration;

use bulkrelease::contract::{Class, Evidence, Verdict};
use bulkrelease::engine::Moment;
use bulkrelease::pace::{Beacon, Member, Pace, Wait};

use super::heart::{Heart, Sealed};

pub struct Worker {
    pub heart: Heart,
    pub pace: Pace,
    pub me: Member,
    /// Its own clock begins then.
    pub from: Moment,
    /// The jobs that were delivered to it.
    pub held: HashSet<usize>,
    pub leaving: bool,
    /// The one waking that counts.
    pub wake: u64,
    pub under_way: usize,
}

/// What comes of a turn of a worker's loop.
#[derive(Default)]
pub struct Turn {
    pub calls: Vec<(u64, Sealed)>,
    pub beacon: Option<Beacon>,
    pub wakes_at: Option<Moment>,
}

impl Worker {
    pub fn turn(&mut self, keys: &mut u64, max_in_flight_calls: usize, now: Moment) -> Turn {
        let own = now - self.from;
        let mut turn = Turn::default();
        let mut held_up = self.leaving;
        while !held_up && self.heart.ready(own) {
            held_up = self.under_way >= max_in_flight_calls;
            if held_up {
                break;
            }
            match self.pace.take(own) {
                Ok(()) => {
                    *keys += 1;
                    match self.heart.seal(*keys, own) {
                        Some(sealed) => {
                            self.under_way += 1;
                            turn.calls.push((*keys, sealed));
                        }
                        None => self.pace.forgo(),
                    }
                }
                Err(Wait::Until(_) | Wait::Event) => held_up = true,
            }
        }
        if !held_up {
            self.pace.rest(own);
        }
        if !self.leaving && self.pace.beacon_at(own).is_some_and(|at| at <= own) {
            let about = self.pace.beacon(self.heart.need(), own);
            turn.beacon = Some(Beacon::new(self.me.clone(), own, vec![about]));
        }
        let due = [self.heart.wakes_at(own), self.pace.wakes_at(own), self.pace.beacon_at(own)];
        turn.wakes_at = due.into_iter().flatten().min().map(|at| self.from + at);
        turn
    }

    /// Says that it goes.
    pub fn farewell(&mut self, now: Moment) -> Beacon {
        self.leaving = true;
        let own = now - self.from;
        Beacon::new(self.me.clone(), own, vec![self.pace.farewell(own)])
    }

    pub fn learn(&mut self, key: u64, throttled: Option<Duration>, now: Moment) {
        let own = now - self.from;
        let class = if throttled.is_some() { Class::Throttled } else { Class::Released };
        let verdict = Verdict::of(class, Evidence::words("Code", "said"));
        self.under_way -= 1;
        self.pace.learn(&verdict, throttled, own);
        self.heart.verdict(key, &verdict, own);
    }
}
