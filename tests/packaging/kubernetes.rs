//! The Kubernetes example holds together: what it names is there, and ports, paths and times agree with the settings.

use bulkrelease::config;
use serde_norway::Value;

use super::{exists, read, texts};

fn manifest(name: &str) -> Value {
    serde_norway::from_str(&read(&format!("deploy/kubernetes/{name}"))).expect("it is YAML")
}

fn pod() -> Value {
    manifest("deployment.yaml")["spec"]["template"]["spec"].clone()
}

fn container() -> Value {
    let pod = pod();
    let containers = pod["containers"].as_sequence().expect("containers");
    assert_eq!(containers.len(), 1);
    containers[0].clone()
}

/// The worker's settings as it reads them there; the Secret's values are made up.
fn settings() -> config::Settings {
    let text = read("deploy/kubernetes/bulkrelease.toml");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    let mut environment = Vec::new();
    for variable in container()["env"].as_sequence().expect("variables") {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let value = match variable["valueFrom"]["secretKeyRef"]["key"].as_str() {
            Some("broker-url") => "amqps://user:password@rabbitmq.example.com:5671/%2f",
            _ => "a-value",
        };
        environment.push((name, value.to_owned()));
    }
    let environment = environment.into_iter().filter(|(name, _)| name.starts_with("BULKRELEASE__"));
    config::load(Some(file.path()), environment, &[]).unwrap_or_else(|error| panic!("{error}")).settings
}

#[test]
fn every_manifest_is_listed_and_bears_the_same_name() {
    let kustomization = manifest("kustomization.yaml");
    let listed = texts(kustomization.get("resources"));
    for name in &listed {
        let manifest = manifest(name);
        assert_eq!(manifest["metadata"]["name"].as_str(), Some("bulkrelease"), "{name}");
        assert!(manifest["apiVersion"].is_string() && manifest["kind"].is_string(), "{name}");
    }
    let folder = std::fs::read_dir(format!("{}/deploy/kubernetes", env!("CARGO_MANIFEST_DIR"))).expect("the folder");
    for entry in folder {
        let name = entry.expect("an entry").file_name().into_string().expect("ASCII");
        let own = ["kustomization.yaml", "bulkrelease.toml"].contains(&name.as_str());
        assert!(own || listed.contains(&name.as_str()), "{name} is applied by nobody");
    }
    let generated = &kustomization["configMapGenerator"][0];
    assert_eq!(generated["name"], pod()["volumes"][0]["configMap"]["name"]);
    for file in texts(generated.get("files")) {
        assert!(exists(&format!("deploy/kubernetes/{file}")), "{file}");
    }
}

#[test]
fn who_selects_the_workers_selects_them() {
    let deployment = manifest("deployment.yaml");
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&manifest("poddisruptionbudget.yaml")["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&pod()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"], labels);
    assert_eq!(manifest("scaledobject.yaml")["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    assert!(deployment["spec"].get("replicas").is_none(), "two would decide how many");
}

#[test]
fn ports_paths_and_times_agree_with_the_settings() {
    let (settings, container, pod) = (settings(), container(), pod());
    assert!(settings.ops.listen.ip().is_unspecified(), "probes can't reach {}", settings.ops.listen);
    let port = u64::from(settings.ops.listen.port());
    assert_eq!(container["ports"][0]["containerPort"].as_u64(), Some(port));
    let annotations = &manifest("deployment.yaml")["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["prometheus.io/port"].as_str(), Some(port.to_string().as_str()));
    for (probe, path) in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")] {
        assert_eq!(container[probe]["httpGet"]["path"].as_str(), Some(path));
        assert_eq!(container[probe]["httpGet"]["port"], container["ports"][0]["name"]);
    }
    // A worker whose broker answers slowly is not killed for it.
    let starting = &container["startupProbe"];
    let within = starting["periodSeconds"].as_u64().zip(starting["failureThreshold"].as_u64());
    assert!(within.is_some_and(|(period, failures)| period * failures >= 120), "{starting:?}");
    let grace = pod["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert!(grace > settings.worker.drain_deadline.as_secs(), "{grace} s");
    let mount = container["volumeMounts"][0]["mountPath"].as_str().expect("a path");
    // The root file system is read-only, and a replay writes its plan to where it is called.
    let plans = container["workingDir"].as_str();
    assert_eq!(container["volumeMounts"][1]["mountPath"].as_str(), plans);
    assert_eq!(container["volumeMounts"][1]["name"], pod["volumes"][1]["name"]);
    assert!(pod["volumes"][1]["emptyDir"].is_mapping());
    let named = container["env"].as_sequence().expect("variables").iter().find(|v| v["name"] == "BULKRELEASE_CONFIG");
    assert_eq!(named.expect("it")["value"].as_str(), Some(format!("{mount}/bulkrelease.toml").as_str()));
}

#[test]
fn a_worker_has_no_rights_that_it_does_not_need_and_no_secret_stands_in_a_manifest() {
    let (pod, container) = (pod(), container());
    assert_eq!(pod["automountServiceAccountToken"].as_bool(), Some(false));
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"].as_str(), Some("RuntimeDefault"));
    let context = &container["securityContext"];
    assert_eq!(context["allowPrivilegeEscalation"].as_bool(), Some(false));
    assert_eq!(context["readOnlyRootFilesystem"].as_bool(), Some(true));
    assert_eq!(texts(context["capabilities"].get("drop")), ["ALL"]);
    assert!(container["resources"]["limits"]["memory"].is_string());
    let own = format!("bulkrelease:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(container["image"].as_str(), Some(own.as_str()));
    for variable in container["env"].as_sequence().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        let secret = name.contains("KEY") || name.contains("URL");
        assert_eq!(variable["valueFrom"]["secretKeyRef"]["name"].as_str(), secret.then_some("bulkrelease"), "{name}");
    }
}

#[test]
fn the_fleet_grows_by_what_the_workers_say_is_useful() {
    let spec = manifest("scaledobject.yaml")["spec"].clone();
    let metadata = &spec["triggers"][0]["metadata"];
    assert_eq!(metadata["query"].as_str(), Some("max(bulkrelease_useful_workers)"));
    assert_eq!(metadata["threshold"].as_str(), Some("1"));
    assert!(spec["minReplicaCount"].as_u64() >= Some(1), "nobody would say how many are useful");
    assert!(spec["fallback"]["replicas"].as_u64() >= spec["minReplicaCount"].as_u64());
}
