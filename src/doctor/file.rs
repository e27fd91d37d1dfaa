//! The embedded broker's file.

use super::{Code, Report};
use crate::broker::inspection::{FileState, QueueFile};

/// A day's jobs and results fit into less.
const LEAST_FREE_BYTES: u64 = 256 * 1024 * 1024;

pub fn judge(file: &QueueFile, declare: bool, report: &mut Report) {
    let subject = format!("file {}", file.path);
    let setup = "bulkrelease setup".to_owned();
    let absent = if declare { Code::NotSetUp } else { Code::EntityMissing };
    match &file.state {
        FileState::Missing => report.find(absent, &subject, "it does not exist yet", setup),
        FileState::Empty => report.find(absent, &subject, "no queues are in it yet", setup),
        FileState::OtherVersion { found, known } => {
            let found = format!("its schema has version {found}, this program's has {known}");
            let mend = "use the program that wrote it to empty it, or name another file in broker.url".to_owned();
            report.find(Code::FileVersionDiffers, &subject, found, mend);
        }
        FileState::Unusable(reason) => {
            let mend = "give this user the right to write the file and its directory, or name another in broker.url";
            report.find(Code::FileUnusable, &subject, reason, mend.to_owned());
        }
        FileState::Usable { journal, dead, unrouted } => {
            if journal != "wal" {
                report.find(Code::FileNotWal, &subject, format!("its journal is {journal}"), setup);
            }
            waiting(*dead, *unrouted, report);
            report.check(format!("{subject}: a sound queue file"));
        }
    }
    match file.free_bytes {
        Some(free) if free < LEAST_FREE_BYTES => {
            let found = format!("{} MiB are free on its disk", free / 1024 / 1024);
            report.find(Code::DiskNearlyFull, &subject, found, "make room on that disk".to_owned());
        }
        Some(_) => {}
        None => report.miss(format!("{subject}: free disk"), "the system doesn't tell", None),
    }
}

/// What stands in the queues that should be empty.
pub fn waiting(dead: u64, unrouted: u64, report: &mut Report) {
    if dead > 0 {
        let mend = "bulkrelease dead list".to_owned();
        report.find(Code::DeadLettersWait, "queue release.dead", format!("{dead} letters wait"), mend);
    }
    if unrouted > 0 {
        let mend =
            "bulkrelease setup mends the binding; then move them as docs/runbook.md says (\"Messages reach no queue\")"
                .to_owned();
        report.find(Code::UnroutedMessages, "queue release.unrouted", format!("it holds {unrouted} messages"), mend);
    }
}
