//! What was really called and released, from a sandbox's admin paths.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use crate::verify::{Books, Call};

const TIMEOUT: Duration = Duration::from_secs(60);
/// A whole page of full calls has a few megabytes.
const CALLS_A_PAGE: usize = 2000;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page {
    calls: Vec<Entry>,
    next: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    number: u64,
    account: String,
    action: String,
    product_code: Option<String>,
    subscription_type: Option<String>,
    product_type: Option<String>,
    region: Option<String>,
    renew_status: Option<String>,
    instance_ids: Vec<String>,
    released: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    state: String,
}

/// Enters every call that releases. Results must be entered before: some need a question of their own.
pub async fn enter(books: &mut Books, sandbox: &str) -> anyhow::Result<()> {
    let base = Url::parse(sandbox).context("write it like http://127.0.0.1:9470")?;
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    books.ledger();
    let mut from = Some(0);
    while let Some(first) = from {
        let page: Page = ask(&client, &base, &format!("_sandbox/calls?from={first}&limit={CALLS_A_PAGE}")).await?;
        for entry in page.calls.into_iter().filter(|entry| entry.action == "ReleaseInstance") {
            books.call(entry.into());
        }
        // Backwards would be without end.
        from = page.next.filter(|next| *next > first);
    }
    for id in books.gone_without_a_call() {
        let path: String =
            percent_encoding::utf8_percent_encode(id.as_str(), percent_encoding::NON_ALPHANUMERIC).collect();
        let instance: Instance = ask(&client, &base, &format!("_sandbox/instances/{path}")).await?;
        if instance.state == "gone" {
            books.never_there(id);
        }
    }
    Ok(())
}

async fn ask<T: DeserializeOwned>(client: &reqwest::Client, base: &Url, path: &str) -> anyhow::Result<T> {
    let answer = client.get(base.join(path)?).send().await?;
    let status = answer.status();
    let body = answer.bytes().await?;
    ensure!(status.is_success(), "{path} answers {status}: was it started with --admin?");
    serde_json::from_slice(&body).with_context(|| format!("{path} can't be read"))
}

impl From<Entry> for Call {
    fn from(entry: Entry) -> Self {
        let Entry { number, product_code, subscription_type, product_type, region, renew_status, .. } = entry;
        let group = [product_code, subscription_type, product_type, region, renew_status];
        Self { number, caller: entry.account, group, instance_ids: entry.instance_ids, released: entry.released }
    }
}
