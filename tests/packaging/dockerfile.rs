//! The image can be built and runs without root: the Dockerfile's instructions, followed in a folder that holds what
//! `.dockerignore` lets in, with a cargo that only looks around.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use super::{exists, read};

/// Each instruction and its words, in order; continued lines are one.
fn instructions() -> Vec<(String, String)> {
    let dockerfile = read("Dockerfile");
    let lines = dockerfile.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let instructions = joined.lines().filter_map(|line| line.split_once(' '));
    instructions.map(|(name, words)| (name.to_owned(), words.trim().to_owned())).collect()
}

fn all(name: &str) -> Vec<String> {
    instructions().into_iter().filter(|(found, _)| found == name).map(|(_, words)| words).collect()
}

/// Every file that cargo looks for, whatever it is asked to build.
fn targets() -> Vec<String> {
    let manifest: toml::Table = read("Cargo.toml").parse().expect("it is TOML");
    let mut targets = vec!["src/main.rs".to_owned(), "src/lib.rs".to_owned()];
    for (kind, folder) in [("test", "tests"), ("bench", "benches")] {
        for target in manifest[kind].as_array().expect("targets") {
            let name = target["name"].as_str().expect("a name");
            let path = target.get("path").and_then(toml::Value::as_str).map(str::to_owned);
            targets.push(path.unwrap_or_else(|| format!("{folder}/{name}.rs")));
        }
    }
    targets
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        std::fs::create_dir_all(to).expect("a folder");
        for entry in std::fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    } else {
        std::fs::copy(from, to).expect("copied");
    }
}

#[test]
fn cargo_finds_every_file_that_it_looks_for_whenever_the_image_is_built() {
    let (image, tools) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let (cargo, log) = (tools.path().join("cargo"), tools.path().join("log"));
    let looks = format!("#!/bin/sh\n(echo \"cargo $*\"; find . -type f) >> '{}'\n", log.display());
    std::fs::write(&cargo, looks).expect("written");
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    let ignored = read(".dockerignore");
    let path = format!("{}:{}", tools.path().display(), std::env::var("PATH").expect("a path"));
    // The last stage builds nothing.
    let build = instructions().into_iter().skip(1).take_while(|(name, _)| name != "FROM");
    for (name, words) in build {
        let words: Vec<&str> = words.split_whitespace().collect();
        if name == "COPY" {
            let (target, sources) = words.split_last().expect("a target");
            for source in sources {
                assert!(exists(source), "the Dockerfile copies {source}, which is not there");
                assert!(ignored.lines().any(|line| line == format!("!{source}")), ".dockerignore hides {source}");
                let target = if target.ends_with('/') { image.path().join(source) } else { image.path().join(target) };
                copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(source), &target);
            }
        } else if name == "RUN" {
            let mut shell = Command::new("sh");
            shell.args(["-c", &words.join(" ")]).current_dir(image.path()).env("PATH", &path);
            assert!(shell.status().expect("a shell").success(), "{words:?}");
        }
    }
    let log = std::fs::read_to_string(log).expect("cargo was called");
    let calls: Vec<&str> = log.split("cargo build ").skip(1).collect();
    assert_eq!(calls.len(), 2, "{log}");
    for call in &calls {
        assert!(call.starts_with("--release --locked\n"), "{call}");
        for file in targets().iter().map(String::as_str).chain(["Cargo.toml", "Cargo.lock"]) {
            assert!(call.contains(&format!("\n./{file}\n")), "cargo would miss {file} among\n{call}");
        }
    }
    let sources = std::fs::read_to_string(image.path().join("src/main.rs")).expect("copied");
    assert_eq!(sources, read("src/main.rs"), "what is built at last is the program");
}

#[test]
fn the_image_is_pinned_and_runs_without_root() {
    for base in all("FROM") {
        let image = base.split_whitespace().next().unwrap();
        assert!(image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"), "{image} is not pinned");
    }
    assert!(all("FROM").last().unwrap().ends_with(":nonroot"));
    assert_eq!(all("USER").last().unwrap(), "nonroot:nonroot");
    assert_eq!(all("ENTRYPOINT"), ["[\"/bulkrelease\"]"]);
    assert!(all("HEALTHCHECK")[0].ends_with("CMD [\"/bulkrelease\", \"healthcheck\"]"));
}
