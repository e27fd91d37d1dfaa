//! What can go wrong in a campaign, and in which order it does. Drawn from a seed; nothing here carries it out.

use std::time::Duration;

use fastrand::Rng;

/// One thing that goes wrong. Workers and nodes are named by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    KillWorker(usize),
    /// An orderly stop and a start, as every release of a new version makes.
    RestartWorker(usize),
    /// It stands still for longer than its broker believes it alive.
    PauseWorker(usize, Duration),
    KillLeader,
    KillNode(usize),
    PauseNode(usize, Duration),
    /// The broker's disk is full, as it believes: it blocks whoever publishes.
    DiskAlarm(Duration),
    CutBroker,
    HalfCloseBroker,
    SilentBroker(usize, Duration),
    SlowBroker(Duration),
    CutApi,
    HalfCloseApi,
    SilentApi(Duration),
    SlowApi(Duration),
    /// Every node and every worker, one after the other.
    RollingRestart,
    /// The disk of the embedded broker's file is full indeed, until a worker says so, or for so long.
    DiskFull(Duration),
}

/// Everything that a cluster of three nodes and four workers has to live through, each node's crash included.
pub fn on_a_cluster(draws: &mut Rng) -> Vec<Trouble> {
    use Trouble::*;
    let mut worker = || draws.usize(..4);
    let mut troubles = vec![
        KillWorker(worker()),
        KillWorker(worker()),
        KillWorker(worker()),
        RestartWorker(worker()),
        RestartWorker(worker()),
        PauseWorker(worker(), Duration::from_secs(10)),
        SilentBroker(worker(), Duration::from_secs(10)),
        KillLeader,
        KillNode(0),
        KillNode(1),
        KillNode(2),
        PauseNode(draws.usize(..3), Duration::from_secs(8)),
        DiskAlarm(Duration::from_secs(6)),
        CutBroker,
        HalfCloseBroker,
        SlowBroker(Duration::from_secs(4)),
        CutApi,
        HalfCloseApi,
        SilentApi(Duration::from_secs(5)),
        SlowApi(Duration::from_secs(4)),
        RollingRestart,
    ];
    draws.shuffle(&mut troubles);
    troubles
}

/// The same for a single node and two workers, in less time.
pub fn on_a_node(draws: &mut Rng) -> Vec<Trouble> {
    use Trouble::*;
    let mut worker = || draws.usize(..2);
    let mut troubles = vec![
        KillWorker(worker()),
        RestartWorker(worker()),
        PauseWorker(worker(), Duration::from_secs(7)),
        KillNode(0),
        DiskAlarm(Duration::from_secs(2)),
        CutBroker,
        HalfCloseBroker,
        CutApi,
        SilentApi(Duration::from_secs(3)),
    ];
    draws.shuffle(&mut troubles);
    troubles
}

/// For the embedded broker: there is no network to it, but a disk.
pub fn on_a_file(draws: &mut Rng) -> Vec<Trouble> {
    use Trouble::*;
    let mut worker = || draws.usize(..2);
    let mut troubles = vec![
        KillWorker(worker()),
        KillWorker(worker()),
        KillWorker(worker()),
        RestartWorker(worker()),
        PauseWorker(worker(), Duration::from_secs(2)),
        DiskFull(Duration::from_secs(20)),
        CutApi,
        SilentApi(Duration::from_secs(3)),
    ];
    draws.shuffle(&mut troubles);
    troubles
}
