//! What a sandbox remembers, and the one decision that each call needs: what it does, and how it is answered. Pure but
//! for what it remembers: the time is the caller's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::accounts::Keys;
use super::call::{Action, Call};
use super::delivery::Answer;
use super::faults::{FaultAnswer, FaultRule, Faults, draws_of};
use super::gateway::Caller;
use super::inventory::Inventory;
use super::latency;
use super::ledger::{CallRecord, Ledger};
use super::nonces::Nonces;
use super::operations::{Effect, World, violation};
use super::quota::Quota;
use super::refusal::Refusal;
use super::settings::{InvalidSettings, SandboxSettings};

/// What never changes while a sandbox runs.
pub(super) struct Fixed {
    pub settings: SandboxSettings,
    pub keys: Keys,
    pub inventory: Inventory,
}

pub(super) struct State {
    started: Instant,
    /// By access key.
    nonces: Vec<Nonces>,
    /// By parent account.
    quotas: Vec<Quotas>,
    pub faults: Faults,
    pub ledger: Ledger,
}

/// An account's quotas: each operation has its own.
struct Quotas {
    release: Option<Quota>,
    query: Option<Quota>,
}

/// How a request is answered, and after how long.
pub(super) struct Decision {
    pub request_id: Uuid,
    pub answer: Answer,
    pub delay: Duration,
}

impl Quotas {
    fn of(&mut self, action: Action) -> Option<&mut Quota> {
        match action {
            Action::ReleaseInstance => self.release.as_mut(),
            Action::QueryAvailableInstances => self.query.as_mut(),
        }
    }
}

impl Fixed {
    pub(super) fn new(settings: SandboxSettings) -> Result<Self, InvalidSettings> {
        settings.check()?;
        let (keys, inventory) = (Keys::new(&settings), Inventory::new(&settings)?);
        Ok(Self { settings, keys, inventory })
    }
}

impl State {
    pub(super) fn new(fixed: &Fixed, now: Instant, wall_clock: Timestamp) -> Self {
        let Fixed { settings, keys, .. } = fixed;
        let quota = |own: Option<f64>| own.or(settings.calls_per_second).map(|rate| Quota::new(rate, now));
        let quotas = settings.accounts.values().map(|account| account.calls_per_second);
        let quotas = quotas.map(|rate| Quotas { release: quota(rate), query: quota(rate) });
        Self {
            started: now,
            nonces: (0..keys.len()).map(|_| Nonces::new(now)).collect(),
            quotas: quotas.collect(),
            faults: Faults::new(&settings.faults),
            ledger: Ledger::new(wall_clock),
        }
    }

    /// Decides what a call does and does it, unless the request is a replay.
    ///
    /// The quota comes before everything that the call itself is about, and throttled calls don't use it up (judged). A
    /// fault strikes what the quota let through. Whatever then becomes of a call, ids that no careful client sends are held
    /// against it.
    pub(super) fn decide(&mut self, fixed: &Fixed, caller: &Caller<'_>, call: Call, now: Instant) -> Decision {
        let Fixed { settings, keys, inventory } = fixed;
        if !self.nonces[caller.key].is_first_use(caller.nonce, now) {
            let refusal = Refusal::bad_request("SignatureNonceUsed", "Specified signature nonce was used already.");
            return self.turn_away(settings, refusal);
        }
        let key = keys.get(caller.key);
        let number = self.ledger.calls.len() as u64;
        let mut draws = draws_of(settings.seed, number);
        let at = now.saturating_duration_since(self.started);
        let violation = violation(&call).is_some();
        let quota = self.quotas[key.account_index].of(caller.action);
        let permit = quota.map_or(Ok(()), |quota| quota.take(now));
        let fault = permit.ok().and_then(|()| self.faults.strike(&call, at, &mut draws));
        let lands = permit.is_ok() && fault.as_ref().is_none_or(FaultRule::takes_effect);
        let effect = lands.then(|| {
            let released = &mut self.ledger.released;
            let mut world = World { inventory, released, atomic: settings.atomic, name_ids: settings.name_ids };
            world.carry_out(key, &call, number)
        });
        let (honest, released) = effect.map(|Effect { reply, released }| (reply, released)).unzip();
        let answer = match (permit, &fault, honest) {
            (Err(wait), ..) => Answer::refused(Refusal::throttled(settings.retry_after.then_some(wait))),
            (Ok(()), Some(fault), honest) => fault.told(honest, caller.action, settings.retry_after),
            (Ok(()), None, Some(honest)) => Answer::Whole(honest),
            // What neither quota nor fault strikes is carried out.
            (Ok(()), None, None) => Answer::refused(Refusal::internal_error()),
        };
        let request_id = Uuid::new_v4();
        let record = CallRecord {
            at,
            request_id,
            account: Arc::clone(&key.account),
            access_key: Arc::clone(&key.id),
            call,
            code: answer.reply().map(|reply| reply.code().to_owned()),
            fault: fault.as_ref().map(|fault| fault.answer),
            released: released.unwrap_or_default(),
        };
        self.ledger.record(record, violation);
        let delay = match &fault {
            Some(FaultRule { answer: FaultAnswer::Hang, hang_for, .. }) => *hang_for,
            Some(FaultRule { latency: Some(median), latency_p99, .. }) => {
                latency::draw(*median, *latency_p99, &mut draws)
            }
            _ => latency::draw(settings.latency, settings.latency_p99, &mut draws),
        };
        Decision { request_id, answer, delay }
    }

    /// Refuses a request of nobody known.
    pub(super) fn turn_away(&mut self, settings: &SandboxSettings, refusal: Refusal) -> Decision {
        self.ledger.counts.unauthentic += 1;
        Decision { request_id: Uuid::new_v4(), answer: Answer::refused(refusal), delay: settings.latency }
    }
}
