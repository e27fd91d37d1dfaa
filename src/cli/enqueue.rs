//! `bulkrelease enqueue`: put jobs into the queue, each confirmed. Everything is checked before anything is enqueued, for
//! a release can't be taken back.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::broker;
use crate::config::{Settings, environment};
use crate::contract::{InstanceId, JOB_KIND, Job, JobId, Message, Properties};
use crate::ops::trace;

/// Jobs handed to the broker at a time; what is confirmed is printed after each.
const JOBS_AT_A_TIME: usize = 5_000;

/// Put release jobs into the queue; prints the JobId of each job that the broker has confirmed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bulkrelease enqueue --product ecs --subscription-type PayAsYouGo i-bp1 i-bp2
  bulkrelease enqueue --product rds --subscription-type Subscription --file ids.txt --dry-run
  bulkrelease enqueue --product ecs --subscription-type PayAsYouGo --priority high i-bp3
  cut -f1 report.tsv | bulkrelease enqueue --product ecs --subscription-type PayAsYouGo --file -
  bulkrelease enqueue --jobs jobs.jsonl")]
pub struct EnqueueCommand {
    /// Instance ids
    #[arg(value_name = "ID", conflicts_with = "jobs")]
    ids: Vec<String>,

    /// Read ids from a file, one a line; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["jobs", "ids"])]
    file: Option<PathBuf>,

    /// Read whole jobs from a file, one JSON object a line; - reads standard input. One without JobId is named by its body
    #[arg(long, value_name = "FILE")]
    jobs: Option<PathBuf>,

    /// ProductCode of the ids, such as ecs
    #[arg(long, value_name = "CODE", required_unless_present = "jobs", conflicts_with = "jobs")]
    product: Option<String>,

    /// SubscriptionType of the ids: PayAsYouGo or Subscription
    #[arg(long, value_name = "TYPE", required_unless_present = "jobs", conflicts_with = "jobs")]
    subscription_type: Option<String>,

    /// ProductType of the ids, where the product has several
    #[arg(long, value_name = "CODE", conflicts_with = "jobs")]
    product_type: Option<String>,

    /// Region of the ids, such as cn-hangzhou
    #[arg(long, value_name = "REGION", conflicts_with = "jobs")]
    region: Option<String>,

    /// AutoRenewal, ManualRenewal or NotRenewal
    #[arg(long, value_name = "STATUS", conflicts_with = "jobs")]
    renew_status: Option<String>,

    /// The account to release them with, by its name in the worker's settings
    #[arg(long, conflicts_with = "jobs")]
    account: Option<String>,

    /// Ask what would be called; nothing is released
    #[arg(long, conflicts_with = "jobs")]
    dry_run: bool,

    /// Don't release after this moment, such as 2027-01-31T18:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "jobs")]
    not_after: Option<String>,

    /// Whose turn comes first: high before normal before low, by a head start
    #[arg(long, value_name = "PRIORITY", value_parser = ["high", "normal", "low"], conflicts_with = "jobs")]
    priority: Option<String>,

    /// A label that the result repeats; may stand more than once
    #[arg(long = "label", value_name = "NAME=VALUE", conflicts_with = "jobs")]
    labels: Vec<String>,

    /// More ids than this become several jobs
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    ids_per_job: u32,
}

impl EnqueueCommand {
    pub async fn run(self, settings: Settings) -> anyhow::Result<()> {
        let mut messages = match &self.jobs {
            Some(path) => whole_jobs(open(path)?)?,
            None => self.jobs_of_ids()?,
        };
        let trace = trace::of_caller(environment());
        for message in &mut messages {
            message.properties.headers.clone_from(&trace);
        }
        let broker = broker::open(&settings.broker, &settings.retry.steps)?;
        let (total, mut confirmed) = (messages.len(), 0_usize);
        while !messages.is_empty() {
            let rest = messages.split_off(messages.len().min(JOBS_AT_A_TIME));
            let names: Vec<_> = messages.iter().filter_map(|message| message.properties.message_id.clone()).collect();
            let answers = broker.enqueue(std::mem::replace(&mut messages, rest)).await;
            let mut failures = Vec::new();
            for (name, answer) in names.into_iter().zip(answers) {
                match answer {
                    Ok(()) => {
                        say!("{name}");
                        confirmed += 1;
                    }
                    Err(error) => failures.push(format!("{name}: {error}")),
                }
            }
            if let Some(first) = failures.first() {
                let unconfirmed = total - confirmed;
                bail!("{unconfirmed} of {total} jobs are not confirmed; those printed are. The first failure: {first}");
            }
        }
        Ok(())
    }

