//! Where the jobs wait in a campaign: three nodes, one node, or a file on a small disk. It must not know when it breaks.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use crate::support::cluster::Cluster;
use crate::support::rabbitmq::{Configuration, Node};

pub enum Place {
    Nodes(Cluster),
    File(SmallDisk),
}

impl Place {
    pub async fn cluster() -> Self {
        Self::Nodes(Cluster::start().await)
    }

    pub async fn node() -> Self {
        Self::Nodes(Cluster { nodes: vec![Node::start(&Configuration::default()).await] })
    }

    pub fn file() -> Self {
        Self::File(SmallDisk::new())
    }

    /// Where the nodes listen, beginning with one of them.
    pub fn addresses(&self, first: usize) -> Vec<SocketAddr> {
        match self {
            Self::Nodes(cluster) => {
                let mut addresses: Vec<_> = cluster.nodes.iter().map(Node::address).collect();
                let count = addresses.len();
                addresses.rotate_left(first % count);
                addresses
            }
            Self::File(_) => Vec::new(),
        }
    }

    pub fn nodes(&mut self) -> &mut Vec<Node> {
        match self {
            Self::Nodes(cluster) => &mut cluster.nodes,
            Self::File(_) => panic!("a file has no nodes"),
        }
    }
}

/// Room for the file and its log, and not for a ballast beside it.
const DISK_BYTES: usize = 128 * 1024 * 1024;

/// A disk of its own, where this user may mount one; a folder otherwise, which is never full.
pub struct SmallDisk {
    folder: TempDir,
    mounted: bool,
}

impl SmallDisk {
    fn new() -> Self {
        let folder = TempDir::with_prefix("bulkrelease-disk-").expect("a folder");
        let size = format!("size={DISK_BYTES}");
        let mounting = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        let mounted = mounting.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("the disk can't be made full: that takes the right to mount one");
        }
        Self { folder, mounted }
    }

    pub fn url(&self) -> String {
        format!("sqlite:{}", self.folder.path().join("broker.sqlite").display())
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    /// Leaves only so much room; answers whether it could.
    pub fn fill(&self, room: usize) -> bool {
        if self.mounted {
            let mut ballast = File::create(self.ballast()).expect("a file");
            // Until the disk is full, which is the point.
            while ballast.write_all(&[0; 64 * 1024]).is_ok() {}
            let length = ballast.metadata().expect("a file").len();
            ballast.set_len(length.saturating_sub(room as u64)).expect("a shorter file");
        }
        self.mounted
    }

    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("a ballast");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted && !Command::new("umount").arg("-l").arg(self.folder.path()).status().is_ok_and(|s| s.success())
        {
            eprintln!("{} could not be unmounted", self.folder.path().display());
        }
    }
}
