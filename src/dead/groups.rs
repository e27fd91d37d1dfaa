//! Letters that died of the same thing and for the same reason, counted: one advice fits them all. However many letters there
//! are, and however few of them are alike, it takes a bounded amount of memory.

use std::cmp::Reverse;
use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::advice::advice;
use super::letter::Letter;

/// Groups that are kept apart. What is of a further one is only counted.
const MOST_GROUPS: usize = 5_000;

/// The letters of one fingerprint, reason and action.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Group {
    pub fingerprint: String,
    pub reason: String,
    pub code: String,
    pub product: String,
    pub letters: u64,
    /// Instance ids in them, as far as their bodies can be read.
    pub ids: u64,
    /// Letters that no worker can read: not valid as a job, or in parts.
    pub unreadable: u64,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    /// The id and the job of one of them, and what it says.
    pub example: String,
    pub example_job: String,
    pub explanation: String,
    /// What to do about them.
    pub action: &'static str,
}

impl Group {
    fn of(letter: &Letter) -> Self {
        Self {
            fingerprint: letter.fingerprint.clone(),
            reason: printable(&letter.reason),
            code: printable(&letter.code),
            product: printable(&letter.product),
            letters: 0,
            ids: 0,
            unreadable: 0,
            oldest: None,
            newest: None,
            example: letter.identity.to_string(),
            example_job: printable(&letter.job_name),
            explanation: printable(&letter.explanation),
            action: advice(letter),
        }
    }

    fn count(&mut self, letter: &Letter) {
        self.letters += 1;
        self.ids += letter.ids();
        self.unreadable += u64::from(letter.job.is_err());
        self.oldest = self.oldest.into_iter().chain(letter.died_at).min();
        self.newest = self.newest.into_iter().chain(letter.died_at).max();
    }
}

/// What a stranger wrote, on one line and without what would upset a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect()
}

/// What the letters of a group have in common.
type Key = (String, String, &'static str);

/// All groups, and how much there is in all.
#[derive(Debug, Default)]
pub struct Groups {
    by_key: HashMap<Key, Group>,
    pub letters: u64,
    pub ids: u64,
    /// Letters of further groups than are kept apart.
    pub further: u64,
}

impl Groups {
    pub fn add(&mut self, letter: &Letter) {
        if !letter.is_counted() {
            return;
        }
        self.letters += 1;
        self.ids += letter.ids();
        let key = (letter.fingerprint.clone(), printable(&letter.reason), advice(letter));
        if let Some(group) = self.by_key.get_mut(&key) {
            group.count(letter);
        } else if self.by_key.len() < MOST_GROUPS {
            let mut group = Group::of(letter);
            group.count(letter);
            self.by_key.insert(key, group);
        } else {
            self.further += 1;
        }
    }

    /// The groups, the largest first.
    pub fn listed(&self) -> Vec<&Group> {
        let mut groups: Vec<&Group> = self.by_key.values().collect();
        let name = |group: &Group| (group.fingerprint.clone(), group.reason.clone(), group.action);
        groups.sort_by_cached_key(|group| (Reverse(group.letters), name(group)));
        groups
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::header;
    use crate::dead::letter::tests::dead;

    #[test]
    fn letters_of_one_fingerprint_are_one_group_and_the_largest_comes_first() {
        let mut groups = Groups::default();
        groups.add(&Letter::read(&dead("a", &["i-1"], "Locked", "i-1 is locked")));
        for job in ["b", "c"] {
            groups.add(&Letter::read(&dead(job, &["i-2", "i-3"], "InvalidOwner", &format!("i-{job}9 is not yours"))));
        }
        groups.add(&Letter::read(&crate::contract::Message::default()));
        assert_eq!((groups.letters, groups.ids), (4, 5));
        let listed = groups.listed();
        let first = listed[0];
        assert_eq!((first.code.as_str(), first.letters, first.ids, first.unreadable), ("InvalidOwner", 2, 4, 0));
        assert_eq!((first.example_job.as_str(), first.oldest), ("b", Some(Timestamp::from_second(60).unwrap())));
        assert_eq!(listed.len(), 3);
    }

    #[test]
    fn what_one_advice_does_not_fit_is_no_one_group() {
        let rejected = dead("a", &["i-1"], "ProductNotSupported", "no");
        let mut unresolved = rejected.clone();
        unresolved.properties.headers.insert(header::REASON.to_owned(), "Unresolved".to_owned());
        let mut groups = Groups::default();
        for letter in [&rejected, &unresolved, &unresolved] {
            groups.add(&Letter::read(letter));
        }
        let listed: Vec<_> = groups.listed().iter().map(|group| (group.reason.clone(), group.letters)).collect();
        assert_eq!(listed, [("Unresolved".to_owned(), 2), ("Rejected".to_owned(), 1)]);
        let [one, other] = &groups.listed()[..] else { panic!("two groups") };
        assert!(one.fingerprint == other.fingerprint && one.action != other.action);
    }

    #[test]
    fn what_is_shown_can_not_upset_a_terminal() {
        assert_eq!(printable("a\nb\u{1b}[31mc"), "a b [31mc");
        assert_eq!(printable(&"x".repeat(1000)).len(), 300);
    }

    #[test]
    fn fingerprints_without_end_are_counted_in_bounded_memory() {
        let mut groups = Groups::default();
        for number in 0..MOST_GROUPS + 7 {
            groups.add(&Letter::read(&dead("a", &["i-1"], &format!("Code{number}"), "e")));
        }
        assert_eq!((groups.listed().len(), groups.further), (MOST_GROUPS, 7));
        assert_eq!(groups.letters, MOST_GROUPS as u64 + 7);
    }
}
