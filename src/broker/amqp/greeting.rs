//! The server's version, as it greets everyone before any login. lapin hears it and keeps it to itself.

use std::io;
use std::time::Duration;

use futures_util::{AsyncReadExt, AsyncWriteExt};
use lapin::tcp::AMQPUriTcpExt;
use tokio::time::timeout;

use super::connection::Server;

const PATIENCE: Duration = Duration::from_secs(5);
const HEADER: &[u8] = b"AMQP\x00\x00\x09\x01";
/// A frame's type, channel and size; then class and method of `connection.start`.
const FRAME_HEAD: usize = 7;
const START: &[u8] = &[0, 10, 0, 10];
/// Those of RabbitMQ have half a thousand.
const LONGEST_GREETING: usize = 16 * 1024;

impl Server {
    /// The version; `None` if the server doesn't greet as RabbitMQ does.
    pub(super) async fn version(&self) -> Option<String> {
        match timeout(PATIENCE, self.greeting()).await {
            Ok(Ok(greeting)) => version_in(&greeting),
            Ok(Err(error)) => {
                tracing::debug!(%error, "the broker's greeting can't be read");
                None
            }
            Err(_) => None,
        }
    }

    async fn greeting(&self) -> io::Result<Vec<u8>> {
        let runtime = lapin::runtime::default_runtime().map_err(io::Error::other)?;
        let tls = self.tls_config().await.map_err(io::Error::other)?;
        let mut stream = self.uri().connect_with_config_async(tls.as_ref(), &runtime).await?;
        stream.write_all(HEADER).await?;
        stream.flush().await?;
        let mut head = [0; FRAME_HEAD];
        stream.read_exact(&mut head).await?;
        let size = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
        let mut greeting = vec![0; size.min(LONGEST_GREETING)];
        stream.read_exact(&mut greeting).await?;
        Ok(greeting)
    }
}

/// Finds the field `version` among the server's properties: its name with its length before it, `S`, and the text with
/// its length before it.
fn version_in(greeting: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\x07versionS";
    let properties = greeting.strip_prefix(START)?;
    let at = properties.windows(NAME.len()).position(|window| window == NAME)? + NAME.len();
    let (length, rest) = properties.get(at..)?.split_first_chunk::<4>()?;
    let text = rest.get(..u32::from_be_bytes(*length) as usize)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_a_greeting_and_from_nothing_else() {
        let start = b"\x00\x0a\x00\x0a\x00\x09\x00\x00\x00\x20\x07productS\x00\x00\x00\x08RabbitMQ";
        let with = |rest: &[u8]| [&start[..], rest].concat();
        assert_eq!(version_in(&with(b"\x07versionS\x00\x00\x00\x063.10.8")).as_deref(), Some("3.10.8"));
        for other in [with(b""), with(b"\x07versionS\x00\x00"), with(b"\x07versionS\xff\xff\xff\xff3.10"), vec![], {
            b"HTTP/1.1 400 \x07versionS\x00\x00\x00\x063.10.8".to_vec()
        }] {
            assert_eq!(version_in(&other), None);
        }
    }
}
