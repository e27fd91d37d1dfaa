//! Decides how the deliveries of one channel are acknowledged. Pure: it knows tags and a time that it is told.
//!
//! Acks in tag order cost a classic queue a tenth of acks in disorder, and one ack of a whole run of tags costs as much
//! as one of a single tag. So the finished tags at the front go in one `multiple` ack; a tag that is finished behind an
//! open one waits a moment for it, and is then acked alone, so that one slow job doesn't hold the others.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a finished tag waits for an open one before it.
const PATIENCE: Duration = Duration::from_millis(50);

/// An acknowledgement to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// This tag, and every one before it that the broker still waits for.
    UpTo(u64),
    One(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// What it leads to is being published: it can only be finished from here on.
    Ordered,
    Finished,
    /// Acked alone, or given back: the broker no longer waits for it.
    Gone,
}

/// The tags of one channel that are not yet behind us. Every operation is O(1), averaged over the life of a tag.
#[derive(Debug, Default)]
pub(super) struct Acknowledge {
    /// The tag of the first entry. A broker numbers deliveries 1, 2, 3 in each channel.
    first: u64,
    states: VecDeque<State>,
    /// Finished tags in the order in which they were finished, until acked.
    waiting: VecDeque<(Duration, u64)>,
}

impl Acknowledge {
    pub(super) fn new() -> Self {
        Self { first: 1, ..Self::default() }
    }

    /// A delivery came. A tag that skips others leaves them out: nobody waits for them.
    pub(super) fn delivered(&mut self, tag: u64) {
        let next = self.first + self.states.len() as u64;
        if self.states.is_empty() && tag > next {
            self.first = tag;
        } else {
            for _ in next..tag {
                self.states.push_back(State::Gone);
            }
        }
        if tag >= next {
            self.states.push_back(State::Open);
        }
    }

    /// The delivery may be acked. Whether it was open: a tag can be settled once.
    pub(super) fn finished(&mut self, tag: u64, now: Duration) -> bool {
        let settled = matches!(self.state(tag), Some(State::Open | State::Ordered));
        if settled {
            self.set(tag, State::Finished);
            self.waiting.push_back((now, tag));
        }
        settled
    }

    /// The delivery is given back by the caller. Whether it was open.
    pub(super) fn given_back(&mut self, tag: u64) -> bool {
        self.turn(tag, State::Gone)
    }

    /// What the delivery leads to is about to be published. Whether it was open: a tag can be settled once.
    pub(super) fn ordered(&mut self, tag: u64) -> bool {
        self.turn(tag, State::Ordered)
    }

    /// The acks due by now, in tag order.
    pub(super) fn due(&mut self, now: Duration) -> Vec<Ack> {
        self.take(|since| now.saturating_sub(since) >= PATIENCE)
    }

    /// The acks of everything finished, for the end of a channel.
    pub(super) fn all(&mut self) -> Vec<Ack> {
        self.take(|_| true)
    }

