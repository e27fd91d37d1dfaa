//! `bulkrelease dead list`: what died, grouped by what it died of.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::looking::{self, Seen};
use crate::broker::{Broker, Queue};
use crate::dead::groups::{Group, Groups};
use crate::dead::selection::Selection;

/// Show what died, grouped by what it died of, with what to do about it
#[derive(Debug, clap::Args)]
pub struct ListCommand {
    #[command(flatten)]
    selection: Selection,

    /// Look at what was discarded
    #[arg(long)]
    pub(super) archive: bool,

    /// Write one JSON object, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Listed<'a> {
    queue: String,
    letters: u64,
    ids: u64,
    /// Whether every letter is counted.
    complete: bool,
    /// Letters of more groups than are listed.
    further_letters: u64,
    groups: Vec<&'a Group>,
}

impl ListCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        let queue = looking::queue(self.archive);
        let mut groups = Groups::default();
        let seen = looking::each(broker, queue.clone(), &self.selection, |_, letter| {
            groups.add(&letter);
            Ok(())
        })
        .await?;
        if self.json {
            json(&queue, &groups, seen)?;
        } else {
            text(&queue, &groups, seen, &self.selection);
        }
        Ok(seen.whole()?)
    }
}

fn json(queue: &Queue, groups: &Groups, seen: Seen) -> anyhow::Result<()> {
    let listed = Listed {
        queue: queue.name(),
        letters: groups.letters,
        ids: groups.ids,
        complete: seen.gap().is_none(),
        further_letters: groups.further,
        groups: groups.listed(),
    };
    say!("{}", serde_json::to_string(&listed)?);
    Ok(())
}

fn text(queue: &Queue, groups: &Groups, seen: Seen, selection: &Selection) {
    let queue = queue.name();
    if groups.letters == 0 {
        match (seen.messages, selection.is_everything()) {
            (0, _) if seen.gap().is_some() => say!("{queue}: no letter can be seen now"),
            (0, _) => say!("{queue} is empty"),
            (all, true) => say!("{queue}: {all} messages, none of them the beginning of a letter"),
            (all, false) => say!("{queue}: none of its {all} letters matches"),
        }
        return;
    }
    let listed = groups.listed();
    say!("{queue}: {} letters, {} ids, {} groups", groups.letters, groups.ids, listed.len());
    let now = Timestamp::now();
    for group in listed {
        let Group { fingerprint, reason, code, product, letters, ids, .. } = group;
        let cause = if reason == code { reason.clone() } else { format!("{reason} {code}") };
        say!("\n{fingerprint}  {cause} {product}  {letters} letters, {ids} ids");
        if let (Some(oldest), Some(newest)) = (group.oldest, group.newest) {
            say!("  oldest {oldest:.0} ({} ago), newest {newest:.0} ({} ago)", ago(oldest, now), ago(newest, now));
        }
        say!("  says: {}", group.explanation);
        if !group.example_job.is_empty() {
            say!("  for example job {}", group.example_job);
        }
        if group.unreadable > 0 {
            say!("  {} of them no worker can read as a job", group.unreadable);
        }
        say!("  -> {}", group.action);
    }
    if groups.further > 0 {
        say!(
            "\n{} further letters are of groups that are not listed: narrow the list by --code or --product",
            groups.further
        );
    }
}

/// How long ago, in the largest unit that says enough.
fn ago(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).max(SignedDuration::ZERO).as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_the_unit_that_people_think_in() {
        let cases = [
            (-5, "0s"),
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7199, "119m"),
            (7200, "2h"),
            (172_800, "2d"),
            (864_000, "10d"),
        ];
        for (seconds, told) in cases {
            assert_eq!(ago(Timestamp::UNIX_EPOCH, Timestamp::from_second(seconds).unwrap()), told);
        }
    }
}
