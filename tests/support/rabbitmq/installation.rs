//! Which RabbitMQ the tests start: the one installed here, or, where `BULKRELEASE_TEST_RABBITMQ_ROOT` names a root
//! directory (`tests/versions` makes them), the one installed there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

// The command in /usr/sbin changes the user and drops the environment.
const PROGRAMS: &str = "/usr/lib/rabbitmq/bin";

/// Each program of another root directory gets mounts of its own, which end with it: the tests' folders are seen inside
/// under their own names. Everything is executed in the place of what came before, so the child's process id stays.
const ENTER: &str = r#"
mount -t proc proc "$1/proc" && mkdir -p "$1$2" && mount --bind "$2" "$1$2" && root=$1 && shift 2 && exec chroot "$root" "$@"
"#;

#[derive(Debug, Clone)]
pub struct Installation {
    root: Option<PathBuf>,
}

impl Installation {
    /// The one that the environment chooses.
    pub fn chosen() -> Self {
        let root = std::env::var_os("BULKRELEASE_TEST_RABBITMQ_ROOT").map(PathBuf::from);
        let programs = root.as_deref().unwrap_or(Path::new("/")).join(PROGRAMS.trim_start_matches('/'));
        assert!(
            programs.join("rabbitmq-server").exists(),
            "this test needs RabbitMQ in {}: apt-get install rabbitmq-server",
            programs.display()
        );
        Self { root }
    }

    /// A program of RabbitMQ.
    pub fn rabbitmq(&self, program: &str) -> Command {
        self.command(&format!("{PROGRAMS}/{program}"))
    }

    /// Any program, with an empty environment but for a search path, and no standard streams.
    pub fn command(&self, program: &str) -> Command {
        let mut command = match &self.root {
            None => Command::new(program),
            Some(root) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
                command.arg(root).arg(std::env::temp_dir()).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}
