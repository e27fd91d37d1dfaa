//! `bulkrelease sandbox`: serve a `ReleaseInstance` API that releases nothing real.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use super::signals;
use crate::config::parse_duration;
use crate::sandbox::{AccessKey, FaultRule, InstanceRule, Sandbox, SandboxSettings};

const EXAMPLES: &str = "\
Examples:
  bulkrelease sandbox --admin
      any id can be released once; what happened: curl http://127.0.0.1:9470/_sandbox/calls
  bulkrelease sandbox --calls-per-second 10 --retry-after --latency 20ms --latency-p99 200ms
      a quota, and answers as slow as a real service's
  bulkrelease sandbox --instances 'i-gone-* state=gone' --instances 'i-locked-* state=locked' --instances 'i-{00000..99999}'
      the first rule that matches an id describes it; what no rule names does not exist
  bulkrelease sandbox --fault 'internal-error share=0.05 lands=true' --fault 'reset every=100' --fault 'hang ids=i-slow-*'
      calls that fail, with lands=true after they took effect
  bulkrelease sandbox --fault 'error status=429 code=Throttling retry_after=soon share=0.1'
      any other error: an unlisted code, RESOURCE_NOT_FOUND with status=200, a time to wait that is none
  bulkrelease sandbox --file config/sandbox.toml
      accounts that are no VNO, RAM users with policies, temporary credentials, and all of the above

Answers of --fault: honest (with latency=...), internal-error, service-unavailable, concurrent-operate, throttled, token-expired,
key-inactive, hang, reset, truncated, empty, html, html-error, contradictory, failure-as-success, odd-code (the vendor's own
sample: lands=true), redirect, slow-body, wrong-content-type, and error with a status=, code=, message= and retry_after= (in
milliseconds, written as given) of its own. Keys: share, every, ids, from, until, action, lands, latency, latency_p99,
hang_for.";

/// Serve a ReleaseInstance API to rehearse against. It releases nothing real.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct SandboxCommand {
    /// A settings file, such as config/sandbox.toml; a flag wins over it, a repeatable one replaces its list
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:9470]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,

    /// Show what happened, and take orders, at /_sandbox/: from whoever asks
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub admin: Option<bool>,

    /// Refuse requests that are not of the last or next 15 minutes, such as recorded ones [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub check_clock: Option<bool>,

    /// A batch with one bad id releases nothing (true), or its good ids (false) [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub atomic: Option<bool>,

    /// Name the bad ids in a refusal
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub name_ids: Option<bool>,

    /// The quota of each parent account, for each operation; none without it
    #[arg(long, value_name = "RATE")]
    pub calls_per_second: Option<f64>,

    /// Tell a throttled caller how long to wait (x-acs-retry-after)
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub retry_after: Option<bool>,

    /// How long an answer takes: the median, if there is a --latency-p99 [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub latency: Option<Duration>,

    /// What one answer in a hundred takes longer than
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub latency_p99: Option<Duration>,

    /// Decides which calls fail, and how long each takes [default: 0]
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,

    /// An access key that may call, repeatable; each account has a quota of its own [default: sandbox:sandbox]
    #[arg(long = "access-key", value_name = "ID:SECRET[@ACCOUNT]")]
    pub access_keys: Vec<SecretString>,

    /// What instances there are, repeatable: an id, a prefix* or a range, then state=, owner=, product=,
    /// subscription_type=, region= [default: every id exists]
    #[arg(long, value_name = "RULE")]
    pub instances: Vec<InstanceRule>,

    /// Instances one by one: CSV with InstanceId, Owner, ProductCode, SubscriptionType, Region, State
    #[arg(long, value_name = "FILE")]
    pub instances_file: Option<PathBuf>,

    /// How calls fail, repeatable: an answer, then share=, every=, ids=, from=, until=, action=, lands=...
    #[arg(long = "fault", value_name = "RULE")]
    pub faults: Vec<FaultRule>,
}

impl SandboxCommand {
    /// Serves until SIGINT or SIGTERM.
    pub async fn run(self) -> anyhow::Result<()> {
        let stop = signals::stop()?;
        let settings = self.into_settings()?;
        let keys = settings.access_keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
        let sandbox = Sandbox::start(settings).await.context("the sandbox can't start")?;
        say!("sandbox: http://{} (access key: {keys}); nothing real is released", sandbox.address());
        sandbox.serve_until(stop).await.context("the sandbox failed")
    }

