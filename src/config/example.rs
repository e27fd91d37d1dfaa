//! Holds `config/bulkrelease.toml`, the file that people copy, to the settings.

use std::path::Path;

use super::{AccountSettings, Settings, keys, load};
use crate::contract::AccountName;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/bulkrelease.toml");

fn text() -> String {
    std::fs::read_to_string(EXAMPLE).expect("config/bulkrelease.toml is part of the repository")
}

/// The example with every setting that is commented out (`# key = value`) in force.
fn uncommented() -> String {
    let is_key = |key: &str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_') && !key.is_empty();
    let uncomment = |line: &str| match line.strip_prefix("# ").map(|rest| (rest, rest.split_once(" = "))) {
        Some((rest, Some((key, _)))) if is_key(key) => rest.to_owned(),
        _ => line.to_owned(),
    };
    text().lines().map(uncomment).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_example_file_is_valid_and_holds_the_defaults() {
    let loaded = load(Some(Path::new(EXAMPLE)), std::iter::empty(), &[]).unwrap();
    let accounts = [(AccountName::default(), AccountSettings::default())].into();
    assert_eq!(loaded.settings, Settings { accounts, ..Settings::default() });
}

#[test]
fn the_example_file_names_every_setting_with_a_value_of_its_type() {
    let text = uncommented();
    toml::from_str::<Settings>(&text).unwrap();
    let table: toml::Table = text.parse().unwrap();
    for path in keys::all(AccountName::default()).unwrap() {
        let mut value = Some(&toml::Value::Table(table.clone()));
        for key in path.split('.') {
            value = value.and_then(|value| value.get(key));
        }
        assert!(value.is_some(), "{path} is missing in {EXAMPLE}");
    }
}

#[test]
fn the_example_file_says_a_line_of_why_for_every_setting() {
    let text = text();
    let mut before = "";
    for line in text.lines() {
        let is_setting = line.trim_start_matches("# ").split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        if is_setting {
            assert!(before.starts_with("# "), "the line above {line:?} says nothing of it");
        }
        before = line;
    }
}
