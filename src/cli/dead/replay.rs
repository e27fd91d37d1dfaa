//! `bulkrelease dead replay`: letters become jobs again, as a plan that is shown first, tried on a few, and can be gone on
//! with after whatever ends it. `carrying` does what was confirmed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use jiff::SignedDuration;

use super::carrying::Carrying;
use super::choosing::{self, Choosing};
use super::confirm::confirm;
use super::looking;
use crate::broker::{Broker, Queue};
use crate::config::{AccountSettings, CallsPerSecond, Settings, parse_duration};
use crate::contract::AccountName;
use crate::dead::plan::{Plan, Purpose};
use crate::dead::plan_file::{Head, PlanFile, PlanFileError, Resumed};

/// Send letters to the jobs again: shown first, tried on 1, then 10, then the rest
///
/// The body goes out byte for byte, with a replay number, so that its result is not taken for a repeat. Each letter leaves
/// the queue only when its job is confirmed. The plan and how far it got are in a file, so that nothing is sent twice. None of
/// the first letters may die again; of the rest, no more than 10 of the last 100.
#[derive(Debug, clap::Args)]
pub struct ReplayCommand {
    #[command(flatten)]
    choosing: Choosing,

    /// Go on with an interrupted replay: its plan file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["Selection", "all", "yes", "plan"])]
    resume: Option<PathBuf>,

    #[command(flatten)]
    sending: Sending,
}

/// How a replay is sent.
#[derive(Debug, clap::Args)]
pub struct Sending {
    /// At most so many letters a second
    #[arg(long, value_name = "LETTERS", value_parser = rate)]
    pub rate: Option<f64>,

    /// Send everything whatever becomes of it
    #[arg(long)]
    pub no_canary: bool,

    /// How long to wait for what becomes of the first letters [default: 2m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "no_canary")]
    pub canary_wait: Option<Duration>,

    /// Where to keep the plan until it is carried out
    #[arg(long, value_name = "FILE", default_value = "bulkrelease-replay.plan")]
    plan: PathBuf,
}

impl Sending {
    pub fn canary_wait(&self) -> Duration {
        self.canary_wait.unwrap_or(Duration::from_secs(120))
    }
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate: write letters a second, from 0.001 to 1000000"))
}

/// As people say it: `1h 2m 3s`.
fn rounded(time: Duration) -> String {
    format!("{:#}", SignedDuration::from_secs(i64::try_from(time.as_millis().div_ceil(1000)).unwrap_or(i64::MAX)))
}

/// How long an account's calls take, or why that is not known.
fn pace(time: Option<Duration>, account: Option<&AccountSettings>) -> String {
    match (time, account.map(|account| account.calls_per_second)) {
        (Some(time), _) => format!(", {} at today's quota", rounded(time)),
        (None, Some(CallsPerSecond::Auto)) => "; its quota is found by calling, so the time is not known".to_owned(),
        (None, Some(_)) => "; it has no quota".to_owned(),
        (None, None) => {
            "; these settings don't name it, and where the workers' don't either, its jobs die of UnknownAccount"
                .to_owned()
        }
    }
}

impl ReplayCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let replay = Replay { broker, settings, choosing: &self.choosing, sending: &self.sending };
        match &self.resume {
            Some(path) => replay.resume(path).await,
            None => replay.begin(None).await,
        }
    }
}

pub struct Replay<'a> {
    pub broker: &'a dyn Broker,
    pub settings: &'a Settings,
    pub choosing: &'a Choosing,
    pub sending: &'a Sending,
}

