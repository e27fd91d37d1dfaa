//! A private RabbitMQ node: a child process with its own data, ports, cookie and port mapper, on the loopback only. It
//! can be killed and started again on the same data. It must not know what is tested with it.
//!
//! A node of the system, if one runs, is left alone. `cluster` makes three of one kind.

mod installation;
mod mapper;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use lapin::{Connection, ConnectionProperties};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

pub use installation::Installation;
pub use mapper::Mapper;

use super::signals;

const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Lines that a test adds to the node's own configuration.
#[derive(Debug, Default, Clone)]
pub struct Configuration {
    /// Lines of `rabbitmq.conf`.
    pub lines: String,
    /// Erlang terms, for keys that `rabbitmq.conf` doesn't know.
    pub advanced: String,
    /// Names of plugins, with commas between.
    pub plugins: String,
}

/// A node, and everything that goes with it when it is dropped.
#[derive(Debug)]
pub struct Node {
    name: String,
    installation: Installation,
    directory: TempDir,
    port: u16,
    distribution_port: u16,
    broker: Option<Child>,
    mapper: Arc<Mapper>,
}

impl Node {
    /// Starts a node and waits until it serves.
    pub async fn start(configuration: &Configuration) -> Self {
        let installation = Installation::chosen();
        let mapper = Arc::new(Mapper::start(&installation).await);
        let mut node = Self::prepare("n1", &installation, &mapper, configuration);
        node.restart().await;
        node
    }

    /// A node that has all it needs and does not run yet.
    pub fn prepare(
        name: &str,
        installation: &Installation,
        mapper: &Arc<Mapper>,
        configuration: &Configuration,
    ) -> Self {
        let directory = TempDir::with_prefix("bulkrelease-rabbitmq-").expect("a directory for the node");
        let [port, distribution_port] = free_ports();
        let node = Self {
            name: format!("{name}@localhost"),
            installation: installation.clone(),
            directory,
            port,
            distribution_port,
            broker: None,
            mapper: Arc::clone(mapper),
        };
        node.write_files(configuration);
        node
    }

    /// The node that tests share, each in a virtual host of its own. It ends with the last test that holds it.
    pub async fn shared() -> Arc<Self> {
        static SHARED: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        static NODE: Mutex<Weak<Node>> = Mutex::new(Weak::new());
        let _one_at_a_time = SHARED.lock().await;
        if let Some(node) = NODE.lock().unwrap_or_else(PoisonError::into_inner).upgrade() {
            return node;
        }
        let node = Arc::new(Self::start(&Configuration::default()).await);
        *NODE.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(&node);
        node
    }

    pub fn url(&self) -> String {
        format!("amqp://127.0.0.1:{}/", self.port)
    }

    /// Its name among the nodes of its cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Makes a virtual host and answers with its URL.
    pub fn virtual_host(&self, name: &str) -> String {
        self.control(&["add_vhost", name]);
        self.control(&["set_permissions", "-p", name, "guest", ".*", ".*", ".*"]);
        format!("{}{name}", self.url())
    }

