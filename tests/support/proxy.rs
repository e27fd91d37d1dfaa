//! A network between two parts that can be made bad while it is used: slow, silent, cut. It must not know what is said
//! through it.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, broadcast, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How the network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Every piece arrives so much later.
    Slow(Duration),
    /// Nothing arrives, and nobody is told. What was sent arrives when the weather changes, if both still wait for it.
    BlackHole,
}

/// What happens once, to every connection that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blow {
    /// Both sides are told that the connection is reset.
    Cut,
    /// The client is told that the server says no more; what it says itself still arrives.
    HalfClose,
}

/// A listener that forwards to the first of its servers that takes the connection.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    blows: broadcast::Sender<Blow>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub async fn start(servers: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let weather = watch::Sender::new(Weather::Fair);
        let blows = broadcast::Sender::new(16);
        let task = tokio::spawn(forward(listener, servers.into(), weather.clone(), blows.clone()));
        Ok(Self { address, weather, blows, task })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    /// Resets every connection.
    pub fn cut(&self) {
        self.strike(Blow::Cut);
    }

    /// Ends every connection on the way from the server to the client, and leaves the other way open.
    pub fn half_close(&self) {
        self.strike(Blow::HalfClose);
    }

    fn strike(&self, blow: Blow) {
        // An error says that there is no connection now.
        self.blows.send(blow).ok();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // With the listener's task go those of its connections.
        self.task.abort();
    }
}

async fn forward(
    listener: TcpListener,
    servers: Arc<[SocketAddr]>,
    weather: watch::Sender<Weather>,
    blows: broadcast::Sender<Blow>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let (servers, weather, blows) = (Arc::clone(&servers), weather.subscribe(), blows.subscribe());
        connections.spawn(async move {
            let Some(server) = connect(&servers).await else {
                return reset(client);
            };
            connection(client, server, weather, blows).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(servers: &[SocketAddr]) -> Option<TcpStream> {
    for server in servers {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(server)).await {
            return Some(stream);
        }
    }
    None
}

async fn connection(
    mut client: TcpStream,
    mut server: TcpStream,
    weather: watch::Receiver<Weather>,
    mut blows: broadcast::Receiver<Blow>,
) {
    for stream in [&client, &server] {
        // Only costs speed where it fails.
        stream.set_nodelay(true).ok();
    }
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let half_closed = Notify::new();
        let sending = copy(from_client, to_server, weather.clone(), pending());
        let answering = copy(from_server, to_client, weather, half_closed.notified());
        let both = async { tokio::join!(sending, answering) };
        tokio::pin!(both);
        loop {
            tokio::select! {
                _ = &mut both => break false,
                blow = blows.recv() => match blow {
                    Ok(Blow::HalfClose) => half_closed.notify_one(),
                    Ok(Blow::Cut) | Err(_) => break true,
                },
            }
        }
    };
    if cut {
        reset(client);
        reset(server);
    }
}

/// Carries what one side says to the other, until it says no more, or may not.
async fn copy(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut weather: watch::Receiver<Weather>,
    end: impl Future<Output = ()>,
) {
    tokio::pin!(end);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            () = &mut end => break,
        };
        let Ok(count @ 1..) = read else { break };
        // The sender lives as long as the proxy, and longer than this.
        let now = weather.wait_for(|weather| *weather != Weather::BlackHole).await.map(|weather| *weather);
        if let Ok(Weather::Slow(delay)) = now {
            sleep(delay).await;
        }
        if to.write_all(&piece[..count]).await.is_err() {
            break;
        }
    }
    // The other side may have gone, which is as good.
    to.shutdown().await.ok();
}

/// A connection closed with data on its way is reset; so is one that may not linger.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().ok();
}
