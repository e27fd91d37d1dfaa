//! How a world turns: its events in the order of their moments. It must not judge what comes of them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bulkrelease::contract::AccountName;
use bulkrelease::engine::Moment;
use bulkrelease::pace::{Beacon, DelayPolicy, Delays, Member, Pace, PaceSettings};

use super::heart::Heart;
use super::server::Server;
use super::told::{Sent, Told};
use super::worker::Worker;
use super::{Batching, End, Job, World};

#[derive(Debug)]
enum What {
    Jobs,
    Begin(usize),
    End(usize, End),
    Wake(usize, u64),
    Arrive { worker: usize, key: u64 },
    Answer { worker: usize, key: u64, throttled: Option<Duration> },
    Hear(usize, Rc<Beacon>),
    Look,
}

pub struct Run {
    world: World,
    random: fastrand::Rng,
    events: BinaryHeap<Reverse<(Moment, u64)>>,
    whats: HashMap<u64, What>,
    next: u64,
    /// Jobs that wait in the broker, and whether a worker had them before.
    queue: VecDeque<(usize, bool)>,
    coming: VecDeque<usize>,
    first_id: Vec<u64>,
    /// One for each life.
    workers: Vec<Option<Worker>>,
    server: Server,
    open: usize,
    done: Vec<bool>,
    keys: u64,
    told: Told,
}

impl Run {
    pub fn new(world: World) -> Self {
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
        Self {
            random: fastrand::Rng::with_seed(world.seed),
            events: BinaryHeap::new(),
            whats: HashMap::new(),
            next: 0,
            queue: VecDeque::new(),
            coming: coming.into(),
            first_id,
            workers: world.lives.iter().map(|_| None).collect(),
            server: Server::new(world.allowed.clone()),
            open: world.jobs.len(),
            done: vec![false; world.jobs.len()],
            keys: 0,
            told: Told::default(),
            world,
        }
    }

    pub fn run(mut self) -> Told {
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
                    let beacon = it.farewell(now);
                    self.spread(worker, beacon, now);
                    self.leave(worker, now);
                }
            }
            What::Wake(worker, number) => {
                if self.workers[worker].as_ref().is_some_and(|worker| worker.wake == number) {
                    self.turn(worker, now);
                }
            }
            What::Arrive { worker, key } => {
                let throttled = self.server.serve(now);
                self.told.arrived.push((now, throttled.is_some()));
                let back = Duration::from_millis(self.random.u64(self.world.latency.clone()) / 2);
                self.at(now + back, What::Answer { worker, key, throttled });
            }
            What::Answer { worker, key, throttled } => {
                let Some(it) = &mut self.workers[worker] else { return };
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
        let delays = Delays::new(policy, fastrand::Rng::with_seed(self.random.u64(..)));
        let mut pace = Pace::new(settings, me.clone(), delays, Duration::ZERO);
        if self.workers.iter().all(Option::is_none) {
            pace.alone(Duration::ZERO);
        }
        self.workers[worker] = Some(Worker {
            heart: match world.batching {
                Batching::ByPermit => Heart::by_permit(),
                Batching::BySizeOrTime(time) => Heart::by_size_or_time(time),
            },
            pace,
            me,
            from: now,
            held: HashSet::new(),
            leaving: false,
            wake: 0,
            under_way: 0,
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
            let room = |worker: &Worker| !worker.leaving && worker.held.len() < self.world.prefetch;
            if !self.workers[turn].as_ref().is_some_and(room) {
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
        if let Some(worker) = &mut self.workers[worker] {
            worker.heart.admit(job, group, ids, redelivered, now - worker.from);
            worker.held.insert(job);
        }
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

    fn turn(&mut self, worker: usize, now: Moment) {
        let Some(it) = &mut self.workers[worker] else { return };
        let turn = it.turn(&mut self.keys, self.world.max_in_flight_calls, now);
        for (key, batch) in turn.calls {
            self.told.sent.push(Sent { at: now, worker, batch });
            let there = Duration::from_millis(self.random.u64(self.world.latency.clone()) / 2);
            self.at(now + there, What::Arrive { worker, key });
        }
        if let Some(beacon) = turn.beacon {
            self.spread(worker, beacon, now);
        }
        if let Some(at) = turn.wakes_at {
            self.wake(worker, at.max(now + Duration::from_micros(1)));
        }
    }

    fn spread(&mut self, from: usize, beacon: Beacon, now: Moment) {
        let bytes = beacon.to_bytes();
        let beacon = Rc::new(Beacon::from_bytes(&bytes).expect("what was written is read"));
        for worker in 0..self.workers.len() {
            let cut = self.world.cuts.iter().any(|cut| cut.parts(from, worker, now));
            if self.workers[worker].is_none() || cut || self.random.u64(0..1000) < self.world.lost {
                continue;
            }
            let delay = Duration::from_millis(self.random.u64(self.world.delay.clone()));
            self.at(now + delay, What::Hear(worker, Rc::clone(&beacon)));
        }
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
