//! The report, for people and for machines.

use serde_json::json;

use crate::doctor::{Report, Severity, Soundness};

pub fn json(report: &Report) -> anyhow::Result<()> {
    let mut whole = serde_json::to_value(report)?;
    whole["Soundness"] = json!(word(report.soundness()));
    say!("{whole}");
    Ok(())
}

fn word(soundness: Soundness) -> &'static str {
    match soundness {
        Soundness::Sound => "sound",
        Soundness::Findings => "findings",
        Soundness::Unchecked => "unchecked",
    }
}

pub fn words(report: &Report) {
    for line in &report.checked {
        say!("well  {line}");
    }
    for finding in &report.findings {
        let (severity, code) = (finding.code.severity().as_str(), finding.code.as_str());
        say!("\n{severity}: {code}, {}", finding.subject);
        say!("  found  {}", finding.found);
        say!("  why    {}", finding.code.why());
        say!("  mend   {}", finding.mend);
    }
    for missed in &report.not_checked {
        say!("\nnot checked: {}", missed.subject);
        say!("  because  {}", missed.because);
        if let Some(mend) = &missed.mend {
            say!("  mend     {mend}");
        }
    }
    let notes = report.findings.iter().filter(|finding| finding.code.severity() == Severity::Note).count();
    let (matter, missed) = (report.findings.len() - notes, report.not_checked.len());
    let verdict = match report.soundness() {
        Soundness::Sound => "sound",
        Soundness::Findings => "mend what matters, the worst is first",
        Soundness::Unchecked => "nothing wrong was found, but not everything could be looked at",
    };
    say!("\n{verdict}: {matter} findings that matter, {notes} notes, {missed} not checked");
}
