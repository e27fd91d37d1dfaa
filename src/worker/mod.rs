//! The loop that joins the rooms: take deliveries in, spend permits on batches, learn verdicts, answer finished jobs.
//!
//! ```text
//! broker ──delivery──> intake ──job──> lane.engine ──(permit)──> call ──> verdict ──> lane.engine ──> reply ──> broker
//!    ^                                                                                     '──> postpone ──> retry queue
//!    '─────────────────────────────────────── remainder <──────────────────────────────────────────────────────'
//! ```
//!
//! One task owns all of it, so no state is shared; only the calls themselves run beside it.

mod begin;
mod call;
mod change;
mod cost;
mod drain;
mod fleet;
mod intake;
mod lane;
mod let_go;
mod postpone;
mod queued;
mod read_back;
mod reply;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub use begin::WorkerError;
pub use change::Change;
pub use drain::Summary;

use call::Answered;
use intake::{Arrival, Bounds, Intake, Standing, is_remainder};
use lane::Lane;
use postpone::PostponedLately;
use queued::{Depth, Mix, Queued};
use reply::{Ending, Held, since};

use crate::broker::{Broker, Delivery, DeliveryTag, Event, Fleet, Publication, Queue, Settlement, Subscription};
use crate::config::Settings;
use crate::contract::AccountName;
use crate::engine::{JobKey, Moment};
use crate::ops::events::{DeliverySettled, JobReceived, ResultConfirmed, WorkerStands};
use crate::ops::trace::{JobSpan, JobSpans, Tracer};
use crate::ops::{Metrics, Vitals};
use crate::pace::Member;

/// Events taken from the broker at a time, before permits are looked at again.
const EVENTS_AT_A_TIME: usize = 512;

/// How often the loop says how it stands, whatever happens.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// A delivery whose job the engine has.
type Admitted = HashMap<(AccountName, JobKey), Held>;

pub struct Worker {
    settings: Settings,
    lanes: BTreeMap<AccountName, Lane>,
    me: Member,
    fleet: Option<Fleet>,
    /// A held account was called in vain since a job was last taken.
    probed: bool,
    /// Whether it was said that a beacon can't be read.
    beacon_unread: bool,
    changes: Option<mpsc::Receiver<Change>>,
    /// The jobs that wait in the broker, and what came of them lately.
    queued: Queued,
    mix: Mix,
    jobs: Admitted,
    pending_bytes: usize,
    /// Deliveries beyond the bounds on pending ids and bytes, and when they came; as many as the prefetch at most.
    waiting: VecDeque<(Arrival, Delivery)>,
    /// Deliveries of which everything is on its way to the broker.
    unconfirmed: HashMap<DeliveryTag, (Owed, JobSpan)>,
    calls: JoinSet<Answered>,
    started: Instant,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    vitals: Arc<Vitals>,
    summary: Summary,
    postponed_lately: PostponedLately,
}

/// What a delivery's settlement brings.
#[derive(Debug, Clone, Copy)]
enum Owed {
    /// A result, for which the job waits since then.
    Result {
        since: Timestamp,
    },
    Remainder,
    /// Of a body that is no job, and so has no result.
    DeadLetter,
}

/// How often what happens all the time is spoken of.
const LATELY: Duration = Duration::from_secs(60);

impl Worker {
    /// What it is called in results, dead letters and traces.
    pub fn name(&self) -> &str {
        &self.me.name
    }

    /// The same worker, traced.
    pub fn traced(self, tracer: Tracer) -> Self {
        Self { tracer, ..self }
    }