impl Replay<'_> {
    pub async fn begin(&self, account: Option<AccountName>) -> anyhow::Result<()> {
        // Before anything is looked at: whoever repeats a command wants to know this first.
        PlanFile::check_place(&self.sending.plan).map_err(|refused| match refused {
            PlanFileError::Io { .. } => {
                anyhow::Error::new(refused).context("the plan can't be kept: --plan FILE names another place")
            }
            _ => refused.into(),
        })?;
        let purpose = Purpose::Replay { account: account.clone() };
        let (plan, seen) = self.choosing.plan(self.broker, Queue::Dead, purpose).await?;
        self.show(&plan, account.as_ref());
        if !self.choosing.yes {
            confirm("ids", plan.groups.ids)?;
        }
        let head = Head::new(self.broker.place(), account, plan.groups.letters, plan.groups.ids);
        let carrying = self.carrying(seen.others);
        let canary = carrying.watch(&head).await?;
        let file = match PlanFile::create(&self.sending.plan, &head, &plan.letters) {
            Ok(file) => file,
            Err(refused) => {
                carrying.unwatch(canary, &head).await?;
                return Err(refused.into());
            }
        };
        carrying.out(file, Resumed { head, tally: plan.tally(), canary_passed: false }, canary).await?;
        Ok(seen.whole()?)
    }

    async fn resume(&self, path: &Path) -> anyhow::Result<()> {
        let (file, resumed) = PlanFile::open(path)?;
        let (planned, here) = (&resumed.head.broker, self.broker.place());
        if *planned != here {
            bail!(
                "the plan is for {planned}, and broker.url names {here}: nothing was changed. If that is the same broker by another \
                 address, delete the plan and begin a new replay: what was confirmed has left the queue"
            );
        }
        say!("going on: {} of {} letters are left", resumed.tally.left(), resumed.head.letters);
        let in_doubt = resumed.tally.left_in_doubt();
        if in_doubt > 0 {
            say!(
                "{in_doubt} of them were on their way at the interruption: those that are still in the queue are sent again. \
                 If that makes it twice, both results bear the same ResultId"
            );
        }
        let others = looking::others(self.broker, &Queue::Dead).await?;
        if resumed.tally.awaits_returns() {
            let patience = self.choosing.patience(others);
            say!(
                "letters that were sent before the interruption may still stand in {}: they are removed, not sent again; at the end \
                 {patience:?} are waited for them",
                Queue::Dead.name()
            );
        }
        let carrying = self.carrying(others);
        let canary = carrying.watch(&resumed.head).await?;
        carrying.out(file, resumed, canary).await
    }

    fn carrying(&self, others: u64) -> Carrying<'_> {
        let patience = self.choosing.patience(others);
        let Self { broker, settings, sending, .. } = *self;
        Carrying { broker, prefetch: settings.broker.prefetch, steps: &settings.retry.steps, sending, patience }
    }

    fn show(&self, plan: &Plan, account: Option<&AccountName>) {
        let (letters, ids) = (plan.groups.letters, plan.groups.ids);
        let account = account.map(|account| format!(", for account {account}")).unwrap_or_default();
        say!("{letters} letters with {ids} ids are to be jobs again{account}:");
        choosing::list(&plan.groups);
        for calls in plan.calls(&self.settings.accounts) {
            let (account, count) = (&calls.account, calls.calls);
            say!("account {account}: at least {count} calls{}", pace(calls.time, self.settings.accounts.get(account)));
        }
        let canary = if self.sending.no_canary { "all at once" } else { "1 letter first, then 10, then the rest" };
        let rate = self.sending.rate.map(|rate| format!(", at most {rate} letters a second")).unwrap_or_default();
        say!("{canary}{rate}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_that_is_found_by_calling_is_not_taken_for_none() {
        let account = |calls_per_second| AccountSettings { calls_per_second, ..AccountSettings::default() };
        assert!(pace(None, Some(&account(CallsPerSecond::Auto))).contains("found by calling"));
        assert!(pace(None, Some(&account(CallsPerSecond::Unlimited))).contains("no quota"));
        assert!(pace(None, None).contains("UnknownAccount"));
    }

    #[test]
    fn a_time_is_told_as_people_say_it_and_never_too_short() {
        for (time, told) in [(Duration::from_millis(1), "1s"), (Duration::from_secs(36_061), "10h 1m 1s")] {
            assert_eq!(rounded(time), told);
        }
    }
}