    fn jobs_of_ids(&self) -> anyhow::Result<Vec<Message>> {
        let mut ids = Vec::new();
        let mut places = std::collections::HashMap::new();
        let mut add = |text: &str, place: String| -> anyhow::Result<()> {
            let id = InstanceId::new(text).with_context(|| place.clone())?;
            if let Some(first) = places.insert(id.clone(), place.clone()) {
                bail!("{place}: {id} stands in {first} already: list each id once");
            }
            ids.push(id);
            Ok(())
        };
        for (index, text) in self.ids.iter().enumerate() {
            add(text, format!("argument {}", index + 1))?;
        }
        if let Some(path) = &self.file {
            for (index, line) in open(path)?.lines().enumerate() {
                let line = line.with_context(|| format!("line {}", index + 1))?;
                if !line.trim().is_empty() {
                    add(line.trim(), format!("line {}", index + 1))?;
                }
            }
        }
        if ids.is_empty() {
            bail!("no instance ids: give them as arguments, or with --file FILE (- for standard input)");
        }
        ids.chunks(self.ids_per_job as usize).map(|ids| self.job(ids)).collect()
    }

    fn job(&self, ids: &[InstanceId]) -> anyhow::Result<Message> {
        let mut body = Map::new();
        let texts = [
            ("ProductCode", &self.product),
            ("SubscriptionType", &self.subscription_type),
            ("ProductType", &self.product_type),
            ("Region", &self.region),
            ("RenewStatus", &self.renew_status),
            ("Account", &self.account),
            ("NotAfter", &self.not_after),
            ("Priority", &self.priority),
        ];
        for (name, value) in texts {
            body.extend(value.as_ref().map(|value| (name.to_owned(), Value::from(value.as_str()))));
        }
        body.insert("JobId".to_owned(), Uuid::now_v7().to_string().into());
        body.insert("InstanceIds".to_owned(), ids.iter().map(InstanceId::as_str).collect());
        if self.dry_run {
            body.insert("DryRun".to_owned(), true.into());
        }
        if !self.labels.is_empty() {
            let labels: Option<BTreeMap<_, _>> = self.labels.iter().map(|label| label.split_once('=')).collect();
            let labels = labels.context("--label: write NAME=VALUE")?;
            body.insert("Labels".to_owned(), serde_json::to_value(labels)?);
        }
        message(serde_json::to_vec(&body)?)
    }
}

fn whole_jobs(lines: impl BufRead) -> anyhow::Result<Vec<Message>> {
    let (mut messages, mut seen) = (Vec::new(), HashMap::new());
    for (index, line) in lines.lines().enumerate() {
        let place = || format!("line {} (nothing was enqueued)", index + 1);
        let line = line.with_context(place)?;
        if !line.trim().is_empty() {
            if let Some(first) = seen.insert(JobId::of_body(line.as_bytes()), index + 1) {
                bail!("line {} is line {first} again: give each a JobId of its own (nothing was enqueued)", index + 1);
            }
            messages.push(message(line.into_bytes()).with_context(place)?);
        }
    }
    if messages.is_empty() {
        bail!("no jobs: write one JSON object a line");
    }
    Ok(messages)
}

/// Checks a body as a worker will. A job without a name gets the contract's own, beside the body, whose bytes stay as they are:
/// whoever has the body can tell it again.
fn message(body: Vec<u8>) -> anyhow::Result<Message> {
    let job = Job::parse(&body, None)?;
    let properties = Properties {
        message_id: Some(job.id.as_str().to_owned()),
        kind: Some(JOB_KIND.to_owned()),
        timestamp: Some(Timestamp::now().as_second().max(0).unsigned_abs()),
        ..Properties::default()
    };
    Ok(Message { body, properties })
}

/// A file, or standard input for `-`.
pub(super) fn open(path: &Path) -> anyhow::Result<BufReader<Box<dyn Read>>> {
    let reader: Box<dyn Read> = match path.as_os_str().to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(std::fs::File::open(path).with_context(|| path.display().to_string())?),
    };
    Ok(BufReader::new(reader))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unnamed_job_is_named_as_whoever_has_its_body_would_name_it() {
        let body = br#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#;
        let named = message(body.to_vec()).unwrap().properties.message_id;
        assert_eq!(named.as_deref(), Some(JobId::of_body(body).as_str()));
    }
}