    /// Works until `stop` resolves, then drains. Says what it did.
    pub async fn run(mut self, broker: &dyn Broker, stop: impl Future<Output = ()>) -> Summary {
        let mut subscription = broker.subscribe(Queue::Jobs, self.settings.broker.prefetch);
        self.join_fleet(broker);
        let mut depth = Depth::of(broker, &self.settings.retry.steps);
        let mut stop = pin!(stop);
        let mut events = Vec::with_capacity(EVENTS_AT_A_TIME);
        let mut report = tokio::time::interval(REPORT_EVERY);
        report.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wakes_at = self.turn(&subscription);
            tokio::select! {
                biased;
                () = &mut stop => break,
                // First among the steady sources: a busy queue must not starve the deadline of a batch.
                () = sleep_until(wakes_at) => {}
                Some(answered) = self.calls.join_next() => self.learn(answered),
                heard = fleet::heard(&mut self.fleet) => self.hear_fleet(&heard),
                _ = report.tick() => self.report(&subscription, None),
                change = change::next(&mut self.changes) => {
                    self.change(change);
                    self.join_fleet(broker);
                }
                queued = depth.next() => self.queued = queued,
                count = subscription.events.recv_many(&mut events, EVENTS_AT_A_TIME) => {
                    if count == 0 {
                        tracing::error!("the broker's subscription has ended: stopping");
                        break;
                    }
                    for event in events.drain(..) {
                        self.hear(event);
                    }
                }
            }
        }
        self.drain(subscription).await
    }

    /// Takes in what there is room for, spends permits and answers finished jobs; returns when to come again at the latest.
    fn turn(&mut self, subscription: &Subscription) -> Option<Instant> {
        let now = self.now();
        while let Some((arrival, _)) = self.waiting.front()
            && let room = self.has_room()
            && (room || arrival.held_until <= now)
            && let Some((arrival, delivery)) = self.waiting.pop_front()
        {
            self.take_in(delivery, arrival, room, subscription);
        }
        let given_up_at = self.waiting.front().map(|(arrival, _)| arrival.held_until);
        let mut wakes_at = given_up_at.into_iter().chain(self.tell_fleet(now)).min();
        let jobs = &self.jobs;
        for (account, lane) in &mut self.lanes {
            let span_of = |key| jobs.get(&(account.clone(), key)).map(|held| &held.span);
            let spans = JobSpans { tracer: &self.tracer, of: &span_of };
            lane.call_what_may_go(now, &mut self.calls, spans, &self.metrics);
            wakes_at = wakes_at.into_iter().chain(lane.wakes_at(now)).min();
        }
        self.answer_finished(subscription);
        self.send_on_postponed(None, subscription);
        wakes_at.map(|at| self.started + at)
    }

    fn answer_finished(&mut self, subscription: &Subscription) {
        let mut finished = Vec::new();
        for (account, lane) in &mut self.lanes {
            finished.extend(lane.engine.take_finished().into_iter().map(|job| (account.clone(), job)));
        }
        for (account, job) in finished {
            let Some(held) = self.jobs.remove(&(account, job.key)) else { continue };
            self.pending_bytes -= held.bytes;
            let first_failure = job.first_failure.map(|at| self.at(at));
            self.answer(held, Ending::worked(job, first_failure), subscription);
        }
    }

    fn answer(&mut self, held: Held, ending: Ending, subscription: &Subscription) {
        self.summary.count(&ending);
        let publications = held.reply(ending, &self.me.name, &self.metrics);
        let since = held.since();
        self.settle(held.tag, publications, Owed::Result { since }, held.span, subscription);
    }

    fn settle(
        &mut self,
        tag: DeliveryTag,
        publications: Vec<Publication>,
        owed: Owed,
        span: JobSpan,
        subscription: &Subscription,
    ) {
        self.unconfirmed.insert(tag, (owed, span));
        subscription.settle(Settlement::Finish { tag, publications });
    }

    fn learn(&mut self, answered: Result<Answered, tokio::task::JoinError>) {
        let now = self.now();
        match answered {
            Ok(answered) => {
                self.summary.count_call(answered.kind);
                if let Some(lane) = self.lanes.get_mut(&answered.account) {
                    lane.learn(answered, now, &self.metrics);
                    self.probed |= lane.standing() == Standing::Held;
                }
            }
            // A call catches its own panics, and nobody cancels one.
            Err(error) => tracing::error!(%error, "a call was lost: its batch waits until the worker restarts"),
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Delivery(delivery) => {
                let arrival = Arrival::new(self.now(), self.settings.worker.max_hold);
                self.waiting.push_back((arrival, delivery));
            }
            Event::Settled(tag) => {
                DeliverySettled { tag }.emit();
                if let Some((Owed::Result { since }, _)) = self.unconfirmed.remove(&tag) {
                    let waited = Timestamp::now().duration_since(since);
                    ResultConfirmed { since_enqueued: Duration::try_from(waited).unwrap_or_default() }
                        .emit(&self.metrics);
                }
            }
            Event::SessionLost { session, reason } => self.lose(session, &reason),
        }
    }

    /// Without room only what ends at once is begun; the rest goes on as it came.
    fn take_in(&mut self, mut delivery: Delivery, arrival: Arrival, room: bool, subscription: &Subscription) {
        let remainder = is_remainder(&delivery.message);
        let (tag, redelivered) = (delivery.tag, delivery.redelivered);
        let job = delivery.message.properties.message_id.as_deref().unwrap_or("unnamed");
        JobReceived { job, tag, redelivered, remainder }.emit(&self.metrics);
        self.summary.received += 1;
        let now = self.now();
        let lanes = &self.lanes;
        let bounds = Bounds { settings: &self.settings.worker, accounts: &|name| lanes.get(name).map(Lane::standing) };
        let span = self.tracer.job(&mut delivery, now.saturating_sub(arrival.at));
        match bounds.take(delivery, arrival, span) {
            Intake::Malformed { message, explanation, span } => {
                self.summary.malformed += 1;
                span.failed("Malformed");
                let publications = span
                    .log()
                    .in_scope(|| reply::malformed(message, explanation, arrival.on, &self.me.name, &self.metrics));
                self.settle(tag, publications, Owed::DeadLetter, span, subscription);
            }
            Intake::Answered(held, ending) => self.answer(held, ending, subscription),
            Intake::Admitted(held, job) if !(room || job.ends_at_once(now)) => self.park(held, job, subscription),
            Intake::Admitted(held, job) => {
                let account = held.job.group.account.clone();
                if self.mix.add() {
                    self.lanes.values_mut().for_each(Lane::halve_part);
                }
                if let Some(lane) = self.lanes.get_mut(&account) {
                    self.probed = false;
                    let key = lane.admit(job, now);
                    self.pending_bytes += held.bytes;
                    self.jobs.insert((account, key), held);
                }
            }
        }
    }

    /// The bounds on what is pending; a job that alone is beyond them is taken when nothing else is.
    fn has_room(&self) -> bool {
        let ids: usize = self.lanes.values().map(|lane| lane.engine.pending_ids()).sum();
        let worker = &self.settings.worker;
        // A job that is taken for a held account makes way for others, and there are none: one for each probe is enough.
        let in_vain = !self.probed && self.lanes.values().all(|lane| lane.standing() == Standing::Held);
        let within = ids < worker.max_pending_ids && self.pending_bytes < worker.max_pending_bytes;
        self.jobs.is_empty() || (within && !in_vain)
    }

    fn report(&mut self, subscription: &Subscription, stopping: Option<&str>) {
        let now = self.now();
        let mut problems: Vec<String> = self.lanes.values().filter_map(Lane::problem).collect();
        problems.extend(stopping.map(str::to_owned));
        let health = subscription.health.borrow();
        if !(health.consuming && health.publishing) {
            problems.push(format!("broker: {}", health.problem));
        }
        self.vitals.turned(problems);
        WorkerStands { held: self.waiting.len() + self.jobs.len() + self.unconfirmed.len(), oldest: self.oldest_job() }
            .emit(&self.metrics);
        let queued = Queued { ready: self.queued.ready + self.waiting.len() as u64, ..self.queued };
        for lane in self.lanes.values_mut() {
            lane.report(queued, &self.mix, now, &self.metrics);
        }
        self.postponed_lately.report(now);
    }

    /// The age of the oldest job that is worked on or waits for room. The queue gives the oldest first, so nothing in it is
    /// much older.
    fn oldest_job(&self) -> Duration {
        let waiting = self.waiting.iter().map(|(arrival, delivery)| since(&delivery.message.properties, arrival.on));
        let oldest = self.jobs.values().map(Held::since).chain(waiting).min();
        oldest.and_then(|since| Duration::try_from(Timestamp::now().duration_since(since)).ok()).unwrap_or_default()
    }

    fn now(&self) -> Moment {
        self.started.elapsed()
    }

    /// A moment on the wall clock.
    fn at(&self, moment: Moment) -> Timestamp {
        let ago = self.now().saturating_sub(moment);
        Timestamp::now().checked_sub(ago).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
