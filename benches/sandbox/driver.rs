//! Sends prepared requests over kept connections, one at a time on each, and reads just enough of every answer.

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Returns when every request is answered; all must be answered with a success.
pub async fn drive(address: &str, prepared: Vec<Vec<Vec<u8>>>) -> anyhow::Result<()> {
    let mut connections = JoinSet::new();
    for requests in prepared {
        let address = address.to_owned();
        connections.spawn(async move { converse(&address, &requests).await });
    }
    while let Some(ended) = connections.join_next().await {
        ended.context("a connection's task")??;
    }
    Ok(())
}

async fn converse(address: &str, requests: &[Vec<u8>]) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut answer = Vec::with_capacity(4096);
    for request in requests {
        stream.write_all(request).await?;
        answer.clear();
        while !is_whole(&answer)? {
            if stream.read_buf(&mut answer).await? == 0 {
                bail!("the server ended the connection");
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            bail!("not a success: {}", String::from_utf8_lossy(&answer));
        }
    }
    Ok(())
}

fn is_whole(answer: &[u8]) -> anyhow::Result<bool> {
    let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(false) };
    let head = std::str::from_utf8(&answer[..end])?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("a length")?;
    Ok(answer.len() >= end + 4 + length.parse::<usize>()?)
}
