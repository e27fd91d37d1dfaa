//! `bulkrelease dead retarget`: a replay of another account.

use anyhow::bail;

use super::choosing::Choosing;
use super::replay::{Replay, Sending};
use crate::broker::Broker;
use crate::config::Settings;
use crate::contract::AccountName;

/// Send letters to the jobs again, for another account
///
/// A replay whose jobs differ in one field, `Account`: which credential, endpoint and quota the calls use. It can only make
/// a release fail or succeed, never release an instance that the job didn't name: an id belongs to one account. What decides
/// what is released (the ids, ProductCode, SubscriptionType, ProductType, Region) is never rewritten: export the letters,
/// change them, enqueue them as jobs.
#[derive(Debug, clap::Args)]
pub struct RetargetCommand {
    /// The account to release with, by its name in the workers' settings
    #[arg(long = "account", value_name = "NAME", value_parser = AccountName::new)]
    account: AccountName,

    #[command(flatten)]
    choosing: Choosing,

    #[command(flatten)]
    sending: Sending,
}

impl RetargetCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let account = self.account;
        if !settings.accounts.is_empty() && !settings.accounts.contains_key(&account) {
            let known: Vec<&str> = settings.accounts.keys().map(AccountName::as_str).collect();
            bail!("the settings know no account {account}: they name {}", known.join(", "));
        }
        Replay { broker, settings, choosing: &self.choosing, sending: &self.sending }.begin(Some(account)).await
    }
}
