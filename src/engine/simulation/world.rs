//! The world that the engine is simulated in: an API with an inventory of its own, whose every answer may be a lie of
//! the kinds that a network tells.

use std::collections::{HashMap, HashSet};

use crate::contract::{Batch, Evidence, InstanceId, ReadBack, Refusal, Verdict};
use crate::engine::Moment;

/// How often which fault happens, out of a thousand calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    pub throttled: u16,
    pub account: u16,
    pub transient: u16,
    /// The call lands and its answer is lost.
    pub ghost: u16,
    /// The call is lost and nobody says so.
    pub lost: u16,
    /// A query tells nothing: the account may not ask, or not now.
    pub query_failed: u16,
    /// A query lists nothing, whatever is there.
    pub blind: u16,
}

impl Faults {
    pub const NONE: Self =
        Self { throttled: 0, account: 0, transient: 0, ghost: 0, lost: 0, query_failed: 0, blind: 0 };
}

/// What an instance is like, told by its id's first letter so that a failing seed can be read.
pub fn is_gone_from_the_start(id: &InstanceId) -> bool {
    id.as_str().starts_with('g')
}

/// It belongs to another account, so a release refuses it and a query doesn't list it.
pub fn is_foreign(id: &InstanceId) -> bool {
    id.as_str().starts_with('f')
}

pub fn is_unlisted(id: &InstanceId) -> bool {
    id.as_str().starts_with('u')
}

/// What a refusal's message says of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Talk {
    NamesNobody,
    NamesTheCulprit,
    /// Half of it.
    EchoesTheBatch,
}

#[derive(Debug)]
pub struct Api {
    pub atomic: bool,
    pub talk: Talk,
    pub faults: Faults,
    /// Until then no call has a proper answer.
    pub down_until: Moment,
    /// Ids released, and when.
    pub released: HashMap<InstanceId, Moment>,
    pub calls: u64,
    pub queries: u64,
}

impl Api {
    pub fn new(atomic: bool, faults: Faults) -> Self {
        Self {
            atomic,
            talk: Talk::NamesNobody,
            faults,
            down_until: Moment::ZERO,
            released: HashMap::new(),
            calls: 0,
            queries: 0,
        }
    }

    pub fn is_gone(&self, id: &InstanceId) -> bool {
        is_gone_from_the_start(id) || self.released.contains_key(id)
    }

    /// Carries a call out, or not, and answers, or lies.
    pub fn call(&mut self, batch: &Batch, random: &mut fastrand::Rng, now: Moment) -> Verdict {
        self.calls += 1;
        let Faults { throttled, account, transient, ghost, lost, .. } = self.faults;
        let mut falls_on = |share: u16| random.u16(0..1000) < share;
        if now < self.down_until {
            return match falls_on(500) {
                true => Verdict::Transient(Evidence::own("ServiceUnavailable", "later")),
                false => Verdict::Unknown(Evidence::own("TimedOut", "no answer")),
            };
        }
        if falls_on(throttled) {
            return Verdict::Throttled(Evidence::own("Throttling.User", "slow down"));
        }
        if falls_on(account) {
            return Verdict::Account(Evidence::own("NoPermission", "ask your administrator"));
        }
        if falls_on(transient) {
            return Verdict::Transient(Evidence::own("ServiceUnavailable", "later"));
        }
        if falls_on(lost) {
            return Verdict::Unknown(Evidence::own("TimedOut", "no answer"));
        }
        let honest = self.carry_out(batch, now);
        if falls_on(ghost) { Verdict::Unknown(Evidence::own("TimedOut", "no answer")) } else { honest }
    }

    /// Which of these ids the account has.
    pub fn query(&mut self, batch: &Batch, random: &mut fastrand::Rng) -> ReadBack {
        self.queries += 1;
        if random.u16(0..1000) < self.faults.query_failed {
            return ReadBack::Failed(match random.bool() {
                true => Verdict::Account(Evidence::own("NoPermission", "ask your administrator")),
                false => Verdict::Throttled(Evidence::own("Throttling.User", "slow down")),
            });
        }
        let blind = random.u16(0..1000) < self.faults.blind;
        let there = batch.ids().iter().filter(|id| !blind && !self.is_gone(id) && !is_foreign(id));
        ReadBack::Listed { ids: there.cloned().collect(), evidence: Evidence::own("Success", "listed") }
    }

    fn carry_out(&mut self, batch: &Batch, now: Moment) -> Verdict {
        if batch.group().product_code.as_str() == "unsupported" {
            return Verdict::Refused(Refusal::Request, Evidence::own("ProductNotSupported", "never"));
        }
        let fault = batch.ids().iter().find_map(|id| {
            if self.is_gone(id) {
                Some((Refusal::Gone, "ResourceNotExists", id))
            } else if is_foreign(id) {
                Some((Refusal::Instance, "InvalidOwner", id))
            } else if is_unlisted(id) {
                Some((Refusal::Unlisted, "Strange", id))
            } else {
                None
            }
        });
        if fault.is_none() || !self.atomic {
            let good: HashSet<_> = batch
                .ids()
                .iter()
                .filter(|id| !self.is_gone(id) && !is_foreign(id) && !is_unlisted(id))
                .cloned()
                .collect();
            self.released.extend(good.into_iter().map(|id| (id, now)));
        }
        match fault {
            Some((refusal, code, culprit)) => {
                let message = match self.talk {
                    Talk::NamesNobody => "some instance of the batch".to_owned(),
                    Talk::NamesTheCulprit => format!("the instance {culprit}, that is."),
                    Talk::EchoesTheBatch => format!("InstanceIds={:?}", &batch.ids()[..batch.len().div_ceil(2)]),
                };
                Verdict::Refused(refusal, Evidence::own(code, message))
            }
            None => Verdict::Released(Evidence::own("Success", "done")),
        }
    }
}
