//! The search for the ids that make a batch refused, with as few calls as possible. Pure: it asks about ids and is told
//! whether the API took them. It must not know jobs, time or permits.
//!
//! A refusal says that *some* id is at fault. So one half is asked; if it is good the other holds the culprit and need
//! not be asked whole again, and if it is bad nothing is known of the other, which waits with other such leftovers until
//! they travel together in the end.
//!
//! A refusal is **ambiguous** where it may be no single id's fault: an unlisted code may mean the request, and "gone"
//! may mean that an earlier call has released everything. Then the second half is asked too, before anything is inferred.
//! Where both are gone the ids are asked in their order, one first, twice as many after each success: an earlier call has
//! released ids that stood side by side, so this costs one call for each gone id and few for all the others.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::contract::{Evidence, InstanceId, Refusal};

/// What a part was refused with: some id of it is at fault.
#[derive(Debug, Clone)]
pub(super) struct Guilt {
    pub refusal: Refusal,
    pub evidence: Arc<Evidence>,
    /// Whether an earlier delivery, or a call of unknown fate, may have released any id asked about.
    pub unknown: bool,
}

/// What is known of ids after an answer.
#[derive(Debug, Clone)]
pub(super) enum Finding {
    /// The API took them.
    Released(Vec<InstanceId>),
    /// Each of them is refused for itself.
    Culprits(Vec<InstanceId>, Guilt),
}

/// What is asked now.
#[derive(Debug, Clone)]
enum Question {
    /// Half of a guilty part.
    Half { asked: Vec<InstanceId>, other: Vec<InstanceId>, guilt: Guilt },
    /// The other half, because the first one's refusal was ambiguous.
    OtherHalf { asked: Vec<InstanceId>, first: Vec<InstanceId>, guilt: Guilt },
    /// Leftovers of which nothing is known.
    Leftovers(Vec<InstanceId>),
    /// The front of those that are asked in their order.
    Run(Vec<InstanceId>),
}

#[derive(Debug, Clone)]
pub(super) struct Split {
    question: Option<Question>,
    leftovers: Vec<InstanceId>,
    /// Ids that are asked in their order, because many of them may be gone.
    run: VecDeque<InstanceId>,
    /// How many of the run are asked next, while nothing is known of them.
    stride: usize,
    /// So many at the front of the run are known to hold a culprit.
    guilty_front: Option<(usize, Guilt)>,
    /// An unlisted code has proved to depend on the ids.
    instance_level: bool,
    /// A refused call is known to have released nothing: somebody vouches for it, or a part of it proved to be there.
    atomic: bool,
    calls_left: u32,
}

impl Split {
    /// Begins with a part that was refused as a whole: at least two ids.
    pub fn begin(ids: Vec<InstanceId>, guilt: Guilt, atomic: bool, budget: u32) -> (Self, Vec<Finding>) {
        let mut split = Self {
            question: None,
            leftovers: Vec::new(),
            run: VecDeque::new(),
            stride: 1,
            guilty_front: None,
            instance_level: guilt.refusal != Refusal::Unlisted,
            atomic,
            calls_left: budget,
        };
        let mut findings = Vec::new();
        split.guilty(ids, guilt, &mut findings);
        split.advance();
        (split, findings)
    }

    /// The ids that the next call must carry; `None` when nothing is left to ask.
    pub fn asked(&self) -> Option<&[InstanceId]> {
        match self.question.as_ref()? {
            Question::Half { asked, .. } | Question::OtherHalf { asked, .. } => Some(asked),
            Question::Leftovers(asked) | Question::Run(asked) => Some(asked),
        }
    }

    /// Whether the budget is spent. `renew` goes on all the same.
    pub fn exhausted(&self) -> bool {
        self.calls_left == 0
    }

    pub fn renew(&mut self, budget: u32) {
        self.calls_left = budget;
    }

