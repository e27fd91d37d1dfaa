//! The files that people deploy with hold together: Dockerfile, docker-compose.yml and what they name; Kubernetes manifests
//! and the systemd unit.

mod dockerfile;
mod kubernetes;
mod systemd;

use std::path::Path;

use bulkrelease::cli::Cli;
use bulkrelease::config;
use clap::Parser;
use serde_norway::{Mapping, Value};

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
        let user = service.get("user").and_then(Value::as_str).and_then(|user| user.split(':').next());
        assert!(user.is_some_and(|user| user.parse::<u32>().is_ok_and(|id| id > 0)), "{name} runs as {user:?}");
        let read_only = service.get("read_only").and_then(Value::as_bool) == Some(true);
        assert!(read_only || name == "rabbitmq", "{name} may write to its image");
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
    // Its password stands in the repository.
    assert!(compose["services"]["rabbitmq"].get("ports").is_none());
}

#[test]
fn whoever_reaches_grafana_may_look_and_nobody_may_log_in() {
    let compose = compose();
    let environment = environment(compose["services"]["grafana"].as_mapping().unwrap());
    for (variable, wanted) in [
        ("GF_AUTH_ANONYMOUS_ENABLED", "true"),
        ("GF_AUTH_ANONYMOUS_ORG_ROLE", "Viewer"),
        ("GF_AUTH_BASIC_ENABLED", "false"),
        ("GF_AUTH_DISABLE_LOGIN_FORM", "true"),
        ("GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION", "true"),
    ] {
        assert!(environment.contains(&(variable.to_owned(), wanted.to_owned())), "{variable}");
    }
}

#[test]
fn grafana_finds_its_source_and_its_dashboards() {
    let compose = compose();
    let grafana = compose["services"]["grafana"].as_mapping().unwrap();
    let mounted = |target: &str| {
        let volumes = texts(grafana.get("volumes"));
        let mounts = volumes.iter().map(|volume| volume.split(':').collect::<Vec<_>>());
        mounts.filter(|parts| target.starts_with(parts[1])).map(|parts| target.replacen(parts[1], parts[0], 1)).next()
    };
    let sources = "config/grafana/provisioning/datasources/prometheus.yml";
    let sources: Value = serde_norway::from_str(&read(sources)).unwrap();
    let source = &sources["datasources"][0];
    assert_eq!(source["url"].as_str(), Some("http://prometheus:9090"));
    assert!(compose["services"].get("prometheus").is_some());
    let prometheus: Value = serde_norway::from_str(&read("config/prometheus/prometheus.yml")).unwrap();
    assert_eq!(source["jsonData"]["timeInterval"], prometheus["global"]["scrape_interval"]);
    let providers = "config/grafana/provisioning/dashboards/bulkrelease.yml";
    let providers: Value = serde_norway::from_str(&read(providers)).unwrap();
    let folder = mounted(providers["providers"][0]["options"]["path"].as_str().unwrap()).expect("a mounted folder");
    assert!(exists(&folder), "{folder}");
    let (_, home) = environment(grafana).into_iter().find(|(name, _)| name.ends_with("HOME_DASHBOARD_PATH")).unwrap();
    assert!(exists(&mounted(&home).expect("a mounted file")), "{home}");
    assert_eq!(mounted("/etc/grafana/provisioning").as_deref(), Some("./config/grafana/provisioning"));
}

#[test]
fn rabbitmq_loads_definitions_whose_user_is_the_services_own() {
    use base64::Engine;
    use sha2::Digest;
    let compose = compose();
    let configuration = read("config/rabbitmq/rabbitmq.conf");
    let path = configuration.lines().find_map(|line| line.strip_prefix("load_definitions = ")).unwrap();
    let volumes = texts(compose["services"]["rabbitmq"].get("volumes"));
    let mount = format!("./config/rabbitmq/definitions.json:{path}:ro");
    assert!(volumes.contains(&mount.as_str()), "{volumes:?}");
    let definitions: serde_json::Value = serde_json::from_str(&read("config/rabbitmq/definitions.json")).unwrap();
    let user = &definitions["users"][0];
    let salted = base64::prelude::BASE64_STANDARD.decode(user["password_hash"].as_str().unwrap()).unwrap();
    let (salt, hash) = salted.split_at(4);
    let environment = environment(compose["services"]["producer"].as_mapping().unwrap());
    let value = |name: &str| &environment.iter().find(|(variable, _)| variable == name).unwrap().1;
    assert_eq!(user["name"].as_str(), Some(value("RABBITMQ_USER").as_str()));
    assert_eq!(sha2::Sha256::digest([salt, value("RABBITMQ_PASSWORD").as_bytes()].concat()).as_slice(), hash);
    // It publishes through the management plugin.
    assert_eq!(value("RABBITMQ_API"), "http://rabbitmq:15672/api");
    assert!(read("config/rabbitmq/enabled_plugins").contains("rabbitmq_management"));
}

#[test]
fn the_sandbox_of_compose_can_be_started_and_there_are_two_workers() {
    let compose = compose();
    bulkrelease::sandbox::SandboxSettings::parse(
        Path::new("config/compose/sandbox.toml"),
        &read("config/compose/sandbox.toml"),
    )
    .unwrap();
    let worker = &compose["services"]["worker"];
    let replicas = worker["deploy"]["replicas"].as_u64().unwrap();
    assert_eq!(replicas, 2);
    // A port of the host for each.
    let ports = texts(worker.get("ports"));
    let range = ports[0].split(':').nth(1).and_then(|range| range.split_once('-')).unwrap();
    assert_eq!(range.1.parse::<u64>().unwrap() - range.0.parse::<u64>().unwrap() + 1, replicas);
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
        let line = ["bulkrelease"].into_iter().chain(command);
        Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{name}: {error}"));
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
    let mounted = texts(compose["services"]["prometheus"].get("volumes"));
    assert!(mounted.contains(&"./config/prometheus:/etc/prometheus:ro"), "{mounted:?}");
    for pattern in texts(prometheus.get("rule_files")) {
        assert_eq!(pattern, "rules/*.yml");
        assert!(exists("config/prometheus/rules/alerts.yml") && exists("config/prometheus/rules/recording.yml"));
    }
}

#[test]
fn the_scripts_can_be_run() {
    use std::os::unix::fs::PermissionsExt;
    for script in ["tests/run", ".ci/run", "config/compose/producer.sh"] {
        let mode = std::fs::metadata(Path::new(env!("CARGO_MANIFEST_DIR")).join(script)).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{script}");
        let parsed = std::process::Command::new("bash").args(["-n", script]).status().unwrap();
        assert!(parsed.success(), "{script}");
    }
}
