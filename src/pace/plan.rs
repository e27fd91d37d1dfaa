//! Whose permit comes when: one worker of a fleet takes the account's permits ahead of time and deals them out.
//!
//! A permit goes to the worker that was served longest ago among those with work that no permit is planned for yet. What
//! nobody needs goes to all in turn, every other one to the dealer, who gives it away again when somebody needs it after all.
//! So shares follow need, and nobody with work waits while others are served twice; and the calls of many workers are as
//! evenly spread as those of one, which a server that counts in short windows sees.
//!
//! Permits are dealt far ahead, so that they outlive whoever deals; but what is due beyond the next beacons is dealt anew with
//! each, as needs change. It must not know how anyone is told.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::Quota;
use super::beacon::{Allotment, Member, Permit};
use crate::engine::Moment;

/// Deals a second at most: where more permits fall due, several are dealt together.
const DEALS: f64 = 50.0;

#[derive(Debug)]
struct Deal {
    number: u64,
    /// When it is due, by the quota's clock.
    due: f64,
    to: Member,
    calls: u32,
    /// For nobody's need.
    spare: bool,
    /// So near that whoever has it may not be told of a change in time.
    firm: bool,
}

/// How far ahead permits are dealt: firm ones until then, and others, which may still change hands, until later.
#[derive(Debug, Clone, Copy)]
pub(super) struct Horizon {
    pub firm: Moment,
    pub until: Moment,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Those to come.
    deals: VecDeque<Deal>,
    dealt: u64,
    /// How they stand after the firm deals.
    members: BTreeMap<Member, Account>,
}

/// What a worker has coming.
#[derive(Debug, Clone, Default)]
struct Account {
    /// Calls that it has work for and no permit planned; below 0, the permits that it has too many.
    lacks: f64,
    /// The last deal that was its.
    served: u64,
}

impl Plan {
    /// Goes on with the numbers after somebody else's.
    pub fn succeeding(dealt: u64) -> Self {
        Self { dealt, ..Self::default() }
    }

    /// A worker says what its waiting work is worth, all that no permit was spent on yet.
    pub fn need(&mut self, member: &Member, calls: u64, quota: &Quota, now: Moment) {
        self.settle(quota, now);
        let coming = self.deals.iter().filter(|deal| deal.to == *member && deal.firm && !deal.spare);
        let coming: f64 = coming.map(|deal| f64::from(deal.calls)).sum();
        self.members.entry(member.clone()).or_default().lacks = calls as f64 - coming;
    }

    /// Plans ahead for these. What a worker had coming that is gone is dealt to the others.
    pub fn extend(
        &mut self,
        members: &[Member],
        dealer: &Member,
        quota: &mut Quota,
        Horizon { firm, until }: Horizon,
        now: Moment,
    ) {
        self.settle(quota, now);
        self.members.retain(|member, _| members.contains(member));
        for member in members {
            self.members.entry(member.clone()).or_default();
        }
        let calls = together(quota);
        while let Some(due) = quota.book_ahead(calls, until, now) {
            self.dealt += 1;
            let (number, to) = (self.dealt, dealer.clone());
            self.deals.push_back(Deal { number, due, to, calls, spare: true, firm: false });
        }
        let firm = quota.fallen_due(firm);
        let mut beyond = None;
        for deal in &mut self.deals {
            let given_away = deal.spare && deal.to == *dealer && neediest(&self.members).is_some();
            if deal.firm && !given_away && self.members.contains_key(&deal.to) {
                continue;
            }
            deal.firm |= deal.due <= firm;
            if deal.firm {
                give(deal, &mut self.members, dealer);
            } else {
                give(deal, beyond.get_or_insert_with(|| self.members.clone()), dealer);
            }
        }
    }

    /// Everything that is to come is this worker's: nobody else is left.
    pub fn take_all(&mut self, member: &Member) {
        for deal in &mut self.deals {
            deal.to = member.clone();
        }
    }

    /// The whole plan, as others are told of it.
    pub fn tell(&self, calls_per_second: Option<f64>, quota: &Quota, now: Moment) -> Allotment {
        let members: Vec<Member> = self.members.keys().cloned().collect();
        let permit = |deal: &Deal| {
            let to = members.iter().position(|member| *member == deal.to)?;
            let wait = quota.moment(deal.due, now)?.saturating_sub(now);
            // Rather later than too soon.
            let wait = u32::try_from(wait.as_micros().div_ceil(1000)).ok()?;
            Some(Permit(deal.number, wait, u16::try_from(to).ok()?, deal.calls))
        };
        let permits = self.deals.iter().filter_map(permit).collect();
        Allotment { calls_per_second, members, permits }
    }

    /// Forgets what is past.
    fn settle(&mut self, quota: &Quota, now: Moment) {
        while self.deals.front().is_some_and(|deal| deal.due <= quota.fallen_due(now)) {
            self.deals.pop_front();
        }
    }
}

/// How many permits make a deal.
fn together(quota: &Quota) -> u32 {
    (quota.rate() / DEALS).ceil().max(1.0) as u32
}

