//! `bulkrelease sandbox`: serve a `ReleaseInstance` API that releases nothing real.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::parse_duration;
use crate::sandbox::{AccessKey, Faults, InstanceRules, Sandbox, SandboxSettings};

/// Serve a ReleaseInstance API to rehearse against. It releases nothing real.
#[derive(Debug, Args)]
pub struct SandboxCommand {
    /// Where to listen; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9470")]
    pub listen: SocketAddr,

    /// An access key that may call; repeat it for more accounts, each with a quota of its own
    #[arg(long = "access-key", value_name = "ID:SECRET", default_value = "sandbox:sandbox")]
    pub access_keys: Vec<AccessKey>,

    /// Accept requests of any time, such as recorded ones
    #[arg(long)]
    pub any_time: bool,

    /// Show what happened to whoever asks, at /_sandbox/counts and /_sandbox/ledger
    #[arg(long)]
    pub admin: bool,

    /// The quota of each account; none without it
    #[arg(long, value_name = "RATE")]
    pub calls_per_second: Option<f64>,

    /// Tell a throttled caller how long to wait (x-acs-retry-after)
    #[arg(long)]
    pub retry_after: bool,

    /// How long an answer takes
    #[arg(long, value_name = "DURATION", default_value = "20ms", value_parser = parse_duration)]
    pub latency: Duration,

    /// Up to this much more, different for each call
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = parse_duration)]
    pub jitter: Duration,

    /// Ids that begin so never existed
    #[arg(long, value_name = "PREFIX")]
    pub gone_prefix: Option<String>,

    /// Ids that begin so belong to another account
    #[arg(long, value_name = "PREFIX")]
    pub foreign_prefix: Option<String>,

    /// Ids that begin so can't be released in their state
    #[arg(long, value_name = "PREFIX")]
    pub locked_prefix: Option<String>,

    /// Release the good ids of a batch that is refused for a bad one
    #[arg(long)]
    pub not_atomic: bool,

    /// Name the bad ids in a refusal
    #[arg(long)]
    pub name_ids: bool,

    /// The share of calls answered with 503, nothing done
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub service_unavailable: f64,

    /// The share of calls answered with 500, nothing done
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub internal_error: f64,

    /// The share of calls that take effect and are answered with 500
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub ghost_error: f64,

    /// The share of calls that take effect and are not answered in time
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub ghost_hang: f64,

    /// The share of calls that do nothing and are not answered in time
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub hang: f64,

    /// How long a hanging call hangs
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub hang_for: Duration,

    /// Decides which calls fail, and how long each takes
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    pub seed: u64,
}

impl SandboxCommand {
    /// Serves until SIGINT or SIGTERM.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let listen = self.listen;
        let settings = self.into_settings();
        let keys = settings.access_keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>().join(", ");
        let sandbox = Sandbox::start(settings).await.with_context(|| format!("the sandbox can't start at {listen}"))?;
        say!("sandbox: http://{} (access key: {keys}); nothing real is released", sandbox.address());
        let end = async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        sandbox.serve_until(end).await.context("the sandbox failed")
    }

    fn into_settings(self) -> SandboxSettings {
        SandboxSettings {
            listen: self.listen,
            access_keys: self.access_keys,
            check_clock: !self.any_time,
            admin: self.admin,
            calls_per_second: self.calls_per_second,
            retry_after: self.retry_after,
            latency: self.latency,
            jitter: self.jitter,
            instances: InstanceRules {
                gone_prefix: self.gone_prefix,
                foreign_prefix: self.foreign_prefix,
                locked_prefix: self.locked_prefix,
                atomic: !self.not_atomic,
                name_ids: self.name_ids,
            },
            faults: Faults {
                service_unavailable: self.service_unavailable,
                internal_error: self.internal_error,
                ghost_error: self.ghost_error,
                ghost_hang: self.ghost_hang,
                hang: self.hang,
                hang_for: self.hang_for,
            },
            seed: self.seed,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn settings_of(line: &str) -> SandboxSettings {
        let command = SandboxCommand::augment_args(Command::new("sandbox"));
        let matches = command.try_get_matches_from(line.split_whitespace()).unwrap();
        SandboxCommand::from_arg_matches(&matches).unwrap().into_settings()
    }

    #[test]
    fn without_flags_a_sandbox_is_orderly_and_keeps_the_clock() {
        let settings = settings_of("sandbox");
        assert_eq!(settings.access_keys[0].id, "sandbox");
        assert_eq!((settings.latency, settings.calls_per_second), (Duration::from_millis(20), None));
        assert_eq!((settings.faults, settings.instances), (Faults::default(), InstanceRules::default()));
        assert!(settings.check_clock && !settings.admin && !settings.retry_after);
    }

    #[test]
    fn every_flag_reaches_the_sandbox() {
        let settings = settings_of(
            "sandbox --listen 127.0.0.1:0 --access-key a:1 --access-key b:2:3 --any-time --admin --calls-per-second 2.5 \
             --retry-after --latency 1s --jitter 5ms --gone-prefix g- --foreign-prefix f- --locked-prefix l- --not-atomic \
             --name-ids --service-unavailable 0.1 --internal-error 0.2 --ghost-error 0.3 --ghost-hang 0.15 --hang 0.05 \
             --hang-for 2m --seed 9",
        );
        assert_eq!(settings.listen.port(), 0);
        assert_eq!(settings.access_keys.iter().map(|key| key.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(!settings.check_clock && settings.admin && settings.retry_after);
        assert_eq!((settings.calls_per_second, settings.seed), (Some(2.5), 9));
        assert_eq!((settings.latency, settings.jitter), (Duration::from_secs(1), Duration::from_millis(5)));
        let prefix = |text: &str| Some(text.to_owned());
        let instances = InstanceRules {
            gone_prefix: prefix("g-"),
            foreign_prefix: prefix("f-"),
            locked_prefix: prefix("l-"),
            atomic: false,
            name_ids: true,
        };
        assert_eq!(settings.instances, instances);
        let faults = Faults {
            service_unavailable: 0.1,
            internal_error: 0.2,
            ghost_error: 0.3,
            ghost_hang: 0.15,
            hang: 0.05,
            hang_for: Duration::from_secs(120),
        };
        assert_eq!(settings.faults, faults);
    }
}
