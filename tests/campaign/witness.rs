//! What the workers themselves wrote down of a campaign, to hold against what came twice. A repeat is explained by a
//! **fork** of its job: a delivery whose work may have been stored and that came again all the same. There are two kinds,
//! and each must be in the logs from both of its ends:
//!
//! - the delivery came **again** (the broker says so: redelivered), and whoever had it before lost the session it came in, or
//!   ended, before its acknowledgement was there: it was not settled, or less than `ACK_TIME` before that;
//! - what it led to was **published again**: while it was being settled, its worker's publishing connection broke, or the
//!   broker refused to store it, so what had no confirm was written a second time.
//!
//! A job has at most one further result for each fork. A call that released is repeated for a fork of one of its jobs too,
//! or because its answer was **never heard**: no worker ever wrote down its RequestId, and one was killed at the time, or
//! stopped without waiting for its last calls, or wrote down that a call of so many ids had no answer.
//!
//! It rests on one clock for all processes, and on nothing that a worker only means to do.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use crate::campaign::field::Life;

/// From the word that a delivery is settled until the broker has its acknowledgement, a dying connection's time-out
/// included.
const ACK_TIME: SignedDuration = SignedDuration::from_secs(10);
/// Between a call's arrival at the API and its caller's word that no answer comes: its time-out, and what load or a slow
/// network add. It may arrive after its caller has given up.
const ANSWER_TIME: SignedDuration = SignedDuration::from_secs(10);

/// A delivery that a worker began with.
struct Delivery {
    life: usize,
    session: u64,
    redelivered: bool,
    taken: Timestamp,
    settled: Option<Timestamp>,
    /// How often the broker refused to store what it led to.
    refused: usize,
}

/// A call that a worker had no answer of.
struct Silence {
    at: Timestamp,
    ids: usize,
}

#[derive(Default)]
pub struct Witness {
    deliveries: HashMap<String, Vec<Delivery>>,
    /// When the sessions of each process ended, those that were lost before it did.
    lost: HashMap<(usize, u64), Timestamp>,
    ends: Vec<Timestamp>,
    /// When calls were left alone, their processes killed or out of time.
    left: Vec<Timestamp>,
    /// When the publishing side of each process had a problem.
    unpublished: Vec<(usize, Timestamp)>,
    heard: HashSet<String>,
    silences: Vec<Silence>,
}

impl Witness {
    pub fn of(lives: &[Life]) -> Self {
        let mut witness = Self::default();
        for (number, life) in lives.iter().enumerate() {
            witness.ends.push(life.ended);
            witness.left.extend(life.killed.then_some(life.ended));
            let mut begun = HashMap::new();
            for line in life.log.lines() {
                witness.read(number, line, &mut begun);
            }
        }
        witness
    }

    fn read(&mut self, life: usize, line: &str, begun: &mut HashMap<(u64, u64), (String, usize)>) {
        let Some(at) = line.split_once(' ').and_then(|(time, _)| time.parse::<Timestamp>().ok()) else { return };
        let number = |name| field(line, name).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        let tag = || (number("session"), number("number"));
        if line.contains("delivery taken in") {
            let job = field(line, "job").expect("a name").to_owned();
            let redelivered = field(line, "redelivered") == Some("true");
            let of_job = self.deliveries.entry(job.clone()).or_default();
            begun.insert(tag(), (job, of_job.len()));
            of_job.push(Delivery { life, session: tag().0, redelivered, taken: at, settled: None, refused: 0 });
        } else if line.contains("delivery settled") {
            self.delivery(begun.get(&tag())).expect("it was taken in").settled = Some(at);
        } else if line.contains("the broker refused to store a message") {
            // Of what no job could be read from too.
            if let Some(delivery) = self.delivery(begun.get(&tag())) {
                delivery.refused += 1;
            }
        } else if line.contains("broker session lost") {
            self.lost.insert((life, number("session")), at);
        } else if line.contains("connection has a problem") && field(line, "side") == Some("Publishing") {
            self.unpublished.push((life, at));
        } else if let Some(request) = field(line, "request_id").filter(|_| line.contains("batch released")) {
            self.heard.insert(request.to_owned());
        } else if line.contains("the time to drain is over") {
            self.left.push(at);
        } else if line.contains("call failed") && field(line, "class") == Some("unknown") {
            self.silences.push(Silence { at, ids: usize::try_from(number("ids")).unwrap_or_default() });
        }
    }

    /// The delivery that a line is about.
    fn delivery(&mut self, begun: Option<&(String, usize)>) -> Option<&mut Delivery> {
        let (job, place) = begun?;
        self.deliveries.get_mut(job)?.get_mut(*place)
    }

    /// How often a job forked: so many further results it may have.
    pub fn forks(&self, job: &str) -> usize {
        let Some(deliveries) = self.deliveries.get(job) else { return 0 };
        self.came_again(deliveries) + deliveries.iter().map(|delivery| self.published_again(delivery)).sum::<usize>()
    }

