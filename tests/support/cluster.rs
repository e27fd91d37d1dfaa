//! Three RabbitMQ nodes on this machine that are one broker: quorum queues outlive any one of them. It must not know what
//! is tested with it.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::rabbitmq::{Configuration, Installation, Mapper, Node};

const SIZE: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Node>,
}

impl Cluster {
    /// Starts the nodes and waits until they are one broker.
    pub async fn start() -> Self {
        let installation = Installation::chosen();
        let mapper = Arc::new(Mapper::start(&installation).await);
        let names: Vec<String> = (1..=SIZE).map(|number| format!("n{number}")).collect();
        let mut lines = "cluster_formation.peer_discovery_backend = classic_config\n".to_owned();
        for (index, name) in names.iter().enumerate() {
            writeln!(lines, "cluster_formation.classic_config.nodes.{} = {name}@localhost", index + 1).expect("memory");
        }
        let configuration = Configuration { lines, ..Configuration::default() };
        let prepare = |name: &String| Node::prepare(name, &installation, &mapper, &configuration);
        let mut cluster = Self { nodes: names.iter().map(prepare).collect() };
        cluster.nodes.iter_mut().for_each(Node::spawn);
        join_all(cluster.nodes.iter_mut().map(Node::until_it_serves)).await;
        for node in &cluster.nodes {
            node.control(&["await_online_nodes", &SIZE.to_string()]);
        }
        cluster
    }

    /// The place of the node that leads this quorum queue, as a node sees it that serves.
    pub async fn leader(&self, witness: usize, queue: &str) -> usize {
        let begun = Instant::now();
        loop {
            let listed = self.nodes[witness].control(&["list_queues", "--no-table-headers", "name", "leader"]);
            let leader = listed.lines().find_map(|line| line.split_once('\t').filter(|(name, _)| *name == queue));
            let place = leader.and_then(|(_, name)| self.nodes.iter().position(|node| node.name() == name.trim()));
            if let Some(place) = place {
                return place;
            }
            assert!(begun.elapsed() < PATIENCE, "{queue} has no leader:\n{listed}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}
