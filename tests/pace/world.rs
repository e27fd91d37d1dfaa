//! A world in virtual time: a queue of jobs, workers that come, go and crash, a bus that loses and delays their beacons,
//! and a server with a token bucket. The workers are the library's engine and pace, driven as the program drives them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bulkrelease::config::CallsPerSecond;
use bulkrelease::contract::Priority;
use bulkrelease::contract::{
    AccountName, Class, Evidence, GroupKey, InstanceId, Place, SubscriptionType, Token, Verdict,
};
use bulkrelease::engine::{CallKey, Engine, EngineSettings, JobKey, Moment, NewJob, Protection};
use bulkrelease::pace::{Beacon, DelayPolicy, Delays, Member, Pace, PaceSettings, Rhythm, Wait};

use super::batcher::Batcher;

/// How a worker makes batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Batching {
    /// When a permit is there.
    ByPermit,
    /// At 100 ids, or so long after the first.
    BySizeOrTime(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum End {
    Crash,
    Leave,
}

#[derive(Debug, Clone, Copy)]
pub struct Life {
    pub from: Moment,
    pub end: Option<(Moment, End)>,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub group: usize,
    pub ids: u32,
    pub at: Moment,
}

#[derive(Debug, Clone)]
pub struct World {
    pub seed: u64,
    pub configured: CallsPerSecond,
    pub burst: u32,
    /// What the server allows: from each moment on so many calls a second, strangers' already taken off.
    pub allowed: Vec<(Moment, f64)>,
    pub rhythm: Option<Rhythm>,
    pub lives: Vec<Life>,
    pub jobs: Vec<Job>,
    pub groups: usize,
    pub prefetch: usize,
    pub max_in_flight_calls: usize,
    pub batching: Batching,
    /// Milliseconds from a call to its answer.
    pub latency: Range<u64>,
    /// Milliseconds by which a worker wakes late.
    pub lateness: Range<u64>,
    /// Beacons lost in a thousand, and the milliseconds that the others take.
    pub lost: u64,
    pub delay: Range<u64>,
    pub until: Moment,
}

impl World {
    /// One worker, with nothing but the quota to hold it up.
    pub fn new(seed: u64, rate: f64, until: Moment) -> Self {
        Self {
            seed,
            configured: CallsPerSecond::Limited(rate),
            burst: 1,
            allowed: vec![(Duration::ZERO, rate)],
            rhythm: None,
            lives: vec![Life { from: Duration::ZERO, end: None }],
            jobs: Vec::new(),
            groups: 12,
            prefetch: 1000,
            max_in_flight_calls: 64,
            batching: Batching::ByPermit,
            latency: 40..260,
            lateness: 0..5,
            lost: 0,
            delay: 1..20,
            until,
        }
    }

    /// Jobs of 1 to `largest` ids that are all there from the start, of groups whose shares are skewed.
    pub fn backlog(mut self, ids: u64, largest: u32) -> Self {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        let mut left = ids;
        while left > 0 {
            let size = u64::from(random.u32(1..=largest)).min(left);
            self.jobs.push(Job { group: skewed(&mut random, self.groups), ids: size as u32, at: Duration::ZERO });
            left -= size;
        }
        self
    }

    /// Jobs that come at random moments, so many ids a second on average.
    pub fn stream(mut self, ids_per_second: f64, largest: u32, lasts: Moment) -> Self {
        let mut random = fastrand::Rng::with_seed(self.seed ^ 0x5eed);
        let mean = f64::from(1 + largest) / 2.0;
        let mut at = 0.0;
        loop {
            at += -random.f64().max(1e-12).ln() * mean / ids_per_second;
            if at >= lasts.as_secs_f64() {
                return self;
            }
            let (group, ids) = (skewed(&mut random, self.groups), random.u32(1..=largest));
            self.jobs.push(Job { group, ids, at: Duration::from_secs_f64(at) });
        }
    }

    /// The fewest calls that all jobs need.
    pub fn fewest(&self) -> u64 {
        let mut ids = vec![0_u64; self.groups];
        for job in &self.jobs {
            ids[job.group] += u64::from(job.ids);
        }
        ids.iter().map(|ids| ids.div_ceil(100)).sum()
    }

    pub fn run(self) -> Told {
        Run::new(self).run()
    }
}

/// The first groups have far more than the last.
fn skewed(random: &mut fastrand::Rng, groups: usize) -> usize {
    ((random.f64().powi(3) * groups as f64) as usize).min(groups - 1)
}

#[derive(Debug, Clone, Copy)]
pub struct Sent {
    pub at: Moment,
    pub ids: usize,
    pub waited: Duration,
}

/// What happened.
#[derive(Debug, Default)]
pub struct Told {
    pub sent: Vec<Sent>,
    /// When, and whether it was throttled.
    pub arrived: Vec<(Moment, bool)>,
    /// From a job's coming to its end.
    pub latencies: Vec<Duration>,
    pub finished_at: Moment,
    /// The quota as the oldest worker believes, every second.
    pub believed: Vec<(Moment, f64)>,
    /// Calls whose ids were called again since their worker crashed.
    pub orphans: u64,
}

#[derive(Debug)]
enum What {
    Jobs,
    Begin(usize),
    End(usize, End),
    Wake(usize, u64),
    Arrive { worker: usize, key: u64, herd: u64 },
    Answer { worker: usize, key: u64, throttled: Option<Duration>, herd: u64 },
    Hear(usize, Rc<Beacon>),
    Look,
}

/// Either way of making batches.
enum Heart {
    Engine { engine: Box<Engine>, calls: HashMap<u64, CallKey>, jobs: HashMap<JobKey, usize> },
    Batcher(Batcher),
}

struct Worker {
    heart: Heart,
    pace: Pace,
    me: Member,
    from: Moment,
    held: HashSet<usize>,
    alive: bool,
    leaving: bool,
    wake: u64,
    under_way: usize,
    /// Which life of it: answers to an earlier one reach nobody.
    herd: u64,
}

struct Run {
    world: World,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Moment, u64)>>,
    whats: HashMap<u64, What>,
    next: u64,
    queue: VecDeque<(usize, bool)>,
    coming: VecDeque<usize>,
    first_id: Vec<u64>,
    groups: Vec<Arc<GroupKey>>,
    workers: Vec<Option<Worker>>,
    tokens: f64,
    filled_at: Moment,
    open: usize,
    done: Vec<bool>,
    keys: u64,
    told: Told,
}

