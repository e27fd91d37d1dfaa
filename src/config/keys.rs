//! The paths of all settings, such as `broker.url`: read off the serialised settings, so that no list can fall behind.

use serde_json::Value;

use super::{AccountSettings, ConfigError, Settings};
use crate::contract::AccountName;

/// The one setting that is a map with keys of the operator's own: it is set whole.
const MAP: &str = "error_classes";

/// A setting's path and value; JSON's null where it is not set.
pub type Leaf = (String, Value);

/// Every setting of these settings, sorted by path.
pub fn leaves(settings: &Settings) -> Result<Vec<Leaf>, ConfigError> {
    let mut leaves = Vec::new();
    collect("", serde_json::to_value(settings)?, &mut leaves);
    Ok(leaves)
}

fn collect(path: &str, value: Value, leaves: &mut Vec<Leaf>) {
    match value {
        Value::Object(members) if path.rsplit('.').next() != Some(MAP) => {
            for (key, member) in members {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                collect(&path, member, leaves);
            }
        }
        value => leaves.push((path.to_owned(), value)),
    }
}

/// Every setting there can be, with this name for the accounts'.
pub(super) fn all(account: AccountName) -> Result<Vec<String>, ConfigError> {
    let accounts = [(account, AccountSettings::default())].into();
    Ok(leaves(&Settings { accounts, ..Settings::default() })?.into_iter().map(|(path, _)| path).collect())
}

/// `Ok` if there is such a setting; else the path that looks most like it.
pub(super) fn find(path: &str) -> Result<Result<(), String>, ConfigError> {
    let named = path.strip_prefix("accounts.").and_then(|rest| rest.split('.').next());
    let account = named.and_then(|name| AccountName::new(name).ok()).unwrap_or_default();
    let all = all(account)?;
    if all.iter().any(|known| known == path) {
        return Ok(Ok(()));
    }
    let nearest = all.into_iter().min_by_key(|known| strsim::damerau_levenshtein(known, path));
    Ok(Err(nearest.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_known_by_its_path() {
        let all = all(AccountName::default()).unwrap();
        for path in ["broker.url", "broker.tls.ca_file", "worker.linger", "accounts.default.error_classes", "log.level"]
        {
            assert!(all.iter().any(|known| known == path), "{path} is missing in {all:?}");
        }
        assert!(!all.iter().any(|path| path == "broker" || path == "accounts"));
    }

    #[test]
    fn an_unknown_path_is_answered_with_the_nearest_known_one() {
        let cases = [
            ("broker.ulr", "broker.url"),
            ("worker.lingr", "worker.linger"),
            ("accounts.vno.end_point", "accounts.vno.endpoint"),
            ("accounts.vno.error_classes.Busy", "accounts.vno.error_classes"),
            ("log_level", "log.level"),
        ];
        for (path, nearest) in cases {
            assert_eq!(find(path).unwrap(), Err(nearest.to_owned()));
        }
        assert_eq!(find("accounts.vno.endpoint").unwrap(), Ok(()));
    }
}
