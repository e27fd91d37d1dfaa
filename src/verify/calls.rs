//! What the API's side wrote down: every call, held against what was asked for, by account and group.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::finding::Finding;
use crate::contract::{AccountName, GroupKey, InstanceId, Job};

/// A call as the API's side wrote it down.
#[derive(Debug, Clone, Default)]
pub struct Call {
    pub number: u64,
    /// The API's account of whoever made it. Its names are not ours.
    pub caller: String,
    /// ProductCode, SubscriptionType, ProductType, Region, RenewStatus, as they were sent.
    pub group: [Option<String>; 5],
    pub instance_ids: Vec<String>,
    /// What it released, whatever it was answered.
    pub released: Vec<String>,
}

/// What jobs asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The numbers of a call's group, one for each of our accounts that has jobs of it.
    groups: HashMap<[Option<String>; 5], Vec<(AccountName, u32)>>,
    count: u32,
    in_group: HashSet<(u32, InstanceId)>,
    at_all: HashSet<InstanceId>,
}

impl Asked {
    pub fn add(&mut self, job: &Job) {
        let accounts = self.groups.entry(group_of(&job.group)).or_default();
        let known = accounts.iter().find(|(account, _)| *account == job.group.account);
        let number = known.map_or(self.count, |(_, number)| *number);
        if number == self.count {
            accounts.push((job.group.account.clone(), number));
            self.count += 1;
        }
        self.in_group.extend(job.ids.iter().map(|id| (number, id.clone())));
        self.at_all.extend(job.ids.iter().cloned());
    }

    pub fn has(&self, id: &InstanceId) -> bool {
        self.at_all.contains(id)
    }
}

/// The ledger of an API that keeps one.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub count: u64,
    pub released: HashMap<InstanceId, u64>,
    /// Ids that were there for no call to release, as the API says when it is asked.
    pub never_there: HashSet<InstanceId>,
    /// Calls that break a rule, judged as they come: there may be very many of them that don't.
    pub findings: Vec<Finding>,
    /// Who called for each of our accounts: the first caller, and what any other one named.
    callers: BTreeMap<AccountName, Callers>,
}

#[derive(Debug)]
struct Callers {
    first: String,
    others: BTreeMap<String, Vec<InstanceId>>,
}

impl Calls {
    pub fn enter(&mut self, call: Call, asked: &Asked) {
        self.count += 1;
        let number = call.number;
        if call.instance_ids.len() > crate::contract::MAX_IDS_PER_CALL {
            self.findings.push(Finding::TooLarge { call: number, ids: call.instance_ids.len() });
        }
        if call.instance_ids.iter().collect::<HashSet<_>>().len() < call.instance_ids.len() {
            self.findings.push(Finding::NamedTwice { call: number });
        }
        for id in call.released.iter().filter_map(|id| InstanceId::new(id).ok()) {
            self.released.entry(id).or_insert(number);
        }
        // Without jobs nobody knows what was asked for.
        if asked.count > 0 {
            self.hold_against(asked, call);
        }
    }

    fn hold_against(&mut self, asked: &Asked, call: Call) {
        let number = call.number;
        let ids: Vec<_> = call.instance_ids.iter().filter_map(|id| InstanceId::new(id).ok()).collect();
        let accounts = asked.groups.get(&call.group).map(Vec::as_slice).unwrap_or_default();
        let has = |group: u32, id: &InstanceId| asked.in_group.contains(&(group, id.clone()));
        let whole: Vec<_> = accounts.iter().filter(|(_, group)| ids.iter().all(|id| has(*group, id))).collect();
        match whole[..] {
            [] => {}
            [(account, _)] => return self.called(account, call.caller, ids),
            // The same ids were asked for in several accounts: any of them may have called.
            [..] => return,
        }
        let known = |id: &InstanceId| accounts.iter().any(|(_, group)| has(*group, id));
        let (known, stray): (Vec<_>, Vec<_>) = ids.into_iter().partition(known);
        if stray.is_empty() {
            self.findings.push(Finding::MixedAccounts { call: number, instance_ids: known });
            return;
        }
        let (other, unasked): (Vec<_>, Vec<_>) = stray.into_iter().partition(|id| asked.has(id));
        if !other.is_empty() {
            self.findings.push(Finding::MixedGroups { call: number, instance_ids: other });
        }
        if !unasked.is_empty() {
            self.findings.push(Finding::CalledUnasked { call: number, instance_ids: unasked });
        }
    }

    fn called(&mut self, account: &AccountName, caller: String, ids: Vec<InstanceId>) {
        match self.callers.get_mut(account) {
            None => {
                let callers = Callers { first: caller, others: BTreeMap::new() };
                self.callers.insert(account.clone(), callers);
            }
            Some(callers) if callers.first == caller => {}
            Some(callers) => callers.others.entry(caller).or_default().extend(ids),
        }
    }

    /// One of our accounts calls as one of the API's, or jobs went where they don't belong. What was sent to another account
    /// on purpose may be among `changed`.
    pub fn strange_callers(&self, changed: &HashSet<&InstanceId>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (account, Callers { first, others }) in &self.callers {
            for (caller, ids) in others {
                let ids: Vec<_> = ids.iter().filter(|id| !changed.contains(id)).cloned().collect();
                if !ids.is_empty() {
                    findings.push(Finding::OtherCaller {
                        account: account.clone(),
                        caller: caller.clone(),
                        first_caller: first.clone(),
                        instance_ids: ids,
                    });
                }
            }
        }
        findings
    }
}

fn group_of(group: &GroupKey) -> [Option<String>; 5] {
    [
        Some(group.product_code.to_string()),
        Some(group.subscription_type.as_str().to_owned()),
        group.product_type.as_ref().map(ToString::to_string),
        group.region.as_ref().map(ToString::to_string),
        group.renew_status.map(|status| status.as_str().to_owned()),
    ]
}