impl Run {
    fn new(world: World) -> Self {
        let groups = (0..world.groups).map(|number| Arc::new(group(number))).collect();
        let mut next_id = 0;
        let first_id = world
            .jobs
            .iter()
            .map(|job| {
                next_id += u64::from(job.ids);
                next_id - u64::from(job.ids)
            })
            .collect();
        let mut coming: Vec<usize> = (0..world.jobs.len()).collect();
        coming.sort_by_key(|job| world.jobs[*job].at);
        let allowed = world.allowed[0].1;
        Self {
            random: fastrand::Rng::with_seed(world.seed),
            events: BinaryHeap::new(),
            whats: HashMap::new(),
            next: 0,
            queue: VecDeque::new(),
            coming: coming.into(),
            first_id,
            groups,
            workers: world.lives.iter().map(|_| None).collect(),
            tokens: allowed.max(1.0),
            filled_at: Duration::ZERO,
            open: world.jobs.len(),
            done: vec![false; world.jobs.len()],
            keys: 0,
            told: Told::default(),
            world,
        }
    }

    fn run(mut self) -> Told {
        self.at(Duration::ZERO, What::Jobs);
        self.at(Duration::from_secs(1), What::Look);
        for worker in 0..self.world.lives.len() {
            let life = self.world.lives[worker];
            self.at(life.from, What::Begin(worker));
            if let Some((at, end)) = life.end {
                self.at(at, What::End(worker, end));
            }
        }
        while let Some(Reverse((now, number))) = self.events.pop()
            && now <= self.world.until
            && self.open > 0
        {
            if let Some(what) = self.whats.remove(&number) {
                self.happen(what, now);
            }
        }
        self.told
    }

    fn at(&mut self, moment: Moment, what: What) {
        self.next += 1;
        self.events.push(Reverse((moment, self.next)));
        self.whats.insert(self.next, what);
    }

