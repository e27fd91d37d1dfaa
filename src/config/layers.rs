//! Defaults < file < environment < flags: how the layers become one, and where each value came from.

use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::path::Path;

use super::assignment::Assignment;
use super::{Origin, Settings, Violation, check, file, leaves, redacted};

/// Settings that are known to make sense, with their origins.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub settings: Settings,
    /// By path; what is not in here has its default.
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of a setting, such as `broker.url`, came from.
    pub fn origin(&self, path: &str) -> &Origin {
        self.origins.get(path).unwrap_or(&Origin::Default)
    }
}

/// Why there are no settings. Never quotes a value that may be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{location}: {problem}")]
    At { location: String, problem: String },
    #[error("{}", listed(.0))]
    Rules(Vec<(Violation, Origin)>),
    #[error("the settings can't be written out: {0}")]
    Unwritable(#[from] serde_json::Error),
}

impl ConfigError {
    pub(super) fn at(location: impl fmt::Display, problem: impl Into<String>) -> Self {
        // A type error quotes the value, and a broker's URL may stand in the wrong place.
        Self::At { location: location.to_string(), problem: redacted(&problem.into()) }
    }
}

fn listed(violations: &[(Violation, Origin)]) -> String {
    let mut text = String::new();
    for (index, (violation, origin)) in violations.iter().enumerate() {
        let separator = if index == 0 { "" } else { "\n" };
        // Writing to a string can't fail.
        write!(text, "{separator}{} ({origin}) {}", violation.setting, violation.problem).ok();
    }
    text
}

/// The variables of this process. One that is not Unicode is passed on with its bad bytes replaced.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

/// Lays the layers over each other and checks the whole.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    flags: &[String],
) -> Result<Loaded, ConfigError> {
    let mut table = file.map(file::read).transpose()?.unwrap_or_default();
    let in_file = table.clone();
    let from_environment =
        environment.filter_map(|(name, text)| Assignment::from_environment(&name, &text)).collect::<Vec<_>>();
    let from_flags = flags.iter().map(|flag| Assignment::from_flag(flag));

    let mut overridden = BTreeMap::new();
    for assignment in from_environment.into_iter().chain(from_flags) {
        let assignment = assignment?;
        overridden.insert(assignment.path.clone(), assignment.origin.clone());
        assignment.apply(&mut table);
    }
    let settings: Settings = table.try_into().map_err(|error: toml::de::Error| {
        // Each layer fitted by itself, so this would be our own mistake.
        ConfigError::at("the layers of settings together", error.message())
    })?;

    let mut origins = BTreeMap::new();
    for (path, _) in leaves(&settings)? {
        let from_file = || file.filter(|_| holds(&in_file, &path)).map(|file| Origin::File(file.to_owned()));
        if let Some(origin) = overridden.remove(&path).or_else(from_file) {
            origins.insert(path, origin);
        }
    }
    let loaded = Loaded { settings, origins };
    rules(&loaded.settings, |path| loaded.origin(path).clone())?;
    Ok(loaded)
}

/// Checks that settings make sense together; an error says where each that doesn't came from.
pub(super) fn rules(settings: &Settings, origin: impl Fn(&str) -> Origin) -> Result<(), ConfigError> {
    let violations = check(settings);
    if violations.is_empty() {
        return Ok(());
    }
    let with_origin = |violation: Violation| {
        let origin = origin(&violation.setting);
        (violation, origin)
    };
    Err(ConfigError::Rules(violations.into_iter().map(with_origin).collect()))
}

fn holds(table: &toml::Table, path: &str) -> bool {
    match path.split_once('.') {
        None => table.contains_key(path),
        Some((key, rest)) => table.get(key).and_then(toml::Value::as_table).is_some_and(|inner| holds(inner, rest)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>().into_iter()
    }

    fn written(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn without_any_layer_the_defaults_are_in_force() {
        let loaded = load(None, variables(&[("PATH", "/bin"), ("BULKRELEASE_CONFIG", "x")]), &[]).unwrap();
        assert_eq!(loaded.settings, Settings::default());
        assert_eq!(loaded.origin("broker.prefetch"), &Origin::Default);
    }

    #[test]
    fn flags_go_before_environment_before_file_before_defaults() {
        let file = written(
            "[broker]\nurl = 'amqp://file'\nprefetch = 1\n[broker.tls]\n[worker]\nlinger = '1ms'\nmax_wait = '9s'\n\
             [accounts.vno]\nburst = 3\n",
        );
        let environment = variables(&[
            ("BULKRELEASE__BROKER__URL", "amqp://environment"),
            ("BULKRELEASE__WORKER__LINGER", "2ms"),
            ("BULKRELEASE__ACCOUNTS__VNO__ENDPOINT", "business.aliyuncs.com"),
            ("BULKRELEASE__ACCOUNTS__OTHER__BURST", "2"),
        ]);
        let flags = ["worker.linger=3ms".to_owned(), "worker.linger=4ms".to_owned()];
        let loaded = load(Some(file.path()), environment, &flags).unwrap();

        assert_eq!(loaded.settings.broker.prefetch, 1);
        assert_eq!(loaded.settings.broker.url.as_deref(), Some("amqp://environment"));
        assert_eq!(loaded.settings.worker.linger.as_millis(), 4);
        let accounts: Vec<_> = loaded.settings.accounts.iter().map(|(name, a)| (name.as_str(), a.burst)).collect();
        assert_eq!(accounts, [("other", 2), ("vno", 3)]);

        let from_file = Origin::File(file.path().to_owned());
        let origins = [
            ("broker.prefetch", from_file.clone()),
            ("worker.max_wait", from_file.clone()),
            ("accounts.vno.burst", from_file),
            ("broker.url", Origin::Environment("BULKRELEASE__BROKER__URL".to_owned())),
            ("accounts.vno.endpoint", Origin::Environment("BULKRELEASE__ACCOUNTS__VNO__ENDPOINT".to_owned())),
            ("worker.linger", Origin::Flag),
            ("worker.split_budget", Origin::Default),
            ("accounts.vno.atomic", Origin::Default),
        ];
        for (path, origin) in origins {
            assert_eq!(loaded.origin(path), &origin, "{path}");
        }
    }

    #[test]
    fn a_broken_rule_names_every_setting_at_fault_with_its_origin() {
        let environment = variables(&[("BULKRELEASE__BROKER__URL", "http://u:secret@h")]);
        let error = load(None, environment, &["worker.linger=1m".to_owned()]).unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("broker.url (environment BULKRELEASE__BROKER__URL) "), "{text}");
        assert!(text.contains("\nworker.linger (flag --set) "), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
