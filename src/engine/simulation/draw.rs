//! What a seed draws: how the engine is set, what the API gets wrong, and which ids a job asks for.

use std::collections::HashSet;
use std::time::Duration;

use fastrand::Rng;

use super::world::Faults;
use crate::contract::{Doubt, InstanceId, Open, Place};
use crate::engine::EngineSettings;

/// In one world of four the API fails never, and else in some of its ways.
pub fn faults(random: &mut Rng) -> Faults {
    let mut faults = Faults::NONE;
    if random.u8(0..4) > 0 {
        for share in [
            &mut faults.throttled,
            &mut faults.account,
            &mut faults.transient,
            &mut faults.ghost,
            &mut faults.lost,
            &mut faults.query_failed,
        ] {
            *share = if random.bool() { random.u16(0..200) } else { 0 };
        }
    }
    faults
}

/// `atomic`: whether the API is, so that the settings may vouch for it.
pub fn settings(atomic: bool, random: &mut Rng) -> EngineSettings {
    let attempts_in_process = random.u32(1..5);
    EngineSettings {
        linger: Duration::from_millis(random.u64(0..50)),
        max_wait: Duration::from_millis(random.u64(50..5000)),
        head_start: Duration::from_millis(random.u64(0..5000)),
        overdue_share: random.u32(1..12),
        split_budget: random.u32(1..40),
        attempts_in_process,
        max_attempts: random.u32(attempts_in_process..12),
        max_age: Duration::from_millis(random.u64(1000..60_000)),
        atomic: atomic && random.bool(),
        read_back: random.bool(),
    }
}

/// A job's ids, each once, out of so few that jobs share them. An id's first letter says what the API makes of it. One job in
/// ten tells of suspects.
pub fn places(random: &mut Rng) -> Vec<(InstanceId, Place)> {
    let size = if random.u8(0..10) == 0 { random.usize(1..350) } else { random.usize(1..20) };
    let told = random.u8(0..10) == 0;
    let mut seen = HashSet::new();
    let ids: Vec<_> = (0..size).map(|_| id(random)).filter(|id| seen.insert(id.clone())).collect();
    let open = |id| {
        let doubt = if told && random.bool() { Doubt::Unknown } else { Doubt::None };
        (id, Place::Open(Open { doubt, ..Open::default() }))
    };
    ids.into_iter().map(open).collect()
}

fn id(random: &mut Rng) -> InstanceId {
    let kind = match random.u8(0..100) {
        0 => "g",
        1 => "f",
        2 => "u",
        3 => "p",
        _ => "i",
    };
    InstanceId::new(format!("{kind}{}", random.u32(0..2000))).unwrap()
}
