//! A frozen set of letters, chosen in one look, with what it would cost to work on them again. Whatever arrives later is
//! not part of it.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::groups::Groups;
use super::letter::{Identity, Letter};
use super::tally::Tally;
use crate::config::{AccountSettings, CallsPerSecond};
use crate::contract::{AccountName, GroupKey, MAX_IDS_PER_CALL};

/// What is to become of the letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// They become jobs again, of another account where one is named.
    Replay { account: Option<AccountName> },
    /// They go elsewhere as they are.
    Move,
}

/// The set, and what is known of it.
#[derive(Debug)]
pub struct Plan {
    purpose: Purpose,
    /// How many messages there are of each identity.
    pub letters: HashMap<Identity, u32>,
    pub groups: Groups,
    /// Chosen, but no job that this could be done to: a worker would only put them back.
    pub left_out: u64,
    /// Chosen for another account, where a call for their own may have released ids of theirs already.
    pub called: u64,
    ids_by_group: HashMap<GroupKey, u64>,
}

/// The calls of one account.
#[derive(Debug, Clone, PartialEq)]
pub struct Calls {
    pub account: AccountName,
    pub calls: u64,
    /// At the quota of the settings; unknown where they don't name the account or it has none.
    pub time: Option<Duration>,
}

impl Plan {
    pub fn new(purpose: Purpose) -> Self {
        let (letters, ids_by_group) = (HashMap::new(), HashMap::new());
        Self { purpose, letters, groups: Groups::default(), left_out: 0, called: 0, ids_by_group }
    }

    pub fn add(&mut self, letter: &Letter) {
        if let Purpose::Replay { account } = &self.purpose {
            // What was begun for one account can't go on for another.
            let job = letter.job.as_ref().ok().filter(|_| account.is_none() || !letter.is_begun);
            let Some(job) = job else {
                self.left_out += u64::from(letter.is_counted());
                return;
            };
            let mut group = job.group.clone();
            if let Some(account) = account {
                // "Gone" at the other account would be taken for the end of a call that this one never got.
                if letter.may_be_called() {
                    self.called += 1;
                    return;
                }
                group.account = account.clone();
            }
            *self.ids_by_group.entry(group).or_default() += letter.ids();
        }
        *self.letters.entry(letter.identity).or_default() += 1;
        self.groups.add(letter);
    }

    /// The move that it is for.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.letters.iter().for_each(|(identity, count)| tally.plan(*identity, *count));
        tally
    }

    pub fn is_empty(&self) -> bool {
        self.letters.is_empty()
    }

    /// The fewest calls that release these ids, and the least time that they take, for each account.
    pub fn calls(&self, accounts: &BTreeMap<AccountName, AccountSettings>) -> Vec<Calls> {
        let mut calls = BTreeMap::<&AccountName, u64>::new();
        for (group, ids) in &self.ids_by_group {
            *calls.entry(&group.account).or_default() += ids.div_ceil(MAX_IDS_PER_CALL as u64);
        }
        let time = |account: &AccountName, calls: u64| match accounts.get(account)?.calls_per_second {
            CallsPerSecond::Limited(rate) => Duration::try_from_secs_f64(calls as f64 / rate).ok(),
            CallsPerSecond::Unlimited | CallsPerSecond::Auto => None,
        };
        calls
            .into_iter()
            .map(|(account, calls)| Calls { account: account.clone(), calls, time: time(account, calls) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{BROKER_DELIVERY_LIMIT, InstanceId, Job, Message, header};
    use crate::dead::letter::tests::dead;

    fn id(text: &str) -> InstanceId {
        InstanceId::new(text).unwrap()
    }

    fn plan(purpose: Purpose, messages: &[Message]) -> Plan {
        let mut plan = Plan::new(purpose);
        messages.iter().for_each(|message| plan.add(&Letter::read(message)));
        plan
    }

    fn letter(job: &str, ids: usize) -> Message {
        let ids: Vec<String> = (0..ids).map(|number| format!("i-{job}-{number}")).collect();
        dead(job, &ids.iter().map(String::as_str).collect::<Vec<_>>(), "c", "e")
    }

    #[test]
    fn calls_are_the_ids_of_each_group_by_the_hundred_and_time_is_theirs_at_the_quota() {
        let account = AccountSettings { calls_per_second: CallsPerSecond::Limited(2.0), ..AccountSettings::default() };
        let accounts = [(AccountName::default(), account)].into();
        let letters = [letter("a", 150), letter("b", 51)];
        let here = plan(Purpose::Replay { account: None }, &letters).calls(&accounts);
        let time = Some(Duration::from_millis(1500));
        assert_eq!(here, [Calls { account: AccountName::default(), calls: 3, time }]);
        let vno = AccountName::new("vno").unwrap();
        let there = plan(Purpose::Replay { account: Some(vno.clone()) }, &letters).calls(&accounts);
        assert_eq!(there, [Calls { account: vno, calls: 3, time: None }]);
    }

    #[test]
    fn only_jobs_are_replayed_and_anything_can_be_moved() {
        let letters = [letter("a", 1), letter("a", 1), Message::default()];
        let replay = plan(Purpose::Replay { account: None }, &letters);
        assert_eq!((replay.groups.letters, replay.left_out), (2, 1));
        assert_eq!(replay.letters.values().copied().collect::<Vec<_>>(), [2], "the same letter twice");
        let moved = plan(Purpose::Move, &letters);
        assert_eq!((moved.groups.letters, moved.left_out, moved.letters.len()), (3, 0, 2));
        assert!(plan(Purpose::Replay { account: None }, &[]).is_empty());
    }

    #[test]
    fn what_a_call_of_its_own_account_may_have_released_is_not_sent_for_another() {
        let mut suspect = letter("a", 1);
        suspect.body = Job::parse(&suspect.body, None).unwrap().narrowed(&[id("i-a-0")], &[id("i-a-0")]);
        let mut worn_out = letter("b", 1);
        worn_out.properties.headers.insert(header::REASON.to_owned(), BROKER_DELIVERY_LIMIT.to_owned());
        let letters = [suspect, worn_out, letter("c", 1)];
        let account = AccountName::new("vno").unwrap();
        let there = plan(Purpose::Replay { account: Some(account) }, &letters);
        assert_eq!((there.groups.letters, there.called, there.left_out), (1, 2, 0));
        let here = plan(Purpose::Replay { account: None }, &letters);
        assert_eq!((here.groups.letters, here.called), (3, 0));
    }
}