    fn happen(&mut self, what: What, now: Moment) {
        match what {
            What::Jobs => {
                while let Some(job) = self.coming.front().copied().filter(|job| self.world.jobs[*job].at <= now) {
                    self.coming.pop_front();
                    self.queue.push_back((job, false));
                }
                if let Some(job) = self.coming.front() {
                    self.at(self.world.jobs[*job].at, What::Jobs);
                }
                self.deliver(now);
            }
            What::Begin(worker) => self.begin(worker, now),
            What::End(worker, End::Crash) => {
                if let Some(worker) = self.workers[worker].take() {
                    self.told.orphans += worker.under_way as u64;
                    self.give_back(worker.held.into_iter().collect(), now);
                }
            }
            What::End(worker, End::Leave) => {
                if let Some(it) = &mut self.workers[worker] {
                    it.leaving = true;
                    let about = it.pace.farewell(now.saturating_sub(it.from));
                    let beacon = Beacon::new(it.me.clone(), now - it.from, vec![about]);
                    self.spread(beacon, now);
                    self.leave(worker, now);
                }
            }
            What::Wake(worker, number) => {
                if self.workers[worker].as_ref().is_some_and(|worker| worker.wake == number) {
                    self.turn(worker, now);
                }
            }
            What::Arrive { worker, key, herd } => {
                let throttled = self.serve(now);
                self.told.arrived.push((now, throttled.is_some()));
                let back = Duration::from_millis(self.random.u64(self.world.latency.clone()) / 2);
                self.at(now + back, What::Answer { worker, key, throttled, herd });
            }
            What::Answer { worker, key, throttled, herd } => {
                let Some(it) = self.workers[worker].as_mut().filter(|worker| worker.herd == herd) else { return };
                it.learn(key, throttled, now);
                self.finish(worker, now);
                self.turn(worker, now);
                self.leave(worker, now);
            }
            What::Hear(worker, beacon) => {
                if let Some(it) = &mut self.workers[worker] {
                    it.pace.hear(&beacon, now - it.from);
                    self.turn(worker, now);
                }
            }
            What::Look => {
                if let Some(worker) = self.workers.iter().flatten().next() {
                    self.told.believed.push((now, worker.pace.quota()));
                }
                self.at(now + Duration::from_secs(1), What::Look);
            }
        }
    }

    fn begin(&mut self, worker: usize, now: Moment) {
        let world = &self.world;
        let policy = DelayPolicy {
            initial_interval: Duration::from_millis(500),
            multiplier: 2.0,
            max_interval: Duration::from_secs(30),
        };
        let settings = PaceSettings {
            account: AccountName::default(),
            calls_per_second: world.configured,
            burst: world.burst,
            max_in_flight_calls: world.max_in_flight_calls,
            fleet: world.rhythm,
        };
        let me = Member { born: 1_700_000_000_000 + now.as_millis() as u64, name: format!("worker-{worker}") };
        let heart = match world.batching {
            Batching::ByPermit => {
                Heart::Engine { engine: Box::new(engine()), calls: HashMap::new(), jobs: HashMap::new() }
            }
            Batching::BySizeOrTime(time) => Heart::Batcher(Batcher::new(time)),
        };
        let delays = Delays::new(policy, fastrand::Rng::with_seed(self.random.u64(..)));
        self.workers[worker] = Some(Worker {
            heart,
            pace: Pace::new(settings, me.clone(), delays, Duration::ZERO),
            me,
            from: now,
            held: HashSet::new(),
            alive: true,
            leaving: false,
            wake: 0,
            under_way: 0,
            herd: self.random.u64(..),
        });
        self.deliver(now);
        self.turn(worker, now);
    }

    /// Gives waiting jobs to whoever has room, in turn.
    fn deliver(&mut self, now: Moment) {
        let mut woken = HashSet::new();
        let count = self.workers.len();
        let (mut turn, mut full) = (self.random.usize(0..count), 0);
        while full < count && !self.queue.is_empty() {
            turn = (turn + 1) % count;
            let room = self.workers[turn]
                .as_ref()
                .is_some_and(|worker| worker.alive && !worker.leaving && worker.held.len() < self.world.prefetch);
            if !room {
                full += 1;
                continue;
            }
            full = 0;
            let Some((job, redelivered)) = self.queue.pop_front() else { break };
            self.admit(turn, job, redelivered, now);
            woken.insert(turn);
        }
        for worker in woken {
            self.wake(worker, now);
        }
    }

    fn admit(&mut self, worker: usize, job: usize, redelivered: bool, now: Moment) {
        let Job { group, ids, .. } = self.world.jobs[job];
        let ids = self.first_id[job]..self.first_id[job] + u64::from(ids);
        let Some(worker) = &mut self.workers[worker] else { return };
        match &mut worker.heart {
            Heart::Engine { engine, jobs, .. } => {
                let places =
                    ids.map(|id| (InstanceId::new(format!("i-{id:012x}")).expect("an id"), Place::default())).collect();
                let group = Arc::clone(&self.groups[group]);
                let new = NewJob {
                    group,
                    places,
                    redelivered,
                    dry_run: false,
                    priority: Priority::Normal,
                    first_came: Moment::MAX,
                    expires_at: None,
                    held_until: None,
                };
                jobs.insert(engine.admit(new, now - worker.from), job);
            }
            Heart::Batcher(batcher) => {
                batcher.admit(job, group, ids.end - ids.start, now - worker.from);
            }
        }
        worker.held.insert(job);
    }

