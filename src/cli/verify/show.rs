//! The report, for people and for machines.

use std::io::{BufWriter, Write};

use crate::verify::Report;

/// Findings that people are shown; machines get all.
const SHOWN: usize = 20;

pub fn json(report: &Report) -> anyhow::Result<()> {
    let mut output = BufWriter::new(std::io::stdout().lock());
    serde_json::to_writer(&mut output, report)?;
    writeln!(output)?;
    output.flush()?;
    Ok(())
}

pub fn words(report: &Report) {
    let summary = &report.summary;
    say!("{} jobs with {} ids; where the ids ended (--json tells it of each job and id):", summary.jobs, summary.ids);
    for (ended, count) in &summary.ended {
        say!("  {:<20}{count:>9}", ended.as_str());
    }
    say!(
        "{} results, {} of them repeats; {} replays; {} dead letters",
        summary.results,
        summary.repeats,
        summary.replays,
        summary.dead_letters
    );
    if summary.namesakes + summary.others > 0 {
        say!(
            "besides: {} results of other bodies under these names, {} results and dead letters of other jobs",
            summary.namesakes,
            summary.others
        );
    }
    if let (Some(calls), Some(released)) = (summary.calls, summary.released) {
        say!("{calls} calls by the ledger, which released {released} ids");
    }
    for finding in report.findings.iter().take(SHOWN) {
        say!("  {finding}");
    }
    if report.findings.len() > SHOWN {
        say!("  and {} more (--json lists all)", report.findings.len() - SHOWN);
    }
    if report.findings.is_empty() {
        say!("nothing is missing, nothing is wrong");
    }
}
