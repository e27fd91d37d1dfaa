//! Values of a label that the world chooses, within a bound.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// Values of a label that the world chooses, as many as the series can bear.
#[derive(Debug)]
pub struct Labels {
    most: usize,
    known: Mutex<HashSet<String>>,
}

impl Labels {
    pub fn at_most(most: usize) -> Self {
        Self { most, known: Mutex::new(HashSet::new()) }
    }

    /// Every label there may be a series of.
    pub fn all(&self) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().cloned().chain(["other".to_owned()]).collect()
    }

    /// The value itself, or `other` once there are too many.
    pub fn label(&self, value: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(value) || known.len() < self.most {
            known.insert(value.to_owned());
            value.to_owned()
        } else {
            "other".to_owned()
        }
    }
}
