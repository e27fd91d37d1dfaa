//! The jobs that were sent, from a file: one a line.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::cli::enqueue::open;
use crate::verify::Books;

/// A line that tells a message apart from its body: a body that carries no name, or is no job at all.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Sent {
    body: String,
    message_id: Option<String>,
}

/// Enters every line. A line that is neither is a body that is no job: it was sent all the same, and has a dead letter.
pub fn enter(books: &mut Books, path: &Path) -> anyhow::Result<()> {
    let mut count = 0_u64;
    for (index, line) in open(path)?.lines().enumerate() {
        let line = line.with_context(|| format!("{} line {}", path.display(), index + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        count += 1;
        match serde_json::from_str::<Sent>(&line) {
            Ok(sent) => books.job(sent.body.as_bytes(), sent.message_id.as_deref()),
            Err(_) => books.job(line.as_bytes(), None),
        }
    }
    if count == 0 {
        bail!("{}: no jobs: write one a line", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_line_is_a_body_or_a_message_and_its_bytes_count() {
        let body = r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#;
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let message = serde_json::json!({"Body": body, "MessageId": "named"});
        writeln!(file, "{body}\n\n{message}\nnonsense").unwrap();
        let mut books = Books::default();
        enter(&mut books, file.path()).unwrap();
        let report = books.judged();
        assert_eq!((report.summary.jobs, report.summary.ids, report.summary.missing), (3, 2, 3));
        assert_eq!(report.jobs[1].job_id.as_str(), "named");
        assert!(enter(&mut Books::default(), Path::new("/dev/null")).is_err());
    }
}
