//! `bulkrelease dead show`: letters, whole.

use super::looking;
use super::unfinished;
use crate::broker::Broker;
use crate::contract::Message;
use crate::dead::groups::printable;
use crate::dead::letter::Letter;
use crate::dead::selection::Selection;

/// Longer bodies are cut: no job that a worker takes by default is as long.
const LONGEST_BODY: usize = 4 * 1024 * 1024;

/// Show letters whole: of one fingerprint, of one id, or whatever the filters choose
#[derive(Debug, clap::Args)]
pub struct ShowCommand {
    /// A fingerprint or a letter's id, or the beginning of one
    #[arg(value_name = "FINGERPRINT|ID")]
    which: Option<String>,

    /// Show no more than so many
    #[arg(long, value_name = "COUNT", default_value_t = 10)]
    limit: usize,

    #[command(flatten)]
    selection: Selection,

    /// Look at what was discarded
    #[arg(long)]
    pub(super) archive: bool,
}

impl ShowCommand {
    pub async fn run(self, broker: &dyn Broker) -> anyhow::Result<()> {
        let which = self.which.unwrap_or_default();
        let (mut shown, mut matching) = (0, 0_u64);
        let seen = looking::each(broker, looking::queue(self.archive), &self.selection, |message, letter| {
            if letter.fingerprint.starts_with(&which) || letter.identity.to_string().starts_with(&which) {
                matching += 1;
                if shown < self.limit {
                    shown += 1;
                    show(&message, &letter);
                }
            }
            Ok(())
        })
        .await?;
        if matching == 0 {
            seen.whole()?;
            let hint = "no letter matches: `bulkrelease dead list` shows the fingerprints that there are";
            return Err(unfinished::no_match(hint).into());
        }
        if matching > shown as u64 {
            say!("{} more match: raise --limit, or `export` them", matching - shown as u64);
        }
        Ok(seen.whole()?)
    }
}

fn show(message: &Message, letter: &Letter) {
    let properties = &message.properties;
    say!("letter {}", letter.identity);
    say!("  fingerprint      {}", letter.fingerprint);
    say!("  reason           {}", printable(&letter.reason));
    let texts = [
        ("message id", &properties.message_id),
        ("correlation id", &properties.correlation_id),
        ("reply to", &properties.reply_to),
        ("type", &properties.kind),
    ];
    for (name, value) in texts {
        if let Some(value) = value {
            say!("  {name:16} {}", printable(value));
        }
    }
    for (name, value) in &properties.headers {
        say!("  {name}: {}", value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
    }
    match &letter.job {
        Ok(job) => say!("  job {} of {}, {} ids", printable(job.id.as_str()), job.group, job.ids.len()),
        Err(problem) => say!("  no job: {}", printable(problem)),
    }
    match std::str::from_utf8(&message.body) {
        Ok(text) if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) => {
            say!("{} bytes that are not all to be printed: `export` writes them\n", text.len());
        }
        Ok(text) if text.len() > LONGEST_BODY => {
            let beginning: String = text.chars().take(1000).collect();
            say!("{beginning}\nand so on, {} bytes in all: `export` writes them\n", text.len());
        }
        Ok(text) => say!("{text}\n"),
        _ => say!("{} bytes that are no text: `export` writes them as base64\n", message.body.len()),
    }
}
