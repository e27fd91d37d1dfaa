//! Which letters are meant: filters, as they stand on the command line. Each narrows the selection; a filter that is given
//! several times takes any of its values.

use std::time::Duration;

use jiff::Timestamp;

use super::letter::Letter;
use crate::config::parse_duration;

#[derive(Debug, Default, Clone, clap::Args)]
#[command(next_help_heading = "Which letters (all filters must match; one given twice takes either value)")]
pub struct Selection {
    /// What died of this, or of what begins so: the fingerprint that `list` shows
    #[arg(long = "fingerprint", value_name = "FINGERPRINT", value_parser = beginning)]
    pub fingerprints: Vec<String>,

    /// The letter of this id, or of one that begins so: `show` shows it
    #[arg(long = "letter", value_name = "ID", value_parser = beginning)]
    pub letters: Vec<String>,

    /// What died with this code, such as InvalidOwner
    #[arg(long = "code", value_name = "CODE", value_parser = some_text)]
    pub codes: Vec<String>,

    /// What died for this reason, such as Rejected, Unresolved or Malformed
    #[arg(long = "reason", value_name = "REASON", value_parser = some_text)]
    pub reasons: Vec<String>,

    /// Jobs of this ProductCode
    #[arg(long = "product", value_name = "CODE", value_parser = some_text)]
    pub products: Vec<String>,

    /// The job of this name
    #[arg(long = "job", value_name = "JOBID", value_parser = some_text)]
    pub jobs: Vec<String>,

    /// Jobs with this label
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    pub labels: Vec<(String, String)>,

    /// What died longer ago, such as 2h
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub older_than: Option<Duration>,

    /// What died since, such as 15m
    #[arg(long, value_name = "AGE", value_parser = parse_duration)]
    pub newer_than: Option<Duration>,
}

impl Selection {
    /// Whether no filter is given, so that every letter is meant.
    pub fn is_everything(&self) -> bool {
        let Self { fingerprints, letters, codes, reasons, products, jobs, labels, older_than, newer_than } = self;
        let lists = [fingerprints, letters, codes, reasons, products, jobs];
        lists.into_iter().all(Vec::is_empty) && labels.is_empty() && older_than.is_none() && newer_than.is_none()
    }

    /// Whether the letter is meant. One that doesn't say when it died has no age, and no filter by age means it.
    pub fn takes(&self, letter: &Letter, now: Timestamp) -> bool {
        let one_of = |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|one| one == found);
        let begins =
            |wanted: &[String], found: &str| wanted.is_empty() || wanted.iter().any(|one| found.starts_with(one));
        let labelled = |(name, value): &(String, String)| {
            letter.job.as_ref().is_ok_and(|job| job.labels.get(name).is_some_and(|found| found == value))
        };
        let age = letter.died_at.map(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
        begins(&self.fingerprints, &letter.fingerprint)
            && (self.letters.is_empty() || begins(&self.letters, &letter.identity.to_string()))
            && one_of(&self.codes, &letter.code)
            && one_of(&self.reasons, &letter.reason)
            && one_of(&self.products, &letter.product)
            && one_of(&self.jobs, &letter.job_name)
            && (self.labels.is_empty() || self.labels.iter().any(labelled))
            && self.older_than.is_none_or(|least| age.is_some_and(|age| age > least))
            && self.newer_than.is_none_or(|most| age.is_some_and(|age| age <= most))
    }
}

/// An empty filter is a variable that was not set: it must not mean every letter.
fn some_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("is empty: name what is meant, or leave the filter out".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The beginning of a fingerprint or a letter's id: long enough not to mean half the queue.
fn beginning(text: &str) -> Result<String, String> {
    if text.len() < 4 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("write at least its first 4 hexadecimal digits, as `list` and `show` print them".to_owned());
    }
    Ok(text.to_ascii_lowercase())
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::dead::letter::tests::dead;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        selection: Selection,
    }

    #[test]
    fn filters_narrow_each_other_and_a_repeated_one_takes_any_of_its_values() {
        let letter = Letter::read(&dead("order-7", &["i-1"], "InvalidOwner", "not yours"));
        let now = Timestamp::from_second(60 + 3600).unwrap();
        let (fingerprint, identity) = (letter.fingerprint.clone(), letter.identity.to_string());
        let cases: Vec<(Vec<&str>, bool)> = vec![
            (vec![], true),
            (vec!["--fingerprint", &fingerprint], true),
            (vec!["--fingerprint", &fingerprint[..4]], true),
            (vec!["--fingerprint", "ffff0000ffff"], false),
            (vec!["--fingerprint", "ffff0000ffff", "--fingerprint", &fingerprint], true),
            (vec!["--letter", &identity[..8]], true),
            (vec!["--letter", "ffff0000"], false),
            (vec!["--code", "InvalidOwner", "--product", "ecs", "--job", "order-7", "--reason", "Rejected"], true),
            (vec!["--code", "InvalidOwner", "--product", "rds"], false),
            (vec!["--code", "invalidowner"], false),
            (vec!["--label", "team=x"], true),
            (vec!["--label", "team=y"], false),
            (vec!["--label", "team=y", "--label", "team=x"], true),
            (vec!["--older-than", "59m"], true),
            (vec!["--older-than", "1h"], false),
            (vec!["--newer-than", "1h"], true),
            (vec!["--newer-than", "59m"], false),
            (vec!["--older-than", "30m", "--newer-than", "2h"], true),
        ];
        for (flags, taken) in cases {
            let arguments = std::iter::once("dead").chain(flags.iter().copied());
            let selection = Command::try_parse_from(arguments).unwrap().selection;
            assert_eq!(selection.takes(&letter, now), taken, "{flags:?}");
            assert_eq!(selection.is_everything(), flags.is_empty(), "{flags:?}");
        }
    }

    #[test]
    fn a_filter_that_can_not_be_meant_is_refused() {
        for flags in [
            ["--label", "team"],
            ["--older-than", "yesterday"],
            ["--newer-than", "5"],
            ["--fingerprint", ""],
            ["--fingerprint", "abc"],
            ["--letter", ""],
            ["--letter", "InvalidOwner"],
            ["--code", ""],
            ["--reason", ""],
            ["--product", ""],
            ["--job", ""],
        ] {
            assert!(Command::try_parse_from(["dead"].iter().chain(&flags)).is_err(), "{flags:?}");
        }
    }

    #[test]
    fn what_does_not_say_when_it_died_has_no_age() {
        let foreign = Letter::read(&crate::contract::Message::default());
        for age in ["--older-than", "--newer-than"] {
            let selection = Command::try_parse_from(["dead", age, "1h"]).unwrap().selection;
            assert!(!selection.takes(&foreign, Timestamp::now()));
        }
    }
}
