//! The files that people deploy with hold together: Dockerfile, docker-compose.yml and what they name.

use std::path::Path;

use bulkrelease::config;
use serde_norway::{Mapping, Value};

const COMMANDS: [&str; 8] = ["worker", "enqueue", "dead", "sandbox", "demo", "doctor", "config", "healthcheck"];

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .expect("the file is part of the repository")
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The Compose file's top, with its merge keys resolved.
fn compose() -> Value {
    let mut compose: Value = serde_norway::from_str(&read("docker-compose.yml")).expect("it is YAML");
    // Once for each level: what is merged holds a merge key of its own.
    for _ in 0..2 {
        compose.apply_merge().expect("its merge keys name mappings");
    }
    compose
}

fn services(compose: &Value) -> Vec<(&str, &Mapping)> {
    let services = compose["services"].as_mapping().expect("it has services");
    services
        .iter()
        .map(|(name, service)| (name.as_str().expect("a name"), service.as_mapping().expect("a mapping")))
        .collect()
}

fn texts(list: Option<&Value>) -> Vec<&str> {
    let list = list.and_then(Value::as_sequence).map(Vec::as_slice).unwrap_or_default();
    list.iter().map(|item| item.as_str().expect("an item is text")).collect()
}

/// A value as Compose sees it where no variable is set: `${NAME:-default}` is its default.
fn with_defaults(text: &str) -> String {
    let mut parts = text.split("${");
    let mut result = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (variable, rest) = part.split_once('}').expect("a variable ends");
        let (_, default) = variable.split_once(":-").expect("a variable has a default");
        result.push_str(default);
        result.push_str(rest);
    }
    result
}

fn environment(service: &Mapping) -> Vec<(String, String)> {
    let variables = service.get("environment").and_then(Value::as_mapping).into_iter().flatten();
    let text = |value: &Value| value.as_str().expect("names and values are text").to_owned();
    variables.map(|(name, value)| (text(name), with_defaults(&text(value)))).collect()
}

#[test]
fn every_image_is_pinned() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let image = service["image"].as_str().unwrap();
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} has no tag"));
        let version = tag.trim_start_matches('v').split('-').next().unwrap();
        let numbers = version.split('.').map(str::parse::<u32>).filter(Result::is_ok).count();
        assert_eq!(numbers, 3, "{name}: {image} names no patch version");
    }
    let own = format!("bulkrelease:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(compose["services"]["worker"]["image"].as_str(), Some(own.as_str()));
}

#[test]
fn every_service_says_when_it_is_well_and_how_much_it_may_take() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let check = texts(service["healthcheck"].get("test"));
        assert!(check.len() > 1 && check[0] == "CMD", "{name} has no health check");
        let limits = &service["deploy"]["resources"]["limits"];
        for limit in ["cpus", "memory", "pids"] {
            assert!(limits.get(limit).is_some(), "{name} has no limit of {limit}");
        }
        assert_eq!(service["restart"].as_str(), Some("unless-stopped"), "{name}");
    }
}

#[test]
fn no_service_has_rights_that_it_does_not_need() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(texts(service.get("cap_drop")), ["ALL"], "{name}");
        assert_eq!(texts(service.get("security_opt")), ["no-new-privileges:true"], "{name}");
        assert!(service.get("privileged").is_none() && service.get("cap_add").is_none(), "{name}");
    }
}

#[test]
fn nothing_is_published_beyond_the_loopback() {
    let compose = compose();
    let mut published = 0;
    for (name, service) in services(&compose) {
        assert!(service.get("network_mode").is_none(), "{name}");
        for port in texts(service.get("ports")) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port}");
            published += 1;
        }
    }
    assert!(published > 0);
}

#[test]
fn what_a_service_names_is_there() {
    let compose = compose();
    let volumes = compose["volumes"].as_mapping().unwrap();
    for (name, service) in services(&compose) {
        for volume in texts(service.get("volumes")) {
            let source = volume.split(':').next().unwrap();
            let found = if source.starts_with("./") { exists(source) } else { volumes.contains_key(source) };
            assert!(found, "{name} mounts {source}, which is not there");
        }
        let needed = service.get("depends_on").and_then(Value::as_mapping).into_iter().flatten();
        for (other, _) in needed {
            assert!(compose["services"].get(other).is_some(), "{name} needs {other:?}");
        }
    }
}