    fn into_settings(self) -> anyhow::Result<SandboxSettings> {
        let mut settings: SandboxSettings = match &self.file {
            Some(file) => {
                let text = std::fs::read_to_string(file)
                    .with_context(|| format!("the settings file {} can't be read", file.display()))?;
                SandboxSettings::parse(file, &text)?
            }
            None => "".parse()?,
        };
        fn lay<T>(over: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *over = value;
            }
        }
        fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
            (!list.is_empty()).then_some(list)
        }
        // Not the command line's own parser: its errors quote what was given, the secret included.
        let read = |(place, key): (usize, &SecretString)| {
            let key: Result<AccessKey, String> = key.expose_secret().parse();
            key.map_err(|problem| anyhow::anyhow!("--access-key, number {}: {problem}", place + 1))
        };
        let access_keys: Vec<AccessKey> = self.access_keys.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        // An account that only a flag names needs no other word.
        for key in &access_keys {
            settings.accounts.entry(key.account.clone()).or_default();
        }
        lay(&mut settings.listen, self.listen);
        lay(&mut settings.admin, self.admin);
        lay(&mut settings.check_clock, self.check_clock);
        lay(&mut settings.atomic, self.atomic);
        lay(&mut settings.name_ids, self.name_ids);
        lay(&mut settings.calls_per_second, self.calls_per_second.map(Some));
        lay(&mut settings.retry_after, self.retry_after);
        lay(&mut settings.latency, self.latency);
        lay(&mut settings.latency_p99, self.latency_p99.map(Some));
        lay(&mut settings.seed, self.seed);
        lay(&mut settings.access_keys, some(access_keys));
        lay(&mut settings.instances, some(self.instances));
        lay(&mut settings.instances_file, self.instances_file.map(Some));
        lay(&mut settings.faults, some(self.faults));
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn settings_of(words: &[&str]) -> SandboxSettings {
        let command = SandboxCommand::augment_args(Command::new("sandbox"));
        let matches = command.try_get_matches_from([&["sandbox"], words].concat()).unwrap();
        SandboxCommand::from_arg_matches(&matches).unwrap().into_settings().unwrap()
    }

    #[test]
    fn without_flags_a_sandbox_is_orderly_and_keeps_the_clock() {
        let settings = settings_of(&[]);
        let expected = SandboxSettings { listen: "127.0.0.1:9470".parse().unwrap(), ..SandboxSettings::default() };
        assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
    }

    #[test]
    fn an_access_key_that_is_none_is_named_by_its_place_and_not_quoted() {
        let command = SandboxCommand::augment_args(Command::new("sandbox"));
        let matches = command.try_get_matches_from(["sandbox", "--access-key", "a:b", "--access-key", ":hidden"]);
        let command = SandboxCommand::from_arg_matches(&matches.unwrap()).unwrap();
        assert!(!format!("{command:?}").contains("hidden"));
        let problem = format!("{:#}", command.into_settings().unwrap_err());
        assert!(problem.contains("--access-key, number 2") && problem.contains("ID:SECRET"), "{problem}");
        assert!(!problem.contains("hidden"), "{problem}");
    }

    #[test]
    fn every_flag_reaches_the_sandbox() {
        let settings = settings_of(&[
            "--listen",
            "127.0.0.1:0",
            "--access-key",
            "a:1",
            "--access-key",
            "b:2:3@other",
            "--check-clock=false",
            "--admin",
            "--calls-per-second",
            "2.5",
            "--retry-after",
            "--latency",
            "1s",
            "--latency-p99",
            "2s",
            "--atomic=false",
            "--name-ids=true",
            "--seed",
            "9",
            "--instances",
            "i-gone-* state=gone",
            "--instances",
            "*",
            "--instances-file",
            "i.csv",
            "--fault",
            "reset share=0.1 lands=true",
            "--fault",
            "hang",
        ]);
        let second = Duration::from_secs(1);
        let expected = SandboxSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            admin: true,
            check_clock: false,
            atomic: false,
            name_ids: true,
            calls_per_second: Some(2.5),
            retry_after: true,
            latency: second,
            latency_p99: Some(2 * second),
            seed: 9,
            accounts: ["default", "other"].map(|name| (name.to_owned(), Default::default())).into(),
            access_keys: ["a:1", "b:2:3@other"].map(|key| key.parse().unwrap()).into(),
            instances: ["i-gone-* state=gone", "*"].map(|rule| rule.parse().unwrap()).into(),
            instances_file: Some("i.csv".into()),
            faults: ["reset share=0.1 lands=true", "hang"].map(|rule| rule.parse().unwrap()).into(),
        };
        assert_eq!(format!("{settings:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_flag_wins_over_the_file_and_leaves_the_rest_of_it() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "latency = '5s'\nseed = 3\nadmin = true\n[[faults]]\nanswer = 'hang'\n[[instances]]\nids = 'i-*'";
        std::fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        let settings = settings_of(&["--file", path, "--latency", "1s", "--admin=false", "--fault", "reset"]);
        assert_eq!((settings.latency, settings.seed, settings.admin), (Duration::from_secs(1), 3, false));
        assert_eq!(settings.faults, ["reset".parse().unwrap()]);
        assert_eq!(settings.instances, ["i-*".parse().unwrap()]);
        assert_eq!(settings.listen.port(), 9470);
    }
}
