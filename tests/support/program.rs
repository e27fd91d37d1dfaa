//! A program as a child process, ours unless another is named: what it is given, what it writes, how it ends. It must not
//! know what a command does.

use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::signals;

/// Long enough for any command that is not told to stay.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A running program. It is killed when it is dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    directory: TempDir,
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub output: String,
    pub errors: String,
}

impl Program {
    /// Starts the program with these arguments and variables and no others, in a directory of its own.
    pub fn start(arguments: &[&str], variables: &[(String, String)], input: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkrelease"));
        command.args(arguments).env_clear().envs(variables.iter().cloned());
        Self::spawn(command, input)
    }

    /// Starts any program, in a directory of its own.
    pub fn spawn(mut command: Command, input: &str) -> Self {
        let directory = TempDir::with_prefix("bulkrelease-program-").expect("a directory");
        let create = |name: &str| File::create(directory.path().join(name)).expect("a file to write to");
        create("input").write_all(input.as_bytes()).expect("the input");
        let input = File::open(directory.path().join("input")).expect("the input");
        command.current_dir(directory.path()).stdin(input).stdout(create("output")).stderr(create("errors"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{:?} can't start: {error}", command.get_program()));
        Self { child, directory }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard output until now.
    pub fn output(&self) -> String {
        self.written("output")
    }

    /// What it has written to standard error until now.
    pub fn errors(&self) -> String {
        self.written("errors")
    }

    fn written(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.directory.path().join(name)).expect("what it wrote")).into_owned()
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("a child to ask").is_none()
    }

    /// Asks it to stop, as a service manager does.
    pub fn terminate(&self) {
        signals::send("TERM", self.id());
    }

    /// Asks it to read its settings again; a command without any is told that its terminal is gone.
    pub fn reload(&self) {
        signals::send("HUP", self.id());
    }

    /// Stops its time: it keeps its connections and answers nobody.
    pub fn pause(&self) {
        signals::send("STOP", self.id());
    }

    /// Lets its time go on.
    pub fn resume(&self) {
        signals::send("CONT", self.id());
    }

    /// A crash: it gets no chance to do anything.
    pub fn kill(&mut self) {
        self.child.kill().expect("a running program");
        self.child.wait().expect("its end");
    }

    /// Waits for its end.
    pub async fn ended(&mut self, within: Duration) -> Ended {
        let begun = Instant::now();
        let status: ExitStatus = loop {
            if let Some(status) = self.child.try_wait().expect("a child to ask") {
                break status;
            }
            assert!(begun.elapsed() < within, "it did not end within {within:?}:\n{}", self.errors());
            sleep(Duration::from_millis(5)).await;
        };
        Ended { code: status.code(), output: self.written("output"), errors: self.errors() }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        if self.runs() {
            self.kill();
        }
    }
}

/// Runs a command to its end.
pub async fn run(arguments: &[&str], variables: &[(String, String)], input: &str) -> Ended {
    Program::start(arguments, variables, input).ended(PATIENCE).await
}