    /// Runs `rabbitmqctl`, which takes half a second, and answers with what it printed.
    pub fn control(&self, arguments: &[&str]) -> String {
        let mut command = self.with_environment(self.installation.rabbitmq("rabbitmqctl"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let output = command.args(["-q", "-n", &self.name]).args(arguments).output().expect("rabbitmqctl starts");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {printed}{complaint}");
        printed
    }

    /// A crash: nothing is flushed, nothing is closed. Within three seconds of declaring a quorum queue it would lose
    /// confirmed messages, which is the broker's affair and not what tests are about.
    pub fn kill(&mut self) {
        end(&mut self.broker);
    }

    /// An orderly stop, as a service manager orders it.
    pub async fn stop(&mut self) {
        let mut broker = self.broker.take().expect("a broker that runs");
        signals::send("TERM", broker.id());
        let begun = Instant::now();
        while broker.try_wait().expect("a child to ask").is_none() {
            assert!(begun.elapsed() < START_TIMEOUT, "the node does not stop in time\n{}", self.log());
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops its time: it keeps its connections and answers nobody.
    pub fn pause(&self) {
        signals::send("STOP", self.process());
    }

    /// Lets its time go on.
    pub fn resume(&self) {
        signals::send("CONT", self.process());
    }

    fn process(&self) -> u32 {
        self.broker.as_ref().expect("a broker that runs").id()
    }

    /// Starts the broker again on the same data and waits until it serves.
    pub async fn restart(&mut self) {
        self.spawn();
        self.until_it_serves().await;
    }

    /// Starts the broker on its data.
    pub fn spawn(&mut self) {
        assert!(self.broker.is_none(), "the broker runs");
        let output = fs::File::options().create(true).append(true).open(self.path("log/output")).expect("a log");
        let mut command = self.with_environment(self.installation.rabbitmq("rabbitmq-server"));
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        self.broker = Some(command.spawn().expect("rabbitmq-server starts"));
    }

    pub async fn until_it_serves(&mut self) {
        let begun = Instant::now();
        while !self.serves().await {
            let exited = self.broker.as_mut().and_then(|broker| broker.try_wait().expect("a child to ask"));
            assert!(exited.is_none(), "the node ended: {exited:?}\n{}", self.log());
            assert!(begun.elapsed() < START_TIMEOUT, "the node is not ready in time\n{}", self.log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Waits until another of its ports is open.
    pub async fn until_it_listens_at(&self, port: u16) {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert!(begun.elapsed() < START_TIMEOUT, "the node does not listen at {port}\n{}", self.log());
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn serves(&self) -> bool {
        // lapin leaves a thread behind for each connection that is refused: ask the port first.
        if TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            return false;
        }
        let url = self.url();
        let connecting = Connection::connect(url.trim_end_matches('/'), ConnectionProperties::default());
        match timeout(Duration::from_secs(2), connecting).await {
            Ok(Ok(connection)) => connection.close(200, "OK".into()).await.is_ok(),
            _ => false,
        }
    }

    /// What the node wrote to its log.
    pub fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.path(name)).unwrap_or_default();
        format!("{}{}", read("log/output"), read("log/rabbit.log"))
    }

    fn write_files(&self, configuration: &Configuration) {
        for directory in ["home", "data", "log"] {
            fs::create_dir(self.path(directory)).expect("a directory of the node");
        }
        let cookie = self.path("home/.erlang.cookie");
        self.write("home/.erlang.cookie", "BULKRELEASETESTS");
        fs::set_permissions(cookie, fs::Permissions::from_mode(0o400)).expect("a private cookie");
        self.write("enabled_plugins", &format!("[{}].\n", configuration.plugins));
        // An empty one hides the system's.
        self.write("environment.conf", "");
        let fixed = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nlog.console = false\nlog.file = rabbit.log\nlog.file.level = info\n",
            self.port
        );
        self.write("rabbitmq.conf", &(fixed + &configuration.lines));
        if !configuration.advanced.is_empty() {
            self.write("advanced.config", &configuration.advanced);
        }
    }

    fn with_environment(&self, mut command: Command) -> Command {
        command.current_dir(self.directory.path()).env("LANG", "C.UTF-8").env("HOME", self.path("home"));
        command.env("ERL_EPMD_PORT", self.mapper.port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        command.env("ERL_CRASH_DUMP", "/dev/null");
        // The wrapper then executes the broker in its own place: the child's process id is the broker's.
        command.env("RUNNING_UNDER_SYSTEMD", "true");
        for (name, value) in [
            ("NODENAME", self.name.clone()),
            ("NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("NODE_PORT", self.port.to_string()),
            ("DIST_PORT", self.distribution_port.to_string()),
            ("SERVER_ADDITIONAL_ERL_ARGS", "-kernel inet_dist_use_interface {127,0,0,1}".to_owned()),
        ] {
            command.env(format!("RABBITMQ_{name}"), value);
        }
        for (name, file) in [
            ("MNESIA_BASE", "data"),
            ("LOG_BASE", "log"),
            ("LOGS", "log/rabbit.log"),
            ("CONFIG_FILE", "rabbitmq.conf"),
            ("ADVANCED_CONFIG_FILE", "advanced.config"),
            ("CONF_ENV_FILE", "environment.conf"),
            ("ENABLED_PLUGINS_FILE", "enabled_plugins"),
            ("PID_FILE", "pid"),
            ("GENERATED_CONFIG_DIR", "generated"),
        ] {
            command.env(format!("RABBITMQ_{name}"), self.path(file));
        }
        command
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("a file of the node");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        end(&mut self.broker);
    }
}

/// Ports that were free a moment ago.
pub fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let listeners = [(); COUNT].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("its address").port())
}

fn end(child: &mut Option<Child>) {
    if let Some(mut child) = child.take()
        && child.kill().and_then(|()| child.wait()).is_err()
    {
        eprintln!("process {} could not be ended", child.id());
    }
}