    /// When `due` will have something that it has not now, unless something is finished before.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.waiting.front().map(|(since, _)| *since + PATIENCE)
    }

    fn take(&mut self, overdue: impl Fn(Duration) -> bool) -> Vec<Ack> {
        let mut acks = Vec::new();
        let mut last = None;
        while let Some(state) = self.states.front().filter(|state| !matches!(state, State::Open | State::Ordered)) {
            if *state == State::Finished {
                last = Some(self.first);
            }
            self.states.pop_front();
            self.first += 1;
        }
        acks.extend(last.map(Ack::UpTo));

        let mut alone = Vec::new();
        while let Some(&(since, tag)) = self.waiting.front() {
            if tag >= self.first {
                if !overdue(since) {
                    break;
                }
                self.set(tag, State::Gone);
                alone.push(tag);
            }
            self.waiting.pop_front();
        }
        alone.sort_unstable();
        acks.extend(alone.into_iter().map(Ack::One));
        acks
    }

    /// Turns an open delivery into another state. Whether it was open.
    fn turn(&mut self, tag: u64, state: State) -> bool {
        let open = self.state(tag) == Some(State::Open);
        if open {
            self.set(tag, state);
        }
        open
    }

    fn state(&self, tag: u64) -> Option<State> {
        self.states.get(self.index(tag)?).copied()
    }

    fn set(&mut self, tag: u64, state: State) {
        if let Some(entry) = self.index(tag).and_then(|index| self.states.get_mut(index)) {
            *entry = state;
        }
    }

    fn index(&self, tag: u64) -> Option<usize> {
        usize::try_from(tag.checked_sub(self.first)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const LATER: Duration = Duration::from_secs(1);

    fn with(tags: u64) -> Acknowledge {
        let mut acknowledge = Acknowledge::new();
        (1..=tags).for_each(|tag| acknowledge.delivered(tag));
        acknowledge
    }

    #[test]
    fn a_complete_front_is_acked_at_once_and_in_one() {
        let mut acknowledge = with(4);
        for tag in [3, 1, 2] {
            assert!(acknowledge.finished(tag, Duration::ZERO));
        }
        assert_eq!(acknowledge.due(Duration::ZERO), [Ack::UpTo(3)]);
        assert_eq!(acknowledge.due(LATER), []);
    }

    #[test]
    fn a_slow_delivery_holds_the_others_only_for_a_moment() {
        let mut acknowledge = with(4);
        for tag in [4, 2] {
            assert!(acknowledge.finished(tag, Duration::ZERO));
        }
        assert_eq!(acknowledge.due(Duration::from_millis(49)), []);
        assert_eq!(acknowledge.deadline(), Some(PATIENCE));
        assert_eq!(acknowledge.due(PATIENCE), [Ack::One(2), Ack::One(4)]);
        assert!(acknowledge.finished(3, LATER));
        assert!(acknowledge.finished(1, LATER));
        assert_eq!(acknowledge.due(LATER), [Ack::UpTo(3)]);
        assert_eq!(acknowledge.deadline(), None);
    }

    #[test]
    fn what_was_given_back_is_never_the_tag_of_an_ack() {
        let mut acknowledge = with(3);
        assert!(acknowledge.finished(1, Duration::ZERO));
        assert!(acknowledge.given_back(2));
        assert_eq!(acknowledge.due(Duration::ZERO), [Ack::UpTo(1)]);
        assert!(!acknowledge.finished(2, Duration::ZERO));
        assert!(acknowledge.given_back(3));
        assert_eq!(acknowledge.due(LATER), []);
    }

    #[test]
    fn what_is_being_published_can_only_be_finished_and_holds_the_front() {
        let mut acknowledge = with(2);
        assert!(acknowledge.ordered(1));
        assert!(!acknowledge.ordered(1) && !acknowledge.given_back(1));
        assert!(acknowledge.finished(2, Duration::ZERO));
        assert_eq!(acknowledge.due(Duration::ZERO), []);
        assert!(acknowledge.finished(1, Duration::ZERO) && !acknowledge.finished(1, Duration::ZERO));
        assert_eq!(acknowledge.due(Duration::ZERO), [Ack::UpTo(2)]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Deliver(u8),
        Finish(prop::sample::Index),
        GiveBack(prop::sample::Index),
        Wait(u8),
        Flush,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            3 => (1..20_u8).prop_map(Step::Deliver),
            8 => any::<prop::sample::Index>().prop_map(Step::Finish),
            2 => any::<prop::sample::Index>().prop_map(Step::GiveBack),
            2 => (1..60_u8).prop_map(Step::Wait),
            3 => Just(Step::Flush),
        ];
        prop::collection::vec(step, 0..200)
    }

    /// A broker as the protocol has it: it refuses an ack of a tag it doesn't wait for.
    fn send(acks: &[Ack], outstanding: &mut BTreeSet<u64>, finished: &mut BTreeSet<u64>) {
        let mut last = 0;
        for ack in acks {
            let (Ack::UpTo(tag) | Ack::One(tag)) = *ack;
            assert!(tag > last, "acks are in tag order");
            last = tag;
            assert!(outstanding.contains(&tag), "the broker still waits for {tag}");
            let covered: Vec<u64> = match ack {
                Ack::UpTo(tag) => outstanding.range(..=*tag).copied().collect(),
                Ack::One(tag) => vec![*tag],
            };
            for tag in covered {
                assert!(finished.remove(&tag), "{tag} was acked before it was finished");
                outstanding.remove(&tag);
            }
        }
    }

    proptest! {
        #[test]
        fn only_what_is_finished_is_acked_and_nothing_finished_is_left(steps in steps()) {
            let mut acknowledge = Acknowledge::new();
            let mut now = Duration::ZERO;
            let (mut outstanding, mut open, mut finished) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
            let mut tag = 0;
            for step in steps {
                match step {
                    Step::Deliver(count) => for _ in 0..count {
                        tag += 1;
                        acknowledge.delivered(tag);
                        outstanding.insert(tag);
                        open.push(tag);
                    },
                    Step::Finish(index) if !open.is_empty() => {
                        let tag = open.swap_remove(index.index(open.len()));
                        prop_assert!(acknowledge.finished(tag, now));
                        finished.insert(tag);
                    }
                    Step::GiveBack(index) if !open.is_empty() => {
                        let tag = open.swap_remove(index.index(open.len()));
                        prop_assert!(acknowledge.given_back(tag));
                        outstanding.remove(&tag);
                    }
                    Step::Wait(milliseconds) => now += Duration::from_millis(milliseconds.into()),
                    Step::Flush => send(&acknowledge.due(now), &mut outstanding, &mut finished),
                    Step::Finish(_) | Step::GiveBack(_) => {}
                }
            }
            send(&acknowledge.due(now + PATIENCE), &mut outstanding, &mut finished);
            prop_assert!(finished.is_empty(), "left behind: {finished:?}");
            prop_assert_eq!(outstanding.into_iter().collect::<Vec<_>>(), { open.sort_unstable(); open });
            prop_assert_eq!(acknowledge.deadline(), None);
        }
    }
}