/// Gives a permit to whoever needs it most; if nobody does, every other one to the dealer, and the rest to all in turn.
fn give(deal: &mut Deal, members: &mut BTreeMap<Member, Account>, dealer: &Member) {
    let needy = neediest(members);
    deal.spare = needy.is_none();
    let in_turn = || {
        let first = members.iter().min_by_key(|(_, account)| account.served);
        first.filter(|_| deal.number.is_multiple_of(2)).map(|(member, _)| member.clone())
    };
    deal.to = needy.or_else(in_turn).unwrap_or_else(|| dealer.clone());
    let account = members.entry(deal.to.clone()).or_default();
    account.served = deal.number;
    if !deal.spare {
        account.lacks -= f64::from(deal.calls);
    }
}

fn neediest(members: &BTreeMap<Member, Account>) -> Option<Member> {
    let needy = members.iter().filter(|(_, account)| account.lacks > 0.0);
    needy.min_by_key(|(_, account)| account.served).map(|(member, _)| member.clone())
}

/// A worker's own permits: those that it was dealt and has not spent.
#[derive(Debug, Default)]
pub(super) struct Hand {
    /// Whose numbers they bear.
    dealer: Option<Member>,
    permits: VecDeque<Held>,
    /// The last number that was spent, or lapsed.
    used: u64,
    /// What was dealt last, and when that was heard.
    dealt: Option<(Allotment, Moment)>,
    /// The last one that anybody was dealt, and when that is due.
    pub last: (u64, Moment),
    /// Of all that are dealt, the part that is in this hand.
    pub share: f64,
}

#[derive(Debug)]
struct Held {
    /// 0: somebody dealt it who is gone.
    number: u64,
    due: Moment,
    calls: u32,
}

impl Hand {
    /// Takes what it is dealt: all that is to come, so it takes the place of what was said before. Numbers below the first of
    /// them fell due on their way, and stay. So does what somebody dealt who is gone.
    pub fn take_up(
        &mut self,
        allotment: &Allotment,
        dealer: &Member,
        is_gone: impl Fn(&Member) -> bool,
        me: &Member,
        now: Moment,
    ) {
        if self.dealer.as_ref() != Some(dealer) {
            let succeeds = self.dealer.as_ref().is_none_or(is_gone);
            self.permits.retain(|held| succeeds || held.due <= now);
            self.permits.iter_mut().for_each(|held| held.number = 0);
            (self.dealer, self.used) = (Some(dealer.clone()), 0);
        }
        let first = allotment.permits.first().map_or(u64::MAX, |Permit(number, ..)| *number);
        self.permits.retain(|held| held.number < first || held.due <= now);
        let known = self.permits.iter().map(|held| held.number).max().unwrap_or(0).max(self.used);
        let (mut all, mut ours) = (0, 0);
        for (to, held) in told(allotment, now) {
            all += 1;
            if to == me {
                ours += 1;
                if held.number > known {
                    self.permits.push_back(held);
                }
            }
        }
        self.share = if all > 0 { f64::from(ours) / f64::from(all) } else { 0.0 };
        if let Some(Permit(number, wait, ..)) = allotment.permits.last() {
            self.last = (*number, due(*wait, now));
        }
        self.dealt = Some((allotment.clone(), now));
    }

    /// Takes what is to come and was dealt to nobody who is there.
    pub fn inherit(&mut self, is_there: impl Fn(&Member) -> bool, now: Moment) {
        let Some((allotment, heard_at)) = self.dealt.take() else { return };
        let orphaned = told(&allotment, heard_at).filter(|(to, held)| held.due > now && !is_there(to));
        self.permits.extend(orphaned.map(|(_, held)| Held { number: 0, ..held }));
        self.permits.make_contiguous().sort_by_key(|held| held.due);
    }

    /// Gives everything up.
    pub fn drop_all(&mut self) {
        self.permits.clear();
        self.dealt = None;
    }

    /// Spends a permit, or says when the next is due.
    pub fn spend(&mut self, now: Moment) -> Result<(), Option<Moment>> {
        match self.permits.front_mut() {
            Some(held) if held.due <= now => {
                held.calls = held.calls.saturating_sub(1);
                if held.calls == 0 {
                    self.part_with_first();
                }
                Ok(())
            }
            Some(held) => Err(Some(held.due)),
            None => Err(None),
        }
    }

    /// Lets permits lapse that were due so long ago; how many calls they were good for.
    pub fn lapse(&mut self, good_for: Duration, now: Moment) -> u32 {
        let mut lapsed = 0;
        while let Some(held) = self.permits.front()
            && held.due + good_for <= now
        {
            lapsed += held.calls;
            self.part_with_first();
        }
        lapsed
    }

    fn part_with_first(&mut self) {
        if let Some(held) = self.permits.pop_front() {
            self.used = self.used.max(held.number);
        }
    }
}

/// Whose the permits of an allotment are that was heard at a moment.
fn told(allotment: &Allotment, at: Moment) -> impl Iterator<Item = (&Member, Held)> {
    allotment.permits.iter().filter_map(move |Permit(number, wait, to, calls)| {
        let to = allotment.members.get(usize::from(*to))?;
        Some((to, Held { number: *number, due: due(*wait, at), calls: *calls }))
    })
}

/// When a permit is due whose wait was heard of at a moment.
fn due(wait: u32, at: Moment) -> Moment {
    at + Duration::from_millis(wait.into())
}
