//! `bulkrelease healthcheck`: ask a worker how it is. For containers that have no other HTTP client.

use std::time::Duration;

use anyhow::bail;

/// Ask a worker's /healthz (or another URL) and exit with 0 if it answers with a success
#[derive(Debug, clap::Args)]
pub struct HealthcheckCommand {
    #[arg(long, default_value = "http://127.0.0.1:9464/healthz")]
    url: String,
}

impl HealthcheckCommand {
    pub async fn run(self) -> anyhow::Result<()> {
        let client = reqwest::Client::builder().timeout(Duration::from_secs(3)).build()?;
        let response = client.get(&self.url).send().await?;
        let status = response.status();
        let text = response.text().await?;
        if !status.is_success() {
            bail!("{} answers {status}: {}", self.url, text.trim());
        }
        say!("{}", text.trim());
        Ok(())
    }
}
