//! Asks everyone, at the same time. It must not know which answers are good.

use std::time::Duration;

use futures_util::future::join_all;

use crate::api::Client;
use crate::api::credentials::{Chain, Surroundings, inquire};
use crate::broker::{self, inspection::Extent};
use crate::config::{AccountSettings, Settings};
use crate::contract::{AccountName, Batch, GroupKey, InstanceId, SubscriptionType, Token};
use crate::doctor::{AccountFacts, Facts};

/// No instance bears it, so the answer to a query for it is short.
const NOBODY: &str = "bulkrelease-doctor";

pub async fn gather(settings: &Settings, consumer_timeout: Option<Duration>) -> Facts<'_> {
    let named = settings.accounts.iter().filter(|(_, account)| account.endpoint.is_some());
    let accounts = join_all(named.map(async |(name, settings)| Some((name.clone(), account(name, settings).await?))));
    let broker = broker::inspect(&settings.broker, &settings.retry.steps, Extent::Whole);
    let (accounts, broker) = tokio::join!(accounts, broker);
    Facts { settings, accounts: accounts.into_iter().flatten().collect(), broker, consumer_timeout }
}

/// `None` if no client can be built, which its settings' rules say already.
async fn account(name: &AccountName, settings: &AccountSettings) -> Option<AccountFacts> {
    let credential = inquire(&settings.credentials, Surroundings::own()).await;
    let chain = match &credential {
        Ok(answering) => Chain::fixed(answering.credential.clone()),
        Err(_) => Chain::new(&settings.credentials),
    };
    let client = Client::new(name.as_str(), settings, chain).ok()?;
    let greeting = client.greet().await;
    // A temporary key's token goes to nobody but the API.
    let askable = credential.is_ok() && greeting.as_ref().is_ok_and(|greeting| greeting.is_api);
    let query = match query(name).filter(|_| askable) {
        Some(batch) => Some(client.query(&batch).await.read_back),
        None => None,
    };
    Some(AccountFacts { greeting, credential, query })
}

fn query(account: &AccountName) -> Option<Batch> {
    let group = GroupKey {
        account: account.clone(),
        product_code: Token::new("ecs").ok()?,
        subscription_type: SubscriptionType::PayAsYouGo,
        product_type: None,
        region: None,
        renew_status: None,
    };
    Batch::new(group.into(), vec![InstanceId::new(NOBODY).ok()?]).ok()
}
