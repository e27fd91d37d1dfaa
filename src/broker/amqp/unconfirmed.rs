//! What is still to be published, and what waits for its confirm. Pure: it loses nothing and keeps the order, whatever
//! the broker answers and however often the connection breaks.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::broker::{DeliveryTag, Publication};

/// One publication of a settlement.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The order in which the publications were asked for.
    number: u64,
    tag: DeliveryTag,
    pub(super) publication: Publication,
}

#[derive(Debug)]
struct Written {
    since: Duration,
    outgoing: Arc<Outgoing>,
}

#[derive(Debug, Default)]
pub(super) struct Unconfirmed {
    asked: u64,
    /// To be written, in the order of their numbers.
    waiting: VecDeque<Arc<Outgoing>>,
    /// Slots of what was written to the present channel; `None` is confirmed, or waiting again.
    written: VecDeque<Option<Written>>,
    first_slot: u64,
    /// Publications still to be confirmed, by settlement.
    open: HashMap<DeliveryTag, usize>,
}

impl Unconfirmed {
    /// Takes the publications of one settlement: at least one, or nobody would ever hear of it again.
    pub(super) fn add(&mut self, tag: DeliveryTag, publications: Vec<Publication>) {
        *self.open.entry(tag).or_default() += publications.len();
        for publication in publications {
            self.waiting.push_back(Arc::new(Outgoing { number: self.asked, tag, publication }));
            self.asked += 1;
        }
    }

    /// A session is lost: its deliveries come again, and their results with them.
    pub(super) fn forget(&mut self, session: u64) {
        self.open.retain(|tag, _| tag.session != session);
        self.waiting.retain(|outgoing| outgoing.tag.session != session);
    }

    /// The next publication to write, and the slot under which its answer is reported.
    pub(super) fn next(&mut self, now: Duration) -> Option<(u64, Arc<Outgoing>)> {
        let outgoing = self.waiting.pop_front()?;
        let slot = self.first_slot + self.written.len() as u64;
        self.written.push_back(Some(Written { since: now, outgoing: Arc::clone(&outgoing) }));
        Some((slot, outgoing))
    }

    /// The broker has it. Answers with the settlement, if that was its last publication.
    pub(super) fn confirmed(&mut self, slot: u64) -> Option<DeliveryTag> {
        let tag = self.take(slot)?.tag;
        let left = self.open.get_mut(&tag)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.open.remove(&tag);
        Some(tag)
    }

    /// The broker would not store it: it is written again, before everything asked for later. Whose it is, if anybody waits.
    pub(super) fn refused(&mut self, slot: u64) -> Option<DeliveryTag> {
        let outgoing = self.take(slot).filter(|outgoing| self.open.contains_key(&outgoing.tag))?;
        let (tag, place) = (outgoing.tag, self.waiting.partition_point(|waiting| waiting.number < outgoing.number));
        self.waiting.insert(place, outgoing);
        Some(tag)
    }

    /// Whatever had no answer may be lost: it is written again.
    pub(super) fn connection_lost(&mut self) {
        self.first_slot += self.written.len() as u64;
        let mut again: Vec<_> = self.written.drain(..).flatten().map(|written| written.outgoing).collect();
        again.retain(|outgoing| self.open.contains_key(&outgoing.tag));
        self.waiting.extend(again);
        self.waiting.make_contiguous().sort_unstable_by_key(|outgoing| outgoing.number);
    }

