//! How many calls a second the sandbox answers with signature checks on, beside a bare HTTP server of the same kind, and
//! what limits it. `cargo bench --bench sandbox`; CALLS, ROUNDS and CONNECTIONS in the environment change how much is measured.

#[path = "sandbox/bare.rs"]
mod bare;
#[path = "sandbox/driver.rs"]
mod driver;
#[path = "relay/process.rs"]
#[expect(dead_code, reason = "the relay's benchmark uses the rest")]
mod process;
#[path = "sandbox/requests.rs"]
mod requests;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use process::{Process, cpu_seconds};

const PROGRAM: &str = env!("CARGO_BIN_EXE_bulkrelease");

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if arguments.first().is_some_and(|first| first == bare::COMMAND) {
        return runtime.block_on(bare::serve());
    }
    runtime.block_on(measure())
}

async fn measure() -> anyhow::Result<()> {
    let (calls, rounds, connections) = (number("CALLS", 20_000)?, number("ROUNDS", 3)?, number("CONNECTIONS", 8)?);
    let cores = std::thread::available_parallelism()?;
    println!(
        "{cores} cores shared by server and driver; {calls} calls over {connections} kept connections, {rounds} rounds"
    );
    println!("CPU in seconds of the server per 1,000 calls\n");
    println!("| ids a call | round | bare HTTP, calls/s | sandbox, calls/s | ratio | bare CPU | sandbox CPU |");
    println!("|---|---|---|---|---|---|---|");
    for ids in [1, 100] {
        for round in 1..=rounds {
            let bare = run(Command::new(std::env::current_exe()?).arg(bare::COMMAND), ids, calls, connections).await?;
            let mut sandbox = Command::new(PROGRAM);
            let sandbox = run(sandbox.args(["sandbox", "--listen", "127.0.0.1:0"]), ids, calls, connections).await?;
            println!(
                "| {ids} | {round} | {:.0} | {:.0} | {:.2} | {:.3} | {:.3} |",
                bare.rate,
                sandbox.rate,
                sandbox.rate / bare.rate,
                bare.cpu,
                sandbox.cpu
            );
        }
    }
    println!("\nin this process, on one core, seconds per 1,000 requests:");
    for ids in [1, 100] {
        let begun = Instant::now();
        requests::verify(ids, 1000);
        println!("verifying signatures with {ids} ids: {:.4}", begun.elapsed().as_secs_f64());
    }
    Ok(())
}

struct Figures {
    rate: f64,
    /// Seconds per 1,000 calls.
    cpu: f64,
}

async fn run(server: &mut Command, ids: usize, calls: usize, connections: usize) -> anyhow::Result<Figures> {
    let mut server = Process::start(server.stdout(Stdio::piped()))?;
    let mut line = String::new();
    BufReader::new(server.child().stdout.take().context("its output")?).read_line(&mut line)?;
    let address = line.split_whitespace().find_map(|word| word.strip_prefix("http://")).context("its address")?;
    let prepared = requests::prepare(address, ids, calls, connections);
    let before = cpu_seconds(server.id())?;
    let begun = Instant::now();
    driver::drive(address, prepared).await?;
    let took = begun.elapsed().as_secs_f64();
    let cpu = (cpu_seconds(server.id())? - before) / calls as f64 * 1000.0;
    server.stop().await?;
    Ok(Figures { rate: calls as f64 / took, cpu })
}

fn number(name: &str, default: usize) -> anyhow::Result<usize> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(default),
    }
}
