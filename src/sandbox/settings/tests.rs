//! Holds settings files to the settings: what is read, what is refused, and that `config/sandbox.toml` shows all of it.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::super::faults::FaultAnswer;
use super::*;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/sandbox.toml");

fn example() -> String {
    std::fs::read_to_string(EXAMPLE).expect("config/sandbox.toml is part of the repository")
}

/// The fields of a kind of table, as the error for an unknown one lists them.
fn fields<T: DeserializeOwned>() -> BTreeSet<String> {
    let error = toml::from_str::<T>("zzz = 1").err().expect("no such field").message().to_owned();
    let fields: BTreeSet<_> = error.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    assert!(fields.len() > 1, "{error}");
    fields
}

/// The keys of one table, or of several of a kind together.
fn keys<'a>(tables: impl IntoIterator<Item = &'a Value>) -> BTreeSet<String> {
    tables.into_iter().flat_map(|value| value.as_table().expect("a table").keys().cloned()).collect()
}

#[test]
fn the_example_file_works_and_shows_every_setting() {
    let settings: SandboxSettings = example().parse().unwrap();
    settings.check().unwrap();
    let table: Table = example().replace("# instances_file", "instances_file").parse().unwrap();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), fields::<SandboxSettings>());
    let list = |name: &str| table[name].as_array().expect("a list");
    assert_eq!(keys(table["accounts"].as_table().expect("a table").values()), fields::<ParentAccount>());
    assert_eq!(keys(list("access_keys")), fields::<AccessKey>());
    assert_eq!(keys(list("instances")), fields::<InstanceRule>());
    assert_eq!(keys(list("faults")), fields::<FaultRule>());
}

#[test]
fn the_example_file_says_a_line_of_why_for_every_setting() {
    let text = example();
    let mut before = "";
    for line in text.lines() {
        let is_setting = line.trim_start_matches("# ").split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
        assert!(!is_setting || before.starts_with("# "), "the line above {line:?} says nothing of it");
        before = line;
    }
}

#[test]
fn a_file_says_what_it_says_and_the_rest_keeps_its_default() {
    let settings: SandboxSettings = "latency = '20ms'\n[[faults]]\nanswer = 'html-error'".parse().unwrap();
    assert_eq!((settings.latency, settings.atomic), (Duration::from_millis(20), true));
    assert_eq!(settings.listen.port(), 9470);
    assert_eq!(settings.faults, [FaultRule::new(FaultAnswer::HtmlError)]);
    assert_eq!(settings.access_keys[0].id, "sandbox");
}

#[test]
fn a_mistake_in_a_file_is_shown_with_its_place_and_setting() {
    let cases = [
        ("atomc = true", "s.toml:1:1: atomc: unknown field `atomc`"),
        ("\nlatency = 20", "s.toml:2:11: latency: invalid type"),
        ("latency = 'soon'", "latency: \"soon\" is no duration"),
        ("[accounts.a]\nvmo = true", "s.toml:2:1: accounts.a.vmo: unknown field `vmo`"),
        ("[[access_keys]]\nid = 'a'", "access_keys[0]: missing field `secret`"),
        ("[[access_keys]]\nid = 'a'\nsecret = 'b'\npolicies = ['{}']", "access_keys[0].policies[0]: is no RAM policy"),
        ("[[instances]]\nids = 'i-{9..1}'", "instances[0].ids: \"i-{9..1}\" is no range"),
        ("[[instances]]\nids = 'i'\nstate = 'sold'", "instances[0].state: unknown variant `sold`"),
        ("[[faults]]\nanswer = 'boom'", "faults[0].answer: unknown variant `boom`"),
        ("[[faults]]\nanswer = 'reset'\n[[faults]]\nshare = 1", "faults[1]: missing field `answer`"),
    ];
    for (text, expected) in cases {
        let problem = SandboxSettings::parse(Path::new("s.toml"), text).expect_err(text).to_string();
        assert!(problem.contains(expected), "{text}: {problem}");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_quoted_in_an_error() {
    for text in [
        "access_keys = 'id:hidden'",
        "access_keys = ['id:hidden']",
        "[[access_keys]]\nid = 'a'\nsecret = 4815162342",
        "[[access_keys]]\nid = 'a'\nsecret = ['hidden']",
        "[[access_keys]]\nid = 'a'\nsecret = 'b'\nsecurity_token = 4815162342",
        "[[access_keys]]\nid = 'a'\nsecret = 4815162342.5",
    ] {
        let problem = SandboxSettings::parse(Path::new("s.toml"), text).expect_err(text);
        let said = format!("{problem} {problem:?}");
        assert!(!said.contains("hidden") && !said.contains("4815162342"), "{said}");
        assert!(said.contains("access_keys"), "{said}");
    }
}

#[test]
fn a_files_instances_are_looked_for_beside_it() {
    let of = |text: &str| SandboxSettings::parse(Path::new("folder/s.toml"), text).unwrap().instances_file;
    assert_eq!(of("instances_file = 'i.csv'").as_deref(), Some(Path::new("folder/i.csv")));
    assert_eq!(of("instances_file = '/i.csv'").as_deref(), Some(Path::new("/i.csv")));
    assert_eq!(of(""), None);
}

#[test]
fn what_makes_no_sense_together_is_refused_by_name() {
    let key = "[[access_keys]]\nid = 'a'\nsecret = 'b'\n";
    let cases = [
        ("access_keys = []".to_owned(), "access_keys is empty"),
        ("calls_per_second = 0".to_owned(), "calls_per_second is 0"),
        ("[accounts.default]\ncalls_per_second = -1".to_owned(), "accounts.default.calls_per_second is -1"),
        ("latency_p99 = '1s'".to_owned(), "latency_p99 must not be below latency"),
        (format!("{key}{key}"), "access_keys[1].id repeats \"a\""),
        (format!("{key}account = 'c'"), "access_keys[0].account is \"c\", which is no account here"),
        (format!("{key}policies = ['{{\"Version\":\"1\",\"Statement\":[]}}']"), "access_keys[0].policies bind nobody"),
        (format!("{key}expires_after = '1s'"), "access_keys[0].expires_after needs a security_token"),
        (format!("{key}user = ''"), "access_keys[0].user is empty"),
        (format!("{key}security_token = ''"), "access_keys[0].security_token is empty"),
        ("[[access_keys]]\nid = ''\nsecret = 'b'".to_owned(), "access_keys[0].id or its secret is empty"),
        (
            "[[instances]]\nids = '*'\nsubscription_type = 'Monthly'".to_owned(),
            "instances[0].subscription_type is \"Monthly\"",
        ),
        ("[[faults]]\nanswer = 'reset'\nevery = 0".to_owned(), "faults[0].every is 0"),
    ];
    for (text, expected) in cases {
        let settings: SandboxSettings = text.parse().unwrap_or_else(|problem| panic!("{text}: {problem}"));
        let problem = settings.check().expect_err(&text).to_string();
        assert!(problem.starts_with(expected), "{text}: {problem}");
    }
}
