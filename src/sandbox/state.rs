//! What a sandbox remembers, and the one decision that each call needs: what it does, and how it is answered. Pure but
//! for what it remembers: the time is the caller's.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Refusal, SUCCESS};
use super::call::{Call, Unfit};
use super::faults::draws_of;
use super::ledger::{CallRecord, Ledger};
use super::nonces::Nonces;
use super::quota::Quota;
use super::request::Caller;
use super::settings::SandboxSettings;

pub(super) struct State {
    started: Instant,
    accounts: Vec<Account>,
    pub ledger: Ledger,
}

struct Account {
    access_key: Arc<str>,
    quota: Option<Quota>,
    nonces: Nonces,
}

/// How a request is answered, and after how long.
pub(super) struct Decision {
    pub answer: Result<(), Refusal>,
    pub delay: Duration,
}

impl State {
    pub(super) fn new(settings: &SandboxSettings, now: Instant) -> Self {
        let accounts = settings.access_keys.iter().map(|key| Account {
            access_key: key.id.as_str().into(),
            quota: settings.calls_per_second.map(|rate| Quota::new(rate, now)),
            nonces: Nonces::new(now),
        });
        Self { started: now, accounts: accounts.collect(), ledger: Ledger::default() }
    }

    /// Decides what a call does and does it, unless the request is a replay.
    pub(super) fn decide(
        &mut self,
        settings: &SandboxSettings,
        caller: &Caller<'_>,
        call: Call,
        unfit: Option<Unfit>,
        now: Instant,
    ) -> Decision {
        let account = &mut self.accounts[caller.account];
        if !account.nonces.is_first_use(caller.nonce, now) {
            self.ledger.counts.unauthentic += 1;
            let refusal = Refusal::bad_request("SignatureNonceUsed", "Specified signature nonce was used already.");
            return Decision { answer: Err(refusal), delay: settings.latency };
        }
        let number = self.ledger.counts.calls;
        let mut draws = draws_of(settings.seed, number);
        let permit = account.quota.as_mut().map_or(Ok(()), |quota| quota.take(now));
        let fault = permit.ok().and_then(|()| settings.faults.draw(&mut draws));
        let violation = unfit.as_ref().is_some_and(|unfit| unfit.violation);
        let mut released = 0;
        let answer = match (permit, fault, unfit) {
            (Err(wait), _, _) => Err(Refusal::throttled(settings.retry_after.then_some(wait))),
            (Ok(()), Some(fault), _) if !fault.takes_effect() => Err(fault.into()),
            (Ok(()), _, Some(unfit)) => Err(unfit.refusal),
            (Ok(()), _, None) => {
                let release = settings.instances.release(&call.instance_ids, number, &mut self.ledger.released);
                released = release.released;
                match release.refused {
                    None => Ok(()),
                    Some((defect, ids)) => {
                        let named = if settings.instances.name_ids { ids.as_slice() } else { &[] };
                        Err(Refusal::defect(defect, named))
                    }
                }
            }
        };
        let answer = fault.map_or(answer, |fault| Err(fault.into()));
        let record = CallRecord {
            at: now.saturating_duration_since(self.started),
            access_key: Arc::clone(&account.access_key),
            call: Arc::new(call),
            answer: answer.as_ref().map_or_else(|refusal| refusal.code, |()| SUCCESS),
            fault,
            released,
        };
        self.ledger.record(record, violation);
        let delay = match fault {
            Some(fault) if fault.hangs() => settings.faults.hang_for,
            _ => settings.latency + settings.jitter.mul_f64(draws.f64()),
        };
        Decision { answer, delay }
    }
}