    /// Deliveries that came again, each with an earlier one of its own that was not acknowledged.
    fn came_again(&self, deliveries: &[Delivery]) -> usize {
        let mut earlier: Vec<_> = deliveries.iter().filter(|one| self.may_be_unacknowledged(one)).collect();
        let again = deliveries.iter().filter(|one| one.redelivered);
        again
            .filter(|again| {
                let before = earlier
                    .iter()
                    .position(|one| one.taken < again.taken && (one.life, one.session) != (again.life, again.session));
                before.map(|place| earlier.remove(place)).is_some()
            })
            .count()
    }

    fn may_be_unacknowledged(&self, delivery: &Delivery) -> bool {
        let ended = self.lost.get(&(delivery.life, delivery.session)).unwrap_or(&self.ends[delivery.life]);
        delivery.settled.is_none_or(|settled| ended.duration_since(settled) < ACK_TIME)
    }

    fn published_again(&self, delivery: &Delivery) -> usize {
        let until = delivery.settled.unwrap_or(self.ends[delivery.life]);
        let meanwhile =
            |(life, at): &&(usize, Timestamp)| *life == delivery.life && delivery.taken <= *at && *at <= until;
        delivery.refused + self.unpublished.iter().filter(meanwhile).count()
    }

    /// Whether a worker heard that this call released its batch.
    pub fn heard(&self, request_id: &str) -> bool {
        self.heard.contains(request_id)
    }

    /// Whether a call of so many ids that came then may have had a caller who never heard of it.
    pub fn may_be_unheard(&self, at: Timestamp, ids: usize) -> bool {
        let about_then = |then: Timestamp| then.duration_since(at).abs() < ANSWER_TIME;
        self.left.iter().any(|left| about_then(*left))
            || self.silences.iter().any(|silence| silence.ids == ids && about_then(silence.at))
    }
}

/// A field's value in a log line.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = line.split_once(&format!(" {name}="))?;
    rest.split(' ').next().map(|value| value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn witness(lines: &[(u32, &str)]) -> Witness {
        let line =
            |(second, words): &(u32, &str)| format!("2026-01-01T00:00:{second:02}.5Z  INFO bulkrelease: {words}\n");
        let life =
            |killed| move |log: String| Life { log, ended: "2026-01-01T00:00:50Z".parse().expect("a time"), killed };
        // The first process is killed at the end, the second, which has the lines after the empty one, is not.
        let mut logs = lines.split(|(_, words)| words.is_empty()).map(|part| part.iter().map(line).collect::<String>());
        let first = logs.next().map(life(true));
        Witness::of(&first.into_iter().chain(logs.next().map(life(false))).collect::<Vec<_>>())
    }

    #[test]
    fn only_what_both_ends_tell_is_a_fork() {
        let taken = r#"delivery taken in job="j" session=1 number=7 redelivered=false remainder=false"#;
        let again = r#"delivery taken in job="j" session=3 number=9 redelivered=true remainder=false"#;
        let another = r#"delivery taken in job="j" session=3 number=9 redelivered=false remainder=true"#;
        let (settled, lost) =
            ("delivery settled session=1 number=7", "broker session lost: session=1 reason=\"r\" jobs=1");
        let problem = r#"the broker connection has a problem side=Publishing problem="lost""#;
        let refused = "the broker refused to store a message: it is written again session=1 number=7";
        let cases: [(&[(u32, &str)], usize); 9] = [
            (&[(1, taken), (5, lost), (0, ""), (6, again)], 1),
            // The session's end is the process's.
            (&[(1, taken), (0, ""), (55, again)], 1),
            (&[(1, taken), (2, settled), (5, lost), (0, ""), (6, again)], 1),
            // It was settled long before the session was lost.
            (&[(1, taken), (2, settled), (30, lost), (0, ""), (31, again)], 0),
            // Nobody had it before.
            (&[(5, lost), (0, ""), (6, again)], 0),
            // It did not come again: it went on as a remainder.
            (&[(1, taken), (2, settled), (5, lost), (0, ""), (6, another)], 0),
            (&[(1, taken), (2, problem), (3, settled)], 1),
            (&[(1, taken), (2, settled), (3, problem)], 0),
            (&[(1, taken), (2, refused), (2, refused), (3, settled)], 2),
        ];
        for (lines, forks) in cases {
            assert_eq!(witness(lines).forks("j"), forks, "{lines:?}");
        }
    }

    #[test]
    fn a_call_is_unheard_if_a_worker_says_so_or_died() {
        let heard = witness(&[(1, r#"batch released group=ecs ids=3 request_id="A-1" took=1ms"#)]);
        assert!(heard.heard("A-1") && !heard.heard("A-2"));
        let at = |second: u32| format!("2026-01-01T00:00:{second:02}Z").parse().expect("a time");
        let silent = witness(&[(3, r#"call failed group=ecs ids=3 class="unknown" took=2s"#)]);
        assert!(silent.may_be_unheard(at(1), 3));
        assert!(!silent.may_be_unheard(at(1), 4) && !silent.may_be_unheard(at(14), 3));
        // It was killed at 50 s.
        assert!(silent.may_be_unheard(at(45), 4) && !silent.may_be_unheard(at(30), 4));
    }
}
