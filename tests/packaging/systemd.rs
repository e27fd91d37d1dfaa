//! The systemd unit holds together, as far as that can be told without being the first process.

use std::process::Command;

use bulkrelease::config;

use super::read;

const UNIT: &str = "deploy/systemd/bulkrelease.service";
/// Where it says that the program is.
const INSTALLED: &str = "/usr/local/bin/bulkrelease";

fn value(name: &str) -> String {
    let unit = read(UNIT);
    let line = unit.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=').map(str::to_owned));
    line.unwrap_or_else(|| panic!("it says nothing of {name}"))
}

#[test]
fn a_stop_leaves_time_to_drain_and_a_crash_is_not_the_end() {
    let settings = config::Settings::default();
    let stop = config::parse_duration(&value("TimeoutStopSec")).expect("a duration");
    assert!(stop > settings.worker.drain_deadline, "{stop:?}");
    assert_eq!(value("Restart"), "always");
    assert!(value("ExecStart").starts_with(&format!("{INSTALLED} worker --config ")));
}

#[test]
fn it_has_no_rights_that_it_does_not_need() {
    for (name, wanted) in [
        ("DynamicUser", "yes"),
        ("CapabilityBoundingSet", ""),
        ("NoNewPrivileges", "yes"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
    ] {
        assert_eq!(value(name), wanted, "{name}");
    }
    // The worker's name begins with the host's, which it reads there.
    assert!(!read(UNIT).contains("ProcSubset=pid"));
}

/// Where there is a systemd to ask: `tests/run` installs none.
#[test]
fn systemd_itself_finds_no_fault_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let unit = directory.path().join("bulkrelease.service");
    std::fs::write(&unit, read(UNIT).replace(INSTALLED, env!("CARGO_BIN_EXE_bulkrelease"))).expect("a file");
    let Ok(output) = Command::new("systemd-analyze").arg("verify").arg(&unit).output() else {
        println!("no systemd-analyze here: not verified");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("bulkrelease.service"), "{said}");
}
