//! Either way of making batches: the library's engine, or the usual batcher. It must not know of permits.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bulkrelease::contract::{AccountName, GroupKey, InstanceId, Place, Priority, SubscriptionType, Token, Verdict};
use bulkrelease::engine::{CallKey, Engine, EngineSettings, JobKey, Moment, NewJob, Protection};

use super::batcher::Batcher;

/// A batch that a permit was spent on.
#[derive(Debug, Clone, Copy)]
pub struct Sealed {
    pub group: usize,
    pub ids: usize,
    pub waited: Duration,
}

/// Either way of making batches.
pub enum Heart {
    Engine { engine: Box<Engine>, calls: HashMap<u64, CallKey>, jobs: HashMap<JobKey, usize> },
    Batcher(Batcher),
}

impl Heart {
    pub fn by_permit() -> Self {
        Self::Engine { engine: Box::new(engine()), calls: HashMap::new(), jobs: HashMap::new() }
    }

    pub fn by_size_or_time(time: Duration) -> Self {
        Self::Batcher(Batcher::new(time))
    }

    /// Takes a job: its ids are numbers that no other job has.
    pub fn admit(&mut self, job: usize, group: usize, ids: Range<u64>, redelivered: bool, now: Moment) {
        match self {
            Self::Engine { engine, jobs, .. } => {
                let id = |number| InstanceId::new(format!("i-{number:012x}")).expect("an id");
                let new = NewJob {
                    group: Arc::new(key(group)),
                    places: ids.map(|number| (id(number), Place::default())).collect(),
                    redelivered,
                    dry_run: false,
                    priority: Priority::Normal,
                    first_came: Moment::MAX,
                    expires_at: None,
                    held_until: None,
                };
                jobs.insert(engine.admit(new, now), job);
            }
            Self::Batcher(batcher) => batcher.admit(job, group, ids.end - ids.start, now),
        }
    }

    pub fn ready(&mut self, now: Moment) -> bool {
        match self {
            Self::Engine { engine, .. } => {
                engine.advance(now);
                engine.ready(now)
            }
            Self::Batcher(batcher) => batcher.ready(now),
        }
    }

    pub fn seal(&mut self, key: u64, now: Moment) -> Option<Sealed> {
        match self {
            Self::Engine { engine, calls, .. } => {
                let call = engine.seal(now)?;
                calls.insert(key, call.key);
                let group = number(call.batch.group());
                Some(Sealed { group, ids: call.batch.len(), waited: call.waited })
            }
            Self::Batcher(batcher) => batcher.seal(key, now),
        }
    }

    pub fn verdict(&mut self, key: u64, verdict: &Verdict, now: Moment) {
        match self {
            Self::Engine { engine, calls, .. } => {
                engine.verdict(calls.remove(&key).expect("every answer has its call"), verdict, now)
            }
            Self::Batcher(batcher) => batcher.verdict(key, matches!(verdict, Verdict::Released(_))),
        }
    }

    pub fn finished(&mut self) -> Vec<usize> {
        match self {
            Self::Engine { engine, jobs, .. } => {
                engine.take_finished().into_iter().filter_map(|job| jobs.remove(&job.key)).collect()
            }
            Self::Batcher(batcher) => batcher.finished(),
        }
    }

    pub fn need(&self) -> u64 {
        match self {
            Self::Engine { engine, .. } => engine.waiting_calls() as u64,
            Self::Batcher(batcher) => batcher.waiting_calls(),
        }
    }

    pub fn wakes_at(&self, now: Moment) -> Option<Moment> {
        match self {
            Self::Engine { engine, .. } => engine.wakes_at(now),
            Self::Batcher(batcher) => batcher.wakes_at(now),
        }
    }
}

/// A group's name is its number.
fn number(group: &GroupKey) -> usize {
    group.product_code.as_str().trim_start_matches("product").parse().expect("a number")
}

fn key(number: usize) -> GroupKey {
    GroupKey {
        account: AccountName::default(),
        product_code: Token::new(&format!("product{number}")).expect("a token"),
        subscription_type: SubscriptionType::PayAsYouGo,
        product_type: None,
        region: None,
        renew_status: None,
    }
}

/// The settings' own defaults.
pub const MAX_WAIT: Duration = Duration::from_secs(10);
pub const OVERDUE_SHARE: u32 = 25;

fn engine() -> Engine {
    let settings = EngineSettings {
        linger: Duration::from_millis(20),
        max_wait: MAX_WAIT,
        head_start: Duration::from_secs(75),
        overdue_share: OVERDUE_SHARE,
        split_budget: 32,
        attempts_in_process: 3,
        max_attempts: 20,
        max_age: Duration::from_secs(86_400),
        atomic: true,
        read_back: false,
    };
    let delays = Box::new(|attempt| Duration::from_millis(100 * u64::from(attempt)));
    Engine::new(settings, Protection::new([]).expect("nothing is protected"), delays)
}