#[test]
fn the_services_own_settings_are_known_and_make_sense() {
    let compose = compose();
    let mut own = 0;
    for (name, service) in services(&compose) {
        let environment = environment(service);
        let settings = environment.iter().filter(|(variable, _)| variable.starts_with("BULKRELEASE__")).count();
        own += settings;
        config::load(None, environment.into_iter(), &[]).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert!(own > 0);
}

#[test]
fn a_worker_in_a_container_can_be_asked_how_it_is_and_has_time_to_end() {
    let compose = compose();
    let worker = compose["services"]["worker"].as_mapping().unwrap();
    let settings = config::load(None, environment(worker).into_iter(), &[]).unwrap().settings;
    let published = texts(worker.get("ports"));
    assert!(settings.ops.listen.ip().is_unspecified(), "others can't reach {}", settings.ops.listen);
    assert!(published.iter().any(|port| port.ends_with(&format!(":{}", settings.ops.listen.port()))), "{published:?}");
    let grace = config::parse_duration(worker["stop_grace_period"].as_str().unwrap()).unwrap();
    assert!(grace > settings.worker.drain_deadline, "{grace:?}");
}

#[test]
fn the_commands_of_our_own_image_are_commands_of_the_program() {
    let compose = compose();
    let own = services(&compose).into_iter().filter(|(_, service)| service.get("build").is_some());
    for (name, service) in own {
        let command = texts(service.get("command"));
        assert!(command.first().is_some_and(|first| COMMANDS.contains(first)), "{name} runs {command:?}");
        let check = texts(service["healthcheck"].get("test"));
        assert_eq!(check[1..3], ["/bulkrelease", "healthcheck"], "{name}");
    }
}

#[test]
fn prometheus_asks_services_that_exist_at_the_ports_they_listen_on() {
    let prometheus: Value = serde_norway::from_str(&read("config/prometheus/prometheus.yml")).unwrap();
    let compose = compose();
    let jobs = prometheus["scrape_configs"].as_sequence().unwrap();
    let by_name = jobs.iter().flat_map(|job| job["dns_sd_configs"].as_sequence()).flatten();
    for target in by_name {
        for name in texts(target.get("names")) {
            let worker = compose["services"][name].as_mapping().unwrap();
            let settings = config::load(None, environment(worker).into_iter(), &[]).unwrap().settings;
            assert_eq!(target["port"].as_u64(), Some(settings.ops.listen.port().into()));
        }
    }
    let targets = jobs.iter().flat_map(|job| job["static_configs"].as_sequence()).flatten();
    let targets: Vec<&str> = targets.flat_map(|target| texts(target.get("targets"))).collect();
    assert!(targets.contains(&"rabbitmq:15692"), "{targets:?}");
    assert!(read("config/rabbitmq/enabled_plugins").contains("rabbitmq_prometheus"));
}

#[test]
fn the_image_is_built_from_what_is_there_and_runs_without_root() {
    let dockerfile = read("Dockerfile");
    let ignored = read(".dockerignore");
    let instructions = |name: &str| {
        let name = format!("{name} ");
        dockerfile.lines().filter_map(move |line| line.strip_prefix(&name).map(str::to_owned)).collect::<Vec<_>>()
    };
    for copy in instructions("COPY").iter().filter(|copy| !copy.starts_with("--from=")) {
        let words: Vec<&str> = copy.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(exists(source), "the Dockerfile copies {source}, which is not there");
            assert!(ignored.lines().any(|line| line == format!("!{source}")), ".dockerignore hides {source}");
        }
    }
    for base in instructions("FROM") {
        let image = base.split_whitespace().next().unwrap();
        assert!(image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"), "{image} is not pinned");
    }
    assert!(instructions("FROM").last().unwrap().ends_with(":nonroot"));
    assert_eq!(instructions("USER").last().unwrap(), "nonroot:nonroot");
    assert_eq!(instructions("ENTRYPOINT"), ["[\"/bulkrelease\"]"]);
    assert!(dockerfile.contains("CMD [\"/bulkrelease\", \"healthcheck\"]"));
}

#[test]
fn the_scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in ["tests/run", ".ci/run"] {
        let mode = std::fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
        let parsed = std::process::Command::new("bash").args(["-n", script]).status().unwrap();
        assert!(parsed.success(), "{script}");
    }
}
