//! Bytes as they travel, for what an HTTP client would hide.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::sandbox::PATIENCE;

/// What came back, and how it ended.
#[derive(Debug)]
pub struct Answer {
    pub head: String,
    pub body: Vec<u8>,
    /// `None` where the answer is whole.
    pub end: Option<io::ErrorKind>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    pub fn promised(&self) -> usize {
        self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or_default()
    }
}

/// Sends bytes as they are, and reads one answer.
pub async fn exchange(address: SocketAddr, wire: &[u8]) -> Answer {
    timeout(PATIENCE, exchanged(address, wire)).await.expect("an answer, or an end")
}

async fn exchanged(address: SocketAddr, wire: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("the sandbox listens");
    stream.write_all(wire).await.expect("the sandbox reads");
    let mut answer = Answer { head: String::new(), body: Vec::new(), end: None };
    let mut bytes = Vec::new();
    loop {
        if answer.head.is_empty()
            && let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n")
        {
            answer.head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            bytes.drain(..end + 4);
        }
        if !answer.head.is_empty() && bytes.len() >= answer.promised() {
            break;
        }
        match stream.read_buf(&mut bytes).await {
            Ok(0) => answer.end = Some(io::ErrorKind::UnexpectedEof),
            Ok(_) => continue,
            Err(error) => answer.end = Some(error.kind()),
        }
        break;
    }
    answer.body = bytes;
    answer
}