    /// Since when the broker owes an answer.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.written.front().and_then(|slot| slot.as_ref()).map(|written| written.since)
    }

    /// Nothing is to be written and no settlement is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty()
    }

    fn take(&mut self, slot: u64) -> Option<Arc<Outgoing>> {
        let index = usize::try_from(slot.checked_sub(self.first_slot)?).ok()?;
        let written = self.written.get_mut(index)?.take()?;
        while let Some(None) = self.written.front() {
            self.written.pop_front();
            self.first_slot += 1;
        }
        Some(written.outgoing)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::broker::Destination;
    use crate::contract::Message;

    fn tag(number: u64) -> DeliveryTag {
        DeliveryTag { session: 1, number }
    }

    fn publications(count: usize) -> Vec<Publication> {
        vec![Publication { to: Destination::Dead, message: Message::default() }; count]
    }

    #[test]
    fn a_settlement_is_told_when_its_last_publication_is_confirmed() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.add(tag(1), publications(2));
        let (first, _) = unconfirmed.next(Duration::ZERO).unwrap();
        let (second, _) = unconfirmed.next(Duration::ZERO).unwrap();
        assert_eq!(unconfirmed.confirmed(second), None);
        assert_eq!(unconfirmed.confirmed(second), None, "one answer counts once");
        assert_eq!(unconfirmed.confirmed(first), Some(tag(1)));
        assert!(unconfirmed.is_empty());
    }

    #[test]
    fn a_lost_session_is_forgotten_and_its_late_confirms_say_nothing() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.add(tag(1), publications(2));
        let (slot, _) = unconfirmed.next(Duration::ZERO).unwrap();
        unconfirmed.forget(1);
        assert!(unconfirmed.is_empty());
        assert_eq!(unconfirmed.confirmed(slot), None);
        assert!(unconfirmed.next(Duration::ZERO).is_none());
    }

    #[test]
    fn the_oldest_open_answer_is_known() {
        let mut unconfirmed = Unconfirmed::default();
        unconfirmed.add(tag(1), publications(2));
        let (first, _) = unconfirmed.next(Duration::from_secs(1)).unwrap();
        unconfirmed.next(Duration::from_secs(2)).unwrap();
        assert_eq!(unconfirmed.oldest(), Some(Duration::from_secs(1)));
        unconfirmed.confirmed(first);
        assert_eq!(unconfirmed.oldest(), Some(Duration::from_secs(2)));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(usize),
        Write,
        Confirm(prop::sample::Index),
        Refuse(prop::sample::Index),
        Break,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..4_usize).prop_map(Step::Add),
            6 => Just(Step::Write),
            4 => any::<prop::sample::Index>().prop_map(Step::Confirm),
            2 => any::<prop::sample::Index>().prop_map(Step::Refuse),
            1 => Just(Step::Break),
        ];
        prop::collection::vec(step, 0..200)
    }

    proptest! {
        #[test]
        fn every_settlement_is_told_exactly_once_whatever_breaks(steps in steps()) {
            let mut unconfirmed = Unconfirmed::default();
            let (mut added, mut told, mut slots) = (0, Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Add(count) => {
                        added += 1;
                        unconfirmed.add(tag(added), publications(count));
                    }
                    Step::Write => slots.extend(unconfirmed.next(Duration::ZERO).map(|(slot, _)| slot)),
                    Step::Confirm(index) if !slots.is_empty() => {
                        told.extend(unconfirmed.confirmed(slots.swap_remove(index.index(slots.len()))));
                    }
                    Step::Refuse(index) if !slots.is_empty() => {
                        unconfirmed.refused(slots.swap_remove(index.index(slots.len())));
                    }
                    Step::Break => {
                        unconfirmed.connection_lost();
                        slots.clear();
                    }
                    Step::Confirm(_) | Step::Refuse(_) => {}
                }
                let numbers: Vec<_> = unconfirmed.waiting.iter().map(|outgoing| outgoing.number).collect();
                prop_assert!(numbers.is_sorted(), "in order: {numbers:?}");
            }
            unconfirmed.connection_lost();
            while let Some((slot, _)) = unconfirmed.next(Duration::ZERO) {
                told.extend(unconfirmed.confirmed(slot));
            }
            prop_assert!(unconfirmed.is_empty());
            told.sort_unstable();
            prop_assert_eq!(told, (1..=added).map(tag).collect::<Vec<_>>());
        }
    }
}
