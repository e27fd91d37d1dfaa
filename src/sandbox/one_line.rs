//! Rules in one line, as flags and tests write them: `i-gone-* state=gone`. The first word is the rule's subject, the rest
//! are the keys of its table in a settings file, so that both forms know the same words.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

/// Reads `FIRST KEY=VALUE ...`. The keys in `literals` hold numbers or booleans, all others text.
pub(super) fn parse<T: DeserializeOwned>(first: &str, literals: &[&str], line: &str) -> Result<T, String> {
    let mut table = Table::new();
    let mut words = line.split_whitespace();
    let subject = words.next().ok_or_else(|| format!("the rule is empty: begin it with its {first}"))?;
    table.insert(first.to_owned(), Value::String(subject.to_owned()));
    for word in words {
        let (key, text) =
            word.split_once('=').ok_or_else(|| format!("{word:?} has no value: write KEY=VALUE after the {first}"))?;
        let value = match literals.contains(&key) {
            true => literal(text).ok_or_else(|| format!("{key}={text} is neither a number nor true or false"))?,
            false => Value::String(text.to_owned()),
        };
        if table.insert(key.to_owned(), value).is_some() {
            return Err(format!("{key} stands there twice"));
        }
    }
    serde_path_to_error::deserialize(table).map_err(|error| match error.path().to_string() {
        path if path == "." => error.inner().message().to_owned(),
        path => format!("{path}: {}", error.inner().message()),
    })
}

fn literal(text: &str) -> Option<Value> {
    let boolean = text.parse().map(Value::Boolean).ok();
    let integer = || text.parse().map(Value::Integer).ok();
    boolean.or_else(integer).or_else(|| text.parse().map(Value::Float).ok())
}
