//! Which ids a rule speaks of: one id, all that begin alike, or a numbered range. A range is computed, never expanded, so
//! that one of millions costs what one of ten does.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::is_id;

/// `i-1`, `i-gone-*` or `i-{00000..99999}`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct IdPattern(Kind);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Exact(String),
    Prefix(String),
    Range(Range),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    before: String,
    after: String,
    first: u64,
    last: u64,
    /// Digits of every number, where they are written with leading zeros.
    width: usize,
}

impl IdPattern {
    pub(in super::super) fn matches(&self, id: &str) -> bool {
        match &self.0 {
            Kind::Exact(exact) => id == exact,
            Kind::Prefix(prefix) => id.starts_with(prefix.as_str()),
            Kind::Range(range) => range.matches(id),
        }
    }

    /// How many ids there are; `None` if there is no end to them.
    pub(super) fn count(&self) -> Option<u64> {
        match &self.0 {
            Kind::Exact(_) => Some(1),
            Kind::Prefix(_) => None,
            Kind::Range(range) => Some((range.last - range.first).saturating_add(1)),
        }
    }

    /// The ids in their order, made as they are asked for; none if there is no end to them.
    pub(super) fn ids(&self) -> Box<dyn Iterator<Item = String> + '_> {
        match &self.0 {
            Kind::Exact(exact) => Box::new(std::iter::once(exact.clone())),
            Kind::Prefix(_) => Box::new(std::iter::empty()),
            Kind::Range(range) => Box::new((range.first..=range.last).map(|number| range.id(number))),
        }
    }
}

impl Range {
    fn matches(&self, id: &str) -> bool {
        let inner = id.strip_prefix(self.before.as_str()).and_then(|rest| rest.strip_suffix(self.after.as_str()));
        inner.and_then(number).is_some_and(|(number, digits)| {
            (self.first..=self.last).contains(&number) && (digits == self.width.max(decimal_digits(number)))
        })
    }

    fn id(&self, number: u64) -> String {
        format!("{}{number:0width$}{}", self.before, self.after, width = self.width)
    }
}

/// A text of digits alone as a number, with how many they are.
fn number(text: &str) -> Option<(u64, usize)> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits).map(|number| (number, text.len()))
}

fn decimal_digits(number: u64) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

impl FromStr for IdPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |problem: &str| Err(format!("{text:?} {problem}: write an id, a prefix and *, or i-{{000..999}}"));
        if !is_id(text) {
            return wrong("is no id");
        }
        if let Some((before, rest)) = text.split_once('{') {
            let Some((inner, after)) = rest.split_once('}') else { return wrong("has no closing brace") };
            let ends = inner.split_once("..").and_then(|(first, last)| number(first).zip(number(last)));
            let Some(((first, first_digits), (last, last_digits))) = ends else { return wrong("holds no range") };
            if first > last || after.contains(['{', '}', '*']) || before.contains(['}', '*']) {
                return wrong("is no range from less to more");
            }
            let padded = first_digits == last_digits;
            let plain = decimal_digits(first) == first_digits && decimal_digits(last) == last_digits;
            if !padded && !plain {
                return wrong("has ends of unlike length");
            }
            let width = if padded { first_digits } else { 1 };
            let range = Range { before: before.to_owned(), after: after.to_owned(), first, last, width };
            return Ok(Self(Kind::Range(range)));
        }
        match text.strip_suffix('*').unwrap_or(text) {
            start if start.contains(['*', '}']) => wrong("is no pattern"),
            start if start.len() < text.len() => Ok(Self(Kind::Prefix(start.to_owned()))),
            exact => Ok(Self(Kind::Exact(exact.to_owned()))),
        }
    }
}

impl TryFrom<String> for IdPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<IdPattern> for String {
    fn from(pattern: IdPattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Exact(exact) => f.write_str(exact),
            Kind::Prefix(prefix) => write!(f, "{prefix}*"),
            Kind::Range(Range { before, after, first, last, width }) => {
                write!(f, "{before}{{{first:0width$}..{last:0width$}}}{after}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> IdPattern {
        text.parse().unwrap()
    }

    #[test]
    fn a_pattern_matches_its_ids_and_no_others() {
        let cases: [(&str, &[&str], &[&str]); 6] = [
            ("i-1", &["i-1"], &["i-", "i-11", "I-1", ""]),
            ("i-gone-*", &["i-gone-", "i-gone-1"], &["i-gone", "x-i-gone-1"]),
            ("*", &["i-1", "anything"], &[]),
            ("i-{000..120}", &["i-000", "i-007", "i-120"], &["i-0", "i-7", "i-0007", "i-121", "i-+07", "i-", "i-00a"]),
            ("i-{1..120}-x", &["i-1-x", "i-99-x", "i-120-x"], &["i-01-x", "i-0-x", "i-121-x", "i-1", "i-1-xx"]),
            ("{5..5}", &["5"], &["05", "4", "6"]),
        ];
        for (text, inside, outside) in cases {
            let pattern = pattern(text);
            assert_eq!(pattern.to_string(), text);
            for id in inside {
                assert!(pattern.matches(id), "{text} {id}");
            }
            for id in outside {
                assert!(!pattern.matches(id), "{text} {id}");
            }
        }
    }

    #[test]
    fn a_range_of_millions_is_two_numbers_and_its_ids_are_made_when_asked_for() {
        let pattern = pattern("i-{0000000..4999999}");
        assert_eq!(pattern.count(), Some(5_000_000));
        let Kind::Range(Range { first: 0, last: 4_999_999, width: 7, .. }) = &pattern.0 else {
            panic!("{pattern:?}");
        };
        assert!(pattern.ids().take(2).eq(["i-0000000", "i-0000001"]));
        assert!(pattern.ids().take(10).all(|id| pattern.matches(&id)));
        assert_eq!("i-{0..18446744073709551615}".parse::<IdPattern>().unwrap().count(), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_an_example() {
        let wrong = [
            "",
            "a,b",
            "a b",
            "i-*-x",
            "**",
            "i-{1..}",
            "i-{..2}",
            "i-{1..2",
            "i-1}",
            "i-{2..1}",
            "i-{1..2}*",
            "i-{1..2}{3..4}",
            "i-{01..100}",
            "i-{1..0100}",
            "i-{-1..2}",
            "i-{a..b}",
            "i-{1-2}",
            "i-*{1..2}",
            "i-{0..18446744073709551616}",
        ];
        for text in wrong {
            assert!(text.parse::<IdPattern>().unwrap_err().contains("write an id"), "{text}");
        }
    }
}
