//! What a sandbox remembers, and the one decision that each call needs: what it does, and how it is answered. Pure but
//! for what it remembers: the time is the caller's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::accounts::Keys;
use super::answer::Reply;
use super::call::Call;
use super::faults::{FaultAnswer, FaultRule, Faults, draws_of};
use super::gateway::Caller;
use super::inventory::Inventory;
use super::latency;
use super::ledger::{CallRecord, Ledger};
use super::nonces::Nonces;
use super::operations::{Effect, World};
use super::quota::Quota;
use super::refusal::Refusal;
use super::settings::{InvalidSettings, SandboxSettings};

/// What a throttled caller is told to wait where no quota says it.
const A_SECOND: Duration = Duration::from_secs(1);

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
    /// By parent account, and of each its operations: quotas are counted for each.
    quotas: Vec<[Option<Quota>; 2]>,
    pub faults: Faults,
    pub ledger: Ledger,
}

/// How a request is answered, and after how long.
pub(super) struct Decision {
    pub request_id: Uuid,
    /// `None` where a fault sends something else than the API's JSON.
    pub reply: Option<Reply>,
    pub fault: Option<FaultRule>,
    pub delay: Duration,
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
        let quotas = settings.accounts.values().map(|account| [0, 1].map(|_| quota(account.calls_per_second)));
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
    /// fault strikes what the quota let through.
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
        let quota = &mut self.quotas[key.account_index][caller.action as usize];
        let permit = quota.as_mut().map_or(Ok(()), |quota| quota.take(now));
        let fault = permit.ok().and_then(|()| self.faults.strike(&call, at, &mut draws));
        let lands = permit.is_ok() && fault.as_ref().is_none_or(FaultRule::takes_effect);
        let effect = lands.then(|| {
            let released = &mut self.ledger.released;
            let mut world = World { inventory, released, atomic: settings.atomic, name_ids: settings.name_ids };
            world.carry_out(key, &call, number)
        });
        let (honest, released, violation) = match effect {
            Some(Effect { reply, released, violation }) => (Some(reply), released, violation),
            None => (None, Vec::new(), false),
        };
        let reply = match (permit, &fault) {
            (Err(wait), _) => Some(Reply::Refused(Refusal::throttled(settings.retry_after.then_some(wait)))),
            (Ok(()), Some(fault)) => fault.answer.told(honest, settings.retry_after),
            (Ok(()), None) => honest,
        };
        let request_id = Uuid::new_v4();
        let record = CallRecord {
            at,
            request_id,
            account: Arc::clone(&key.account),
            access_key: Arc::clone(&key.id),
            call: Arc::new(call),
            code: reply.as_ref().map(|reply| reply.code().to_owned()),
            fault: fault.as_ref().map(|fault| fault.answer),
            released,
        };
        self.ledger.record(record, violation);
        let delay = match &fault {
            Some(FaultRule { answer: FaultAnswer::Hang, hang_for, .. }) => *hang_for,
            Some(FaultRule { latency: Some(median), latency_p99, .. }) => {
                latency::draw(*median, *latency_p99, &mut draws)
            }
            _ => latency::draw(settings.latency, settings.latency_p99, &mut draws),
        };
        Decision { request_id, reply, fault, delay }
    }

    /// Refuses a request of nobody known.
    pub(super) fn turn_away(&mut self, settings: &SandboxSettings, refusal: Refusal) -> Decision {
        self.ledger.counts.unauthentic += 1;
        let reply = Some(Reply::Refused(refusal));
        Decision { request_id: Uuid::new_v4(), reply, fault: None, delay: settings.latency }
    }
}

impl FaultAnswer {
    /// What a call that is struck is told in JSON, if it is. `honest` is the answer to what it did, if it did anything.
    fn told(self, honest: Option<Reply>, retry_after: bool) -> Option<Reply> {
        Some(match self {
            Self::Honest | Self::Hang | Self::Truncated | Self::SlowBody | Self::WrongContentType => {
                honest.unwrap_or(Reply::Refused(Refusal::internal_error()))
            }
            Self::InternalError => Reply::Refused(Refusal::internal_error()),
            Self::ServiceUnavailable => Reply::Refused(Refusal::service_unavailable()),
            Self::Throttled => Reply::Refused(Refusal::throttled(retry_after.then_some(A_SECOND))),
            Self::TokenExpired => Reply::Refused(Refusal::expired_token()),
            Self::KeyInactive => Reply::Refused(Refusal::inactive_key()),
            Self::ConcurrentOperate => Reply::Failed {
                code: "SYSTEM.CONCURRENT_OPERATE",
                message: "The resource is being operated on by another request.",
            },
            Self::FailureAsSuccess => Reply::Failed { code: "Success", message: "Successful!" },
            Self::Contradictory => Reply::Contradictory,
            Self::Reset | Self::Empty | Self::Html | Self::HtmlError | Self::Redirect => return None,
        })
    }
}