    fn wake(&mut self, worker: usize, at: Moment) {
        let late =
            Duration::from_micros(self.random.u64(self.world.lateness.start * 1000..self.world.lateness.end * 1000));
        let number = self.next + 1;
        if let Some(it) = &mut self.workers[worker] {
            it.wake = number;
            self.at(at + late, What::Wake(worker, number));
        }
    }

    /// A turn of the worker's loop.
    fn turn(&mut self, worker: usize, now: Moment) {
        let Some(it) = &mut self.workers[worker] else { return };
        let own = now - it.from;
        let mut calls = Vec::new();
        let leaving = it.leaving;
        let mut held_up = leaving;
        while !held_up && it.heart.ready(own) {
            if it.under_way >= self.world.max_in_flight_calls {
                held_up = true;
                break;
            }
            match it.pace.take(own) {
                Ok(()) => {
                    self.keys += 1;
                    match it.heart.seal(self.keys, own) {
                        Some((ids, waited)) => {
                            it.under_way += 1;
                            calls.push(self.keys);
                            self.told.sent.push(Sent { at: now, ids, waited });
                        }
                        None => it.pace.forgo(),
                    }
                }
                Err(Wait::Until(_) | Wait::Event) => held_up = true,
            }
        }
        if !held_up {
            it.pace.rest(own);
        }
        let mut beacon = None;
        if !leaving && it.pace.beacon_at(own).is_some_and(|at| at <= own) {
            let about = it.pace.beacon(it.heart.need(), own);
            beacon = Some(Beacon::new(it.me.clone(), own, vec![about]));
        }
        let wakes_at =
            [it.heart.wakes_at(own), it.pace.wakes_at(own), it.pace.beacon_at(own)].into_iter().flatten().min();
        let (herd, from) = (it.herd, it.from);
        for key in calls {
            let there = Duration::from_millis(self.random.u64(self.world.latency.clone()) / 2);
            self.at(now + there, What::Arrive { worker, key, herd });
        }
        if let Some(beacon) = beacon {
            self.spread(beacon, now);
        }
        if let Some(at) = wakes_at {
            self.wake(worker, (from + at).max(now + Duration::from_micros(1)));
        }
    }

    fn spread(&mut self, beacon: Beacon, now: Moment) {
        let bytes = beacon.to_bytes();
        let beacon = Rc::new(Beacon::from_bytes(&bytes).expect("what was written is read"));
        for worker in 0..self.workers.len() {
            if self.workers[worker].is_none() || self.random.u64(0..1000) < self.world.lost {
                continue;
            }
            let delay = Duration::from_millis(self.random.u64(self.world.delay.clone()));
            self.at(now + delay, What::Hear(worker, Rc::clone(&beacon)));
        }
    }

    /// The server takes a call, or says how long until it would.
    fn serve(&mut self, now: Moment) -> Option<Duration> {
        let allowed = self.world.allowed.iter().rfind(|(from, _)| *from <= now).map_or(0.0, |(_, rate)| *rate);
        let capacity = allowed.max(1.0);
        self.tokens = (self.tokens + (now - self.filled_at).as_secs_f64() * allowed).min(capacity);
        self.filled_at = now;
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some(Duration::from_secs_f64((1.0 - self.tokens) / allowed))
    }

    fn finish(&mut self, worker: usize, now: Moment) {
        let Some(it) = &mut self.workers[worker] else { return };
        for job in it.heart.finished() {
            it.held.remove(&job);
            if !std::mem::replace(&mut self.done[job], true) {
                self.open -= 1;
                self.told.latencies.push(now - self.world.jobs[job].at);
                self.told.finished_at = now;
            }
        }
        self.deliver(now);
    }

    /// A worker that leaves gives back what it has once no call is under way.
    fn leave(&mut self, worker: usize, now: Moment) {
        if self.workers[worker].as_ref().is_some_and(|worker| worker.leaving && worker.under_way == 0)
            && let Some(worker) = self.workers[worker].take()
        {
            self.give_back(worker.held.into_iter().collect(), now);
        }
    }

