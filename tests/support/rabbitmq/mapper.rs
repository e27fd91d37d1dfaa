//! The port mapper through which Erlang nodes find each other: a child of ours, since the package's own is a daemon that
//! would outlive the test.

use std::net::{Ipv4Addr, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::installation::Installation;
use super::{end, free_ports};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running mapper. It ends with the last node that holds it.
#[derive(Debug)]
pub struct Mapper {
    pub port: u16,
    process: Option<Child>,
}

impl Mapper {
    pub async fn start(installation: &Installation) -> Self {
        let [port] = free_ports();
        let arguments = ["-port", &port.to_string(), "-address", "127.0.0.1"];
        let process = installation.command("epmd").args(arguments).spawn().expect("epmd starts");
        let mapper = Self { port, process: Some(process) };
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(begun.elapsed() < START_TIMEOUT, "epmd does not listen");
            sleep(Duration::from_millis(10)).await;
        }
        mapper
    }
}

impl Drop for Mapper {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}
