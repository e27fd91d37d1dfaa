//! The bare HTTP server: the same library, which reads a request and answers a constant as long as the sandbox's answer.

use axum::Router;
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

pub const COMMAND: &str = "bare-http";

const ANSWER: &str = r#"{"Code":"Success","Message":"Successful!","RequestId":"7B3F0A3C-6F0E-4F0C-9F5F-0A3C6F0E4F0C","Success":true,"Data":{"ReleaseResult":true,"HostId":"127.0.0.1:12345"}}"#;

pub async fn serve() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("bare: http://{}", listener.local_addr()?);
    let routes =
        Router::new().route("/", post(async || ([("content-type", "application/json;charset=utf-8")], ANSWER)));
    let end = async move {
        terminate.recv().await;
    };
    Ok(axum::serve(listener, routes).with_graceful_shutdown(end).await?)
}