    fn give_back(&mut self, mut jobs: Vec<usize>, now: Moment) {
        jobs.sort_unstable();
        for job in jobs.into_iter().rev() {
            self.queue.push_front((job, true));
        }
        self.deliver(now);
    }
}

impl Worker {
    fn learn(&mut self, key: u64, throttled: Option<Duration>, now: Moment) {
        let own = now - self.from;
        let class = if throttled.is_some() { Class::Throttled } else { Class::Released };
        let verdict = Verdict::of(class, Evidence::words("Code", "said"));
        self.under_way -= 1;
        self.pace.learn(&verdict, throttled, own);
        self.heart.verdict(key, &verdict, own);
    }
}

impl Heart {
    fn ready(&mut self, now: Moment) -> bool {
        match self {
            Self::Engine { engine, .. } => {
                engine.advance(now);
                engine.ready(now)
            }
            Self::Batcher(batcher) => batcher.ready(now),
        }
    }

    fn seal(&mut self, key: u64, now: Moment) -> Option<(usize, Duration)> {
        match self {
            Self::Engine { engine, calls, .. } => {
                let call = engine.seal(now)?;
                calls.insert(key, call.key);
                Some((call.batch.len(), call.waited))
            }
            Self::Batcher(batcher) => batcher.seal(key, now),
        }
    }

    fn verdict(&mut self, key: u64, verdict: &Verdict, now: Moment) {
        match self {
            Self::Engine { engine, calls, .. } => {
                engine.verdict(calls.remove(&key).expect("every answer has its call"), verdict, now)
            }
            Self::Batcher(batcher) => batcher.verdict(key, matches!(verdict, Verdict::Released(_))),
        }
    }

    fn finished(&mut self) -> Vec<usize> {
        match self {
            Self::Engine { engine, jobs, .. } => {
                engine.take_finished().into_iter().filter_map(|job| jobs.remove(&job.key)).collect()
            }
            Self::Batcher(batcher) => batcher.finished(),
        }
    }

    fn need(&self) -> u64 {
        match self {
            Self::Engine { engine, .. } => engine.waiting_calls() as u64,
            Self::Batcher(batcher) => batcher.waiting_calls(),
        }
    }

    fn wakes_at(&self, now: Moment) -> Option<Moment> {
        match self {
            Self::Engine { engine, .. } => engine.wakes_at(now),
            Self::Batcher(batcher) => batcher.wakes_at(now),
        }
    }
}

fn group(number: usize) -> GroupKey {
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
pub const OVERDUE_SHARE: u32 = 10;

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

impl Told {
    /// Calls that the server took, of those that arrived in a span.
    pub fn taken(&self, from: Moment, until: Moment) -> u64 {
        self.arrived.iter().filter(|(at, throttled)| (from..until).contains(at) && !throttled).count() as u64
    }

    /// The part of the calls that were throttled.
    pub fn throttled(&self, from: Moment, until: Moment) -> f64 {
        let calls: Vec<_> = self.arrived.iter().filter(|(at, _)| (from..until).contains(at)).collect();
        calls.iter().filter(|(_, throttled)| *throttled).count() as f64 / calls.len().max(1) as f64
    }

    /// The part of the permits that were used.
    pub fn used(&self, rate: f64, from: Moment, until: Moment) -> f64 {
        self.taken(from, until) as f64 / (rate * (until - from).as_secs_f64())
    }

    /// The most by which the calls of any window are more than its rate allows: what a bucket would have to hold.
    pub fn above(&self, rate: f64) -> f64 {
        let (mut lowest, mut most) = (f64::INFINITY, 0.0_f64);
        for (number, sent) in self.sent.iter().enumerate() {
            let ahead = number as f64 - sent.at.as_secs_f64() * rate;
            lowest = lowest.min(ahead);
            most = most.max(ahead + 1.0 - lowest);
        }
        most
    }

    /// The part of the calls that a bucket of that size would not have let go.
    pub fn excess(&self, rate: f64, size: f64) -> f64 {
        let (mut tokens, mut at, mut over) = (size, Duration::ZERO, 0);
        for sent in &self.sent {
            tokens = (tokens + (sent.at - at).as_secs_f64() * rate).min(size);
            at = sent.at;
            if tokens >= 1.0 { tokens -= 1.0 } else { over += 1 }
        }
        f64::from(over) / self.sent.len().max(1) as f64
    }

    pub fn percentile(&self, part: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        sorted
            .get(((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    pub fn calls(&self) -> u64 {
        self.sent.len() as u64
    }
}
