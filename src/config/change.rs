//! Which of changed settings a running worker takes on, and which wait for its next start. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::layers::rules;
use super::{ConfigError, Loaded, Settings, leaves};

/// What became of the settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What is in force from here on.
    pub settings: Settings,
    /// The paths of what has changed, and is in force.
    pub applied: Vec<String>,
    /// The paths of what has changed and isn't in force before the next start.
    pub needs_restart: Vec<String>,
}

/// Takes on of the loaded settings what can be taken on. What makes no sense together is refused: a setting that waits for a
/// start may be what another one needs.
pub fn change(running: &Settings, loaded: &Loaded) -> Result<Change, ConfigError> {
    let mut settings = running.clone();
    settings.safety.clone_from(&loaded.settings.safety);
    settings.log.level.clone_from(&loaded.settings.log.level);
    for (name, account) in &mut settings.accounts {
        if let Some(new) = loaded.settings.accounts.get(name) {
            account.calls_per_second = new.calls_per_second;
            account.burst = new.burst;
            account.read_back_calls_per_second = new.read_back_calls_per_second;
        }
    }
    rules(&settings, |path| loaded.origin(path).clone())?;
    let applied = differences(running, &settings)?;
    let needs_restart = differences(&settings, &loaded.settings)?;
    Ok(Change { settings, applied: applied.into_iter().collect(), needs_restart: needs_restart.into_iter().collect() })
}

/// The paths in which two settings differ; of an account that only one of them has, the account's.
fn differences(one: &Settings, other: &Settings) -> Result<BTreeSet<String>, ConfigError> {
    let (before, after) = (leaves(one)?, leaves(other)?);
    let before: BTreeMap<_, _> = before.into_iter().collect();
    let after: BTreeMap<_, _> = after.into_iter().collect();
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differ = paths.into_iter().filter(|path| before.get(*path) != after.get(*path));
    let common = |path: &String| match (before.contains_key(path), path.rsplit_once('.')) {
        (had, Some((account, _))) if had != after.contains_key(path) => account.to_owned(),
        _ => path.clone(),
    };
    Ok(differ.map(common).collect())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::config::load;

    fn loaded(text: &str) -> Loaded {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path()), std::iter::empty(), &[]).unwrap()
    }

    const RUNNING: &str = "broker.url = 'amqp://host'\naccounts.vno.endpoint = 'a.example'\naccounts.vno.burst = 2";

    #[test]
    fn what_can_change_does_and_what_can_not_is_named() {
        let running = loaded(RUNNING).settings;
        let cases: [(&str, &[&str], &[&str]); 5] = [
            (RUNNING, &[], &[]),
            (
                "broker.url = 'amqp://host'\nlog.level = 'debug'\nsafety.protected = ['i-1']\n[accounts.vno]\n\
                 endpoint = 'a.example'\nburst = 3\ncalls_per_second = 'auto'\nread_back_calls_per_second = 9",
                &[
                    "accounts.vno.burst",
                    "accounts.vno.calls_per_second",
                    "accounts.vno.read_back_calls_per_second",
                    "log.level",
                    "safety.protected",
                ],
                &[],
            ),
            (
                "broker.url = 'amqp://elsewhere'\naccounts.vno.endpoint = 'b.example'\naccounts.vno.burst = 4",
                &["accounts.vno.burst"],
                &["accounts.vno.endpoint", "broker.url"],
            ),
            (
                "broker.url = 'amqp://host'\naccounts.other.endpoint = 'a.example'\nworker.linger = '1ms'",
                &[],
                &["accounts.other", "accounts.vno", "worker.linger"],
            ),
            ("broker.url = 'amqp://host'\naccounts.vno.endpoint = 'a.example'", &["accounts.vno.burst"], &[]),
        ];
        for (text, applied, needs_restart) in cases {
            let change = change(&running, &loaded(text)).unwrap();
            assert_eq!(
                (&change.applied[..], &change.needs_restart[..]),
                (&strings(applied)[..], &strings(needs_restart)[..]),
                "{text}"
            );
            assert_eq!(change.settings.broker.url.as_deref(), Some("amqp://host"));
            assert!(change.settings.accounts.keys().map(|name| name.as_str()).eq(["vno"]));
        }
    }

    fn strings(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_setting_that_makes_sense_only_with_one_that_waits_for_a_start_is_refused() {
        let running = loaded(RUNNING).settings;
        let slow = loaded(&format!("{RUNNING}\naccounts.vno.calls_per_second = 0.03\nworker.max_hold = '15m'"));
        let said = change(&running, &slow).unwrap_err().to_string();
        assert!(said.starts_with("accounts.vno.calls_per_second (") && said.contains("too few"), "{said}");
    }
}