    /// Every id that has no finding yet.
    pub fn open(&self) -> Vec<InstanceId> {
        let mut open = Vec::new();
        match &self.question {
            Some(Question::Half { asked, other, .. }) => open.extend(asked.iter().chain(other).cloned()),
            Some(Question::OtherHalf { asked, first, .. }) => open.extend(first.iter().chain(asked).cloned()),
            Some(Question::Leftovers(ids) | Question::Run(ids)) => open.extend(ids.iter().cloned()),
            None => {}
        }
        open.extend(self.run.iter().chain(&self.leftovers).cloned());
        open
    }

    /// Ids have left (protected by now, or wanted by nobody). What was inferred from their presence is void.
    pub fn retain(&mut self, wanted: impl Fn(&InstanceId) -> bool) {
        if let Some(Question::Run(asked)) = &mut self.question {
            let asked = std::mem::take(asked);
            self.question = None;
            self.put_back(asked);
        }
        self.run.retain(&wanted);
        self.guilty_front = None;
        let run = std::mem::take(&mut self.run);
        self.leftovers = self.open().into_iter().filter(&wanted).collect();
        self.run = run;
        self.question = None;
        self.advance();
    }

    /// The API took what was asked.
    pub fn released(&mut self) -> Vec<Finding> {
        self.calls_left = self.calls_left.saturating_sub(1);
        self.atomic = true;
        let mut findings = Vec::new();
        match self.question.take() {
            // One half is taken where the whole was refused: so the refusal does depend on the ids.
            Some(
                Question::Half { asked, other: guilty, guilt } | Question::OtherHalf { asked, first: guilty, guilt },
            ) => {
                self.instance_level = true;
                findings.push(Finding::Released(asked));
                // The message spoke of both halves: whom it names was asked of it then.
                self.search(guilty, guilt, &mut findings);
            }
            Some(Question::Leftovers(ids)) => findings.push(Finding::Released(ids)),
            Some(Question::Run(asked)) => self.run_released(asked, &mut findings),
            None => {}
        }
        self.advance();
        findings
    }

    /// The API refused what was asked.
    pub fn refused(&mut self, guilt: Guilt) -> Vec<Finding> {
        self.calls_left = self.calls_left.saturating_sub(1);
        let mut findings = Vec::new();
        if guilt.refusal == Refusal::Request {
            findings.push(Finding::Culprits(self.open(), guilt));
            self.question = None;
            self.leftovers.clear();
            self.run.clear();
            return findings;
        }
        match self.question.take() {
            Some(Question::Half { asked, other, .. }) => {
                if self.ambiguous(&guilt) {
                    self.question = Some(Question::OtherHalf { asked: other, first: asked, guilt });
                    return findings;
                }
                self.leftovers.extend(other);
                self.guilty(asked, guilt, &mut findings);
            }
            Some(Question::OtherHalf { asked, first, guilt: first_guilt }) => {
                self.both_refused(first, first_guilt, asked, guilt, &mut findings);
            }
            Some(Question::Leftovers(ids)) => self.guilty(ids, guilt, &mut findings),
            Some(Question::Run(asked)) => self.run_refused(asked, guilt, &mut findings),
            None => {}
        }
        self.advance();
        findings
    }

    fn ambiguous(&self, guilt: &Guilt) -> bool {
        match guilt.refusal {
            Refusal::Unlisted => !self.instance_level,
            Refusal::Gone => guilt.unknown || !self.atomic,
            Refusal::Request | Refusal::Instance => false,
        }
    }

    fn both_refused(
        &mut self,
        first: Vec<InstanceId>,
        first_guilt: Guilt,
        second: Vec<InstanceId>,
        second_guilt: Guilt,
        findings: &mut Vec<Finding>,
    ) {
        let same_code = first_guilt.evidence.code == second_guilt.evidence.code;
        match (first_guilt.refusal, second_guilt.refusal) {
            (Refusal::Gone, Refusal::Gone) => {
                self.run.extend(first.into_iter().chain(second).chain(std::mem::take(&mut self.leftovers)));
            }
            (Refusal::Unlisted, Refusal::Unlisted) if same_code => {
                let guilt = Guilt { refusal: Refusal::Request, ..second_guilt };
                let everything = first.into_iter().chain(second).chain(std::mem::take(&mut self.leftovers));
                findings.push(Finding::Culprits(everything.collect(), guilt));
            }
            _ => {
                // Two codes for two halves: so they depend on the ids.
                self.instance_level = true;
                self.leftovers.extend(second);
                self.guilty(first, first_guilt, findings);
            }
        }
    }

