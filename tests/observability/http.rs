//! Plain HTTP, as a browser or curl speaks it.

use std::time::Duration;

fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a plain client can be built")
}

pub async fn answers(url: &str) -> bool {
    client().get(url).send().await.is_ok_and(|answer| answer.status().is_success())
}

pub async fn get(url: &str) -> String {
    client().get(url).send().await.expect("an answer").text().await.expect("a body")
}

pub async fn put(url: &str, body: String) {
    let answer = client().put(url).body(body).send().await.expect("an answer");
    let status = answer.status();
    assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap_or_default());
}
