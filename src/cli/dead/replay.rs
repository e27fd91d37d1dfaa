//! `bulkrelease dead replay`: letters become jobs again, as a plan that is shown first, tried on a few, and can be gone on
//! with after whatever ends it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::FutureExt;

use super::choosing::Choosing;
use super::confirm::confirm;
use super::progress::Progress;
use crate::broker::{Broker, Destination, Publication, Queue, WatchName};
use crate::cli::signals;
use crate::config::{Settings, parse_duration, redacted};
use crate::contract::{AccountName, Message};
use crate::dead::canary::{Canary, Sent, Verdict};
use crate::dead::groups::printable;
use crate::dead::letter::Letter;
use crate::dead::mover::{Copies, End, Journal, Mover, Pace, Stop};
use crate::dead::plan::{Plan, Purpose};
use crate::dead::plan_file::{Head, PlanFile, Resumed};
use crate::dead::replayed::replayed;

/// How many letters are sent before each look at what became of them.
const CANARIES: [u64; 2] = [1, 11];

/// Send letters to the jobs again: shown first, tried on 1, then 10, then the rest
///
/// The body goes out byte for byte, with a replay number, so that its result is not taken for a repeat. Each letter leaves
/// the queue only when its job is confirmed. The plan and how far it got are in a file, so that nothing is sent twice.
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
    rate: Option<f64>,

    /// Don't wait for what becomes of the first letters
    #[arg(long)]
    no_canary: bool,

    /// How long to wait for what becomes of them
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = parse_duration, conflicts_with = "no_canary")]
    canary_wait: Duration,

    /// Where to keep the plan until it is carried out
    #[arg(long, value_name = "FILE", default_value = "bulkrelease-replay.plan")]
    plan: PathBuf,
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=1_000_000.0).contains(rate));
    rate.ok_or_else(|| format!("{text:?} is no rate: write letters a second, from 0.001 to 1000000"))
}

impl ReplayCommand {
    pub async fn run(self, broker: &dyn Broker, settings: &Settings) -> anyhow::Result<()> {
        let replay = Replay { broker, settings, sending: &self.sending };
        match &self.resume {
            Some(path) => replay.resume(path).await,
            None => replay.begin(&self.choosing, None).await,
        }
    }
}

pub struct Replay<'a> {
    pub broker: &'a dyn Broker,
    pub settings: &'a Settings,
    pub sending: &'a Sending,
}

