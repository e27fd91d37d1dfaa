//! Whose permit comes when: one worker of a fleet takes the account's permits ahead of time and deals them out.
//!
//! A permit goes to the worker that was served longest ago among those with work that no permit is planned for yet. What
//! nobody needs goes to all in turn, every other one to the dealer, who gives it away again when somebody needs it after all.
//! So shares follow need; and the calls of many workers are as evenly spread as those of one, which a server
//! that counts in short windows sees. It must not know how anyone is told.

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
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Those to come.
    deals: VecDeque<Deal>,
    dealt: u64,
    members: BTreeMap<Member, Account>,
}

/// What a worker has coming.
#[derive(Debug, Default)]
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
        let coming = self.deals.iter().filter(|deal| deal.to == *member && !deal.spare);
        let coming: f64 = coming.map(|deal| f64::from(deal.calls)).sum();
        self.members.entry(member.clone()).or_default().lacks = calls as f64 - coming;
    }

    /// Plans ahead until then, for these.
    pub fn extend(&mut self, members: &[Member], dealer: &Member, quota: &mut Quota, until: Moment, now: Moment) {
        self.settle(quota, now);
        self.members.retain(|member, _| members.contains(member));
        for member in members {
            self.members.entry(member.clone()).or_default();
        }
        for deal in self.deals.iter_mut().filter(|deal| deal.spare && deal.to == *dealer) {
            if let Some(needy) = neediest(&self.members) {
                let account = self.members.entry(needy.clone()).or_default();
                (account.lacks, account.served) = (account.lacks - f64::from(deal.calls), deal.number);
                (deal.to, deal.spare) = (needy, false);
            }
        }
        let calls = together(quota);
        while let Some(due) = quota.book_ahead(calls, until, now) {
            self.dealt += 1;
            let needy = neediest(&self.members);
            let spare = needy.is_none();
            let in_turn = || {
                let others = self.members.iter().min_by_key(|(_, account)| account.served);
                others.filter(|_| self.dealt.is_multiple_of(2)).map(|(member, _)| member.clone())
            };
            let to = needy.or_else(in_turn).unwrap_or_else(|| dealer.clone());
            let account = self.members.entry(to.clone()).or_default();
            account.served = self.dealt;
            if !spare {
                account.lacks -= f64::from(calls);
            }
            self.deals.push_back(Deal { number: self.dealt, due, to, calls, spare });
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

fn neediest(members: &BTreeMap<Member, Account>) -> Option<Member> {
    let needy = members.iter().filter(|(_, account)| account.lacks > 0.0);
    needy.min_by_key(|(_, account)| account.served).map(|(member, _)| member.clone())
}

/// A worker's own permits: those that it was dealt and has not spent.
#[derive(Debug, Default)]
pub(super) struct Hand {
    permits: VecDeque<(u64, Moment, u32)>,
    /// The last one that was spent, or lapsed.
    used: u64,
    /// The last one that anybody was dealt, and when that is due.
    pub last: (u64, Moment),
    /// Of all that are dealt, the part that is in this hand.
    pub share: f64,
}

impl Hand {
    /// Takes what it is dealt. The allotment says all that is to come, so it takes the place of what was said before.
    pub fn take_up(&mut self, allotment: &Allotment, me: &Member, now: Moment) {
        let mine = allotment.members.iter().position(|member| member == me);
        self.permits.retain(|(_, due, _)| *due <= now);
        let known = self.permits.back().map_or(self.used, |(number, ..)| *number);
        let due = |wait: u32| now + Duration::from_millis(wait.into());
        let (mut all, mut ours) = (0, 0);
        for Permit(number, wait, to, calls) in &allotment.permits {
            all += 1;
            if Some(usize::from(*to)) == mine {
                ours += 1;
                if *number > known {
                    self.permits.push_back((*number, due(*wait), *calls));
                }
            }
        }
        self.share = if all > 0 { f64::from(ours) / f64::from(all) } else { 0.0 };
        if let Some(Permit(number, wait, ..)) = allotment.permits.last() {
            self.last = (*number, due(*wait));
        }
    }

    /// Spends a permit, or says when the next is due.
    pub fn spend(&mut self, now: Moment) -> Result<(), Option<Moment>> {
        match self.permits.front_mut() {
            Some((number, due, calls)) if *due <= now => {
                *calls = calls.saturating_sub(1);
                if *calls == 0 {
                    self.used = *number;
                    self.permits.pop_front();
                }
                Ok(())
            }
            Some((_, due, _)) => Err(Some(*due)),
            None => Err(None),
        }
    }

    /// Lets permits lapse that were due so long ago; how many calls they were good for.
    pub fn lapse(&mut self, good_for: Duration, now: Moment) -> u32 {
        let mut lapsed = 0;
        while let Some((number, due, calls)) = self.permits.front()
            && *due + good_for <= now
        {
            lapsed += *calls;
            self.used = *number;
            self.permits.pop_front();
        }
        lapsed
    }
}
