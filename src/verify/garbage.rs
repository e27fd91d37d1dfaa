//! Bodies that are no jobs. Each has a dead letter with its very bytes and nothing else: one message, or numbered parts where
//! one would be too large, and then every part counts.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::finding::Finding;
use crate::contract::{JobId, MAX_BODY_BYTES, Message, header};

type Sha = [u8; 32];

#[derive(Debug, Default)]
pub(super) struct Garbage {
    bodies: HashMap<Sha, Body>,
    /// Whose each message's body would be, by its own digest and its number.
    parts: HashMap<(Sha, usize), Vec<Sha>>,
}

#[derive(Debug)]
struct Body {
    name: String,
    sent: u32,
    /// How often each of its parts came; it mostly has one.
    came: Vec<u32>,
}

impl Garbage {
    pub fn sent(&mut self, body: &[u8], message_id: Option<&str>) {
        let whole = sha(body);
        if let Some(known) = self.bodies.get_mut(&whole) {
            known.sent += 1;
            return;
        }
        // An empty body is a message all the same.
        let mut parts: Vec<_> = body.chunks(MAX_BODY_BYTES).map(sha).collect();
        if parts.is_empty() {
            parts.push(whole);
        }
        let name = message_id.map_or_else(|| JobId::of_body(body).to_string(), str::to_owned);
        self.bodies.insert(whole, Body { name, sent: 1, came: vec![0; parts.len()] });
        for (number, part) in parts.into_iter().enumerate() {
            self.parts.entry((part, number)).or_default().push(whole);
        }
    }

    /// Whether a dead letter is one of these, or a part of one.
    pub fn letter(&mut self, message: &Message) -> bool {
        let part = message.properties.headers.get(header::PART).and_then(|part| part.split_once('/'));
        let number = match part.map(|(number, count)| (number.parse::<usize>(), count.parse::<usize>())) {
            None => (1, 1),
            Some((Ok(number), Ok(count))) => (number, count),
            Some(_) => return false,
        };
        let (number, count) = (number.0.wrapping_sub(1), number.1);
        let mut found = false;
        for whole in self.parts.get(&(sha(&message.body), number)).into_iter().flatten() {
            if let Some(body) = self.bodies.get_mut(whole).filter(|body| body.came.len() == count) {
                body.came[number] += 1;
                found = true;
            }
        }
        found
    }

    pub fn count(&self) -> u64 {
        self.bodies.len() as u64
    }

    /// Those that no whole dead letter keeps, as often as they were sent.
    pub fn vanished(&self) -> impl Iterator<Item = Finding> {
        self.bodies.values().filter_map(|body| {
            let kept = body.came.iter().copied().min().unwrap_or_default();
            (kept < body.sent).then(|| Finding::Vanished { message: body.name.clone(), sent: body.sent, kept })
        })
    }
}

fn sha(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}
