//! How many messages of each identity a move is for, and how far it is with them. Pure: it must not know where they come
//! from or go to.

use std::collections::HashMap;

use super::letter::Identity;

#[derive(Debug, Default)]
struct Copies {
    planned: u32,
    moved: u32,
    under_way: u32,
    /// Sent without word of what became of it: those that are still in the queue will be sent again.
    in_doubt: u32,
    /// Of those moved, the ones of the session that lives: their acknowledgements are on their way at most.
    of_session: u32,
    /// Of those moved, the ones of lost sessions: an acknowledgement that was lost leaves the message in its queue.
    may_return: u32,
}

impl Copies {
    fn left(&self) -> u32 {
        self.planned.saturating_sub(self.moved)
    }
}

/// All identities of a move.
#[derive(Debug, Default)]
pub struct Tally {
    by_identity: HashMap<Identity, Copies>,
    left: u64,
    may_return: u64,
}

impl Tally {
    /// The move is for so many messages of this identity.
    pub fn plan(&mut self, identity: Identity, count: u32) {
        self.by_identity.entry(identity).or_default().planned += count;
        self.left += u64::from(count);
    }

    pub fn has(&self, identity: Identity) -> bool {
        self.by_identity.contains_key(&identity)
    }

    /// Messages that are not moved.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// Messages that are not known to be moved, and may be.
    pub fn left_in_doubt(&self) -> u64 {
        self.by_identity.values().map(|copies| u64::from(copies.in_doubt.min(copies.left()))).sum()
    }

    /// Takes a message that came, if it is one of the move.
    pub fn take(&mut self, identity: Identity) -> bool {
        let wanted = |copies: &&mut Copies| copies.moved + copies.under_way < copies.planned;
        let copies = self.by_identity.get_mut(&identity).filter(wanted);
        copies.map(|copies| copies.under_way += 1).is_some()
    }

    /// Whether messages that are moved may be in their queue still.
    pub fn awaits_returns(&self) -> bool {
        self.may_return > 0
    }

    /// Whatever may have come back would have come by now.
    pub fn returns_are_over(&mut self) {
        self.may_return = 0;
        self.by_identity.values_mut().for_each(|copies| copies.may_return = 0);
    }

    /// Takes a message that came as one that is moved and may have come back.
    pub fn take_returned(&mut self, identity: Identity) -> bool {
        let copies = self.by_identity.get_mut(&identity).filter(|copies| copies.may_return > 0);
        let Some(copies) = copies else { return false };
        copies.may_return -= 1;
        self.may_return -= 1;
        true
    }

    /// Nobody knows which of the last acknowledgements have arrived.
    pub fn session_lost(&mut self) {
        for copies in self.by_identity.values_mut() {
            self.may_return += u64::from(copies.of_session);
            copies.may_return += std::mem::take(&mut copies.of_session);
        }
    }

    pub fn moved(&mut self, identity: Identity) {
        if let Some(copies) = self.by_identity.get_mut(&identity) {
            self.left -= u64::from(copies.left().min(1));
            copies.moved += 1;
            copies.of_session += 1;
            copies.under_way = copies.under_way.saturating_sub(1);
            copies.in_doubt = copies.in_doubt.saturating_sub(1);
        }
    }

    /// A message that was taken goes back to the queue, unsent.
    pub fn returned(&mut self, identity: Identity) {
        if let Some(copies) = self.by_identity.get_mut(&identity) {
            copies.under_way = copies.under_way.saturating_sub(1);
        }
    }

    /// There will be no word of a message that was sent.
    pub fn unheard(&mut self, identity: Identity) {
        self.returned(identity);
        self.doubt(identity);
    }

    /// Whether a message that comes may be moved already.
    pub fn is_in_doubt(&self, identity: Identity) -> bool {
        self.by_identity.get(&identity).is_some_and(|copies| copies.in_doubt > 0)
    }

    /// A message may be moved already.
    pub fn doubt(&mut self, identity: Identity) {
        if let Some(copies) = self.by_identity.get_mut(&identity) {
            copies.in_doubt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Message;

    fn identity(name: &str) -> Identity {
        Identity::of(&Message { body: name.as_bytes().to_vec(), ..Message::default() })
    }

    #[test]
    fn no_more_of_an_identity_are_taken_than_it_was_planned_for() {
        let (a, b) = (identity("a"), identity("b"));
        let mut tally = Tally::default();
        tally.plan(a, 2);
        assert_eq!([a, a, a, b].map(|one| tally.take(one)), [true, true, false, false]);
        tally.moved(a);
        assert!(!tally.take(a) && tally.left() == 1, "one of two is under way still");
        tally.returned(a);
        assert!(tally.take(a), "and is taken again when it comes back");
        tally.moved(a);
        assert_eq!(tally.left(), 0);
    }

    #[test]
    fn what_is_moved_comes_back_only_where_its_acknowledgement_may_be_lost_and_no_more_often() {
        let (a, b) = (identity("a"), identity("b"));
        let mut tally = Tally::default();
        for one in [a, b] {
            tally.plan(one, 1);
            assert!(tally.take(one));
        }
        tally.moved(a);
        assert!(!tally.awaits_returns() && !tally.take_returned(a), "one that looks like it is another letter");
        tally.session_lost();
        tally.unheard(b);
        tally.moved(b);
        assert!(tally.awaits_returns() && !tally.take_returned(b));
        assert!(tally.take_returned(a) && !tally.take_returned(a) && !tally.awaits_returns());
        tally.session_lost();
        assert!(tally.awaits_returns());
        tally.returns_are_over();
        assert!(!tally.awaits_returns() && !tally.take_returned(b), "after a silence that was long enough");
    }

    #[test]
    fn only_what_is_left_of_a_letter_can_be_in_doubt() {
        let (a, b) = (identity("a"), identity("b"));
        let mut tally = Tally::default();
        tally.plan(a, 1);
        tally.plan(b, 1);
        // Sent, unheard, sent again and confirmed.
        assert!(tally.take(a));
        tally.unheard(a);
        tally.doubt(a);
        assert_eq!((tally.left(), tally.left_in_doubt()), (2, 1));
        assert!(tally.is_in_doubt(a) && !tally.is_in_doubt(b));
        assert!(tally.take(a));
        tally.moved(a);
        assert_eq!((tally.left(), tally.left_in_doubt()), (1, 0));
    }
}
