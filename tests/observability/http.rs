//! Plain HTTP, as a browser or curl speaks it.

use std::time::Duration;

use reqwest::Client;

pub fn client() -> Client {
    // Every test of the process tries; that one succeeded is all that counts.
    rustls::crypto::ring::default_provider().install_default().ok();
    Client::builder().timeout(Duration::from_secs(20)).build().expect("a plain client can be built")
}

pub async fn answers(client: &Client, url: &str) -> bool {
    client.get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

pub async fn get(client: &Client, url: &str) -> String {
    client.get(url).send().await.expect("an answer").text().await.expect("a body")
}

pub async fn put(client: &Client, url: &str, body: String) {
    let answer = client.put(url).body(body).send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
}
