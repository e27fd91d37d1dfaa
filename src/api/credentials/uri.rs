//! Source 6: an address that answers with a temporary key (Python `provider/uri.py`, Go `providers/uri.go`; aliyun-cli
//! `config/profile.go` for the profile mode).

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::answer;
use super::http::Http;
use super::search::{Ask, Found, Fresh, Miss};
use super::surroundings::Surroundings;

const CREDENTIALS_URI: &str = "ALIBABA_CLOUD_CREDENTIALS_URI";

pub fn look(surroundings: &Surroundings) -> Result<Found, Miss> {
    let text = surroundings.variable(CREDENTIALS_URI);
    let text = text.ok_or_else(|| Miss::Absent(format!("{CREDENTIALS_URI} is not set")))?;
    found(&text).map_err(Miss::Broken)
}

/// For a profile that names the address. What it says stays out of messages: it may hold a password.
pub fn found(text: &str) -> Result<Found, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url = url.ok_or("the address is no http:// or https:// URL")?;
    Ok(Found::Ask(Ask::Uri(url)))
}

/// One request, with the vendor's bounds: 5 s for a connection, 10 s in all.
pub async fn ask(url: &Url, now: impl Fn() -> Timestamp) -> Result<Fresh, Miss> {
    let http = Http::new(Duration::from_secs(5), Duration::from_secs(10)).map_err(Miss::Broken)?;
    let answer = http.send(http.request(reqwest::Method::GET, url.clone())).await;
    let answer = answer.map_err(|failure| Miss::Broken(failure.to_string()))?;
    answer::successful(&answer, now()).map_err(Miss::Broken)
}