impl Replay<'_> {
    pub async fn begin(&self, choosing: &Choosing, account: Option<AccountName>) -> anyhow::Result<()> {
        // Before anything is looked at: whoever repeats a command wants to know this first.
        if self.sending.plan.exists() {
            return Err(crate::dead::plan_file::PlanFileError::Exists(self.sending.plan.clone()).into());
        }
        let purpose = Purpose::Replay { account: account.clone() };
        let Some(plan) = choosing.plan(self.broker, Queue::Dead, purpose).await? else { return Ok(()) };
        self.show(&plan, account.as_ref());
        if !choosing.yes {
            confirm("ids", plan.groups.ids)?;
        }
        let head = Head::new(self.broker_name(), account, plan.groups.letters, plan.groups.ids);
        let file = PlanFile::create(&self.sending.plan, &head, &plan.letters)?;
        let copies = plan.letters.iter().map(|(identity, count)| (*identity, Copies::planned(*count))).collect();
        self.carry_out(file, Resumed { head, copies, canary_passed: false, in_doubt: 0 }).await
    }

    async fn resume(&self, path: &Path) -> anyhow::Result<()> {
        let (file, resumed) = PlanFile::open(path)?;
        let (planned, here) = (&resumed.head.broker, self.broker_name());
        if *planned != here {
            bail!("the plan is for {planned}, and broker.url is {here}");
        }
        let left: u64 = resumed.copies.values().map(|copies| u64::from(copies.left())).sum();
        say!("going on: {left} of {} letters are left", resumed.head.letters);
        if resumed.in_doubt > 0 {
            let in_doubt = resumed.in_doubt;
            say!(
                "{in_doubt} of them were on their way at the interruption: those that are still in the queue are sent again. \
                 If that makes it twice, both results bear the same ResultId"
            );
        }
        self.carry_out(file, resumed).await
    }

    fn broker_name(&self) -> String {
        self.settings.broker.url.as_deref().map(redacted).unwrap_or_default()
    }

    fn show(&self, plan: &Plan, account: Option<&AccountName>) {
        let (letters, ids) = (plan.groups.letters, plan.groups.ids);
        let account = account.map(|account| format!(", for account {account}")).unwrap_or_default();
        say!("{letters} letters with {ids} ids are to be jobs again{account}:");
        let groups = plan.groups.listed();
        for group in groups.iter().take(20) {
            say!(
                "  {}  {} {}  {} letters, {} ids",
                group.fingerprint,
                group.reason,
                group.code,
                group.letters,
                group.ids
            );
        }
        if groups.len() > 20 {
            say!("  and {} more fingerprints", groups.len() - 20);
        }
        for calls in plan.calls(&self.settings.accounts) {
            let (account, count) = (&calls.account, calls.calls);
            match calls.time {
                Some(time) => say!("account {account}: at least {count} calls, {time:.0?} at today's quota"),
                None => say!("account {account}: at least {count} calls; these settings name no quota for it"),
            }
        }
        let canary = if self.sending.no_canary { "all at once" } else { "1 letter first, then 10, then the rest" };
        let rate = self.sending.rate.map(|rate| format!(", at most {rate} letters a second")).unwrap_or_default();
        say!("{canary}{rate}");
    }

    async fn carry_out(&self, mut file: PlanFile, resumed: Resumed) -> anyhow::Result<()> {
        let Resumed { head, copies, canary_passed, in_doubt } = resumed;
        let stop = signals::stop()?.boxed();
        if self.sending.no_canary && !canary_passed {
            // Whoever goes on with it means it, too.
            file.canary_passed()?;
        }
        let mut canary = match self.sending.no_canary || canary_passed {
            true => None,
            false => Some(self.watch(&head).await?),
        };
        let account = head.account.clone();
        let becomes = |message: &Message| {
            let message = replayed(message, &Letter::read(message), account.as_ref());
            vec![Publication { to: Destination::Jobs, message }]
        };
        let path = file.path().display().to_string();
        let (end, moved, left) = {
            let mut run = Run {
                mover: Mover::new(
                    self.broker,
                    Queue::Dead,
                    self.settings.broker.prefetch,
                    copies,
                    &becomes,
                    &mut file,
                    Pace::new(self.sending.rate),
                ),
                stop,
            };
            let end = run.stages(canary.as_mut()).await;
            let (moved, left) = (run.mover.moved(), run.mover.left());
            run.mover.close().await;
            (end, moved, left)
        };
        if let Some(canary) = canary
            && let Err(error) = canary.end().await
        {
            eprintln!("warning: the watch {} can't be removed, it goes by itself in a day: {error}", watcher(&head)?);
        }
        say!("{moved} letters are jobs again");
        let on = || format!("go on with: bulkrelease dead replay --resume {path}");
        match end.with_context(|| format!("{left} letters are left; {}", on()))? {
            Outcome::Done => Ok(file.remove().with_context(|| format!("{path}: delete it, it is carried out"))?),
            Outcome::Ended(End::Missing) if left <= in_doubt => {
                file.remove().with_context(|| format!("{path}: delete it, it is carried out"))?;
                say!("{left} letters were in the queue no more: they were moved before an interruption");
                Ok(())
            }
            Outcome::Ended(End::Missing) => bail!(
                "{left} letters are not in the queue: somebody else moved them, or holds them now. When nobody does, {}; if they \
                 were moved, delete that file",
                on()
            ),
            Outcome::Ended(_) => bail!("stopped: {left} letters are left; {}", on()),
            Outcome::Canary(Verdict::CameBack { job, same, fingerprint, code, explanation }) => {
                let (what, how) =
                    if same { ("of the same thing", "mend that") } else { ("of something else", "look into that") };
                bail!(
                    "stopped by the canary: job {} died again, {what}: {fingerprint} {code}: {}. {left} letters are left; {how}, \
                     then {} (--no-canary sends the rest whatever happens)",
                    printable(&job),
                    printable(&explanation),
                    on()
                )
            }
            Outcome::Canary(Verdict::Silent(count)) => bail!(
                "stopped by the canary: no word of {count} letters within {:?}: does a worker run, and is it ready? {left} letters \
                 are left; then {} (--canary-wait gives it longer)",
                self.sending.canary_wait,
                on()
            ),
            Outcome::Canary(_) => bail!("stopped: {left} letters are left; {}", on()),
        }
    }

    async fn watch(&self, head: &Head) -> anyhow::Result<Canary<'_>> {
        Canary::begin(self.broker, watcher(head)?, self.sending.canary_wait).await.context(
            "the canary needs a queue of its own (release.watch.*): give this user the right to configure, read and bind it, \
             or use --no-canary",
        )
    }
}

fn watcher(head: &Head) -> anyhow::Result<WatchName> {
    WatchName::new(&format!("replay-{}", head.id)).map_err(anyhow::Error::msg)
}

/// How a replay ended.
enum Outcome {
    Done,
    Ended(End),
    Canary(Verdict),
}

struct Run<'a> {
    mover: Mover<'a>,
    stop: Stop,
}

impl Run<'_> {
    async fn stages(&mut self, canary: Option<&mut Canary<'_>>) -> anyhow::Result<Outcome> {
        let mut progress = Progress::new(self.mover.left());
        let outcome = self.staged(canary, &mut progress).await;
        progress.end();
        outcome
    }

    async fn staged(&mut self, canary: Option<&mut Canary<'_>>, progress: &mut Progress) -> anyhow::Result<Outcome> {
        let mut show = |moved| progress.show(moved);
        if let Some(canary) = canary {
            for until in CANARIES {
                let mut sent = Vec::new();
                let mut note = |letter: &Message, jobs: &[Publication]| {
                    sent.extend(jobs.iter().filter_map(|job| Sent::new(&job.message, &Letter::read(letter))));
                };
                let end = self.mover.run(until, &mut self.stop, &mut note, &mut show).await?;
                if end != End::Reached {
                    return Ok(Outcome::Ended(end));
                }
                match canary.verdict(sent, &mut self.stop).await? {
                    Verdict::Well if self.mover.left() == 0 => return Ok(Outcome::Done),
                    Verdict::Well => {}
                    verdict => return Ok(Outcome::Canary(verdict)),
                }
            }
            self.mover.passed()?;
        }
        match self.mover.run(u64::MAX, &mut self.stop, &mut |_, _| {}, &mut show).await? {
            End::Reached => Ok(Outcome::Done),
            end => Ok(Outcome::Ended(end)),
        }
    }
}
