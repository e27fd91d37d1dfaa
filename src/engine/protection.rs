//! The ids that must never be released, whoever asks.

use std::collections::HashSet;

use crate::contract::InstanceId;

/// Exact ids, and prefixes. Asked at admission and again at every seal.
#[derive(Debug, Clone, Default)]
pub struct Protection {
    exact: HashSet<String>,
    prefixes: HashSet<String>,
}

/// An entry that protects nothing as it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("safety.protected: {0:?} is neither an instance id nor a prefix that ends in one *")]
pub struct InvalidProtection(pub String);

impl Protection {
    /// Builds the guard from entries such as `i-bp1abc` and `i-prod-*`.
    pub fn new<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidProtection> {
        let mut protection = Self::default();
        for entry in entries {
            let invalid = || InvalidProtection(entry.to_owned());
            match entry.strip_suffix('*') {
                Some("") => protection.prefixes.insert(String::new()),
                Some(prefix) if InstanceId::new(prefix).is_ok() && !prefix.contains('*') => {
                    protection.prefixes.insert(prefix.to_owned())
                }
                None if InstanceId::new(entry).is_ok() && !entry.contains('*') => {
                    protection.exact.insert(entry.to_owned())
                }
                _ => return Err(invalid()),
            };
        }
        Ok(protection)
    }

    /// Whether an id must not be released.
    pub fn covers(&self, id: &InstanceId) -> bool {
        let id = id.as_str();
        // Ids are ASCII, so every byte ends a character; a look-up a length stays cheap however many prefixes there are.
        self.exact.contains(id)
            || (!self.prefixes.is_empty() && (0..=id.len()).any(|length| self.prefixes.contains(&id[..length])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(entries: &[&str], id: &str) -> bool {
        Protection::new(entries.iter().copied()).unwrap().covers(&InstanceId::new(id).unwrap())
    }

    #[test]
    fn exact_ids_and_prefixes_are_covered_and_nothing_else() {
        assert!(covers(&["i-1"], "i-1"));
        assert!(!covers(&["i-1"], "i-11"));
        assert!(covers(&["i-prod-*"], "i-prod-7"));
        assert!(covers(&["i-prod-*"], "i-prod-"));
        assert!(!covers(&["i-prod-*"], "i-pro"));
        assert!(covers(&["*"], "anything"));
        assert!(!covers(&[], "anything"));
    }

    #[test]
    fn an_entry_that_would_protect_nothing_is_an_error() {
        for entry in ["", "i-*-x", "i 1", "a,b", "**", "é*"] {
            assert!(Protection::new([entry]).is_err(), "{entry:?}");
        }
    }
}