    /// A part that was asked holds culprits: drop those that the API names, else search for them.
    fn guilty(&mut self, ids: Vec<InstanceId>, guilt: Guilt, findings: &mut Vec<Finding>) {
        let named = named(&ids, &guilt);
        if named.is_empty() {
            self.search(ids, guilt, findings);
        } else {
            self.leftovers.extend(ids.into_iter().filter(|id| !named.contains(id)));
            findings.push(Finding::Culprits(named, guilt));
        }
    }

    /// A part holds a culprit: it is the culprit if it is one id, else one half is asked.
    fn search(&mut self, mut ids: Vec<InstanceId>, guilt: Guilt, findings: &mut Vec<Finding>) {
        if ids.len() <= 1 {
            findings.push(Finding::Culprits(ids, guilt));
            return;
        }
        let other = ids.split_off(ids.len() / 2);
        self.question = Some(Question::Half { asked: ids, other, guilt });
    }

    fn run_released(&mut self, asked: Vec<InstanceId>, findings: &mut Vec<Finding>) {
        self.guilty_front = match self.guilty_front.take() {
            Some((count, guilt)) => Some((count - asked.len(), guilt)),
            None => {
                self.stride *= 2;
                None
            }
        };
        findings.push(Finding::Released(asked));
        // Of a guilty front the last one left is the culprit: nobody need ask.
        if let Some((1, _)) = self.guilty_front
            && let (Some(id), Some((_, guilt))) = (self.run.pop_front(), self.guilty_front.take())
        {
            findings.push(Finding::Culprits(vec![id], guilt));
            self.stride = 1;
        }
    }

    fn run_refused(&mut self, asked: Vec<InstanceId>, guilt: Guilt, findings: &mut Vec<Finding>) {
        if asked.len() == 1 {
            findings.push(Finding::Culprits(asked, guilt));
            (self.stride, self.guilty_front) = (1, None);
        } else {
            self.guilty_front = Some((asked.len(), guilt));
            self.put_back(asked);
        }
    }

    fn put_back(&mut self, asked: Vec<InstanceId>) {
        for id in asked.into_iter().rev() {
            self.run.push_front(id);
        }
    }

    fn advance(&mut self) {
        if self.question.is_some() {
            return;
        }
        let next = self.guilty_front.as_ref().map_or(self.stride, |(count, _)| count / 2);
        let count = next.min(self.run.len());
        self.question = if count > 0 {
            Some(Question::Run(self.run.drain(..count).collect()))
        } else if !self.leftovers.is_empty() {
            Some(Question::Leftovers(std::mem::take(&mut self.leftovers)))
        } else {
            None
        };
    }
}

/// The ids that a refusal's message names as the culprits: each as a word of its own, so that `i-1` is found neither in
/// `i-12` nor in `zone:i-1`. Where the first one asked stands in it, it may be an echo of the request, cut off somewhere, and
/// names none. "Gone" would settle them as done with, so of several it is believed of none.
fn named(asked: &[InstanceId], guilt: &Guilt) -> Vec<InstanceId> {
    let message = guilt.evidence.message.as_deref().unwrap_or_default();
    if asked.first().is_none_or(|first| message.contains(first.as_str())) {
        return Vec::new();
    }
    let between = |c: char| !c.is_ascii_graphic() || ",\"'`()[]{}<>=".contains(c);
    let words: HashSet<_> =
        message.split(between).map(|word| word.trim_end_matches(['.', ':', ';', '!', '?'])).collect();
    let named: Vec<_> = asked.iter().filter(|id| words.contains(id.as_str())).cloned().collect();
    if guilt.refusal == Refusal::Gone && named.len() > 1 { Vec::new() } else { named }
}

#[cfg(test)]
mod tests;
