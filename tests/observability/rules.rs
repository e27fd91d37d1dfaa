//! The rules as Prometheus reads them, and what must hold of their files and of the runbook alone.

use std::collections::BTreeSet;
use std::process::Command;

use bulkrelease::cli::Cli;
use clap::Parser;
use serde_norway::Value;

use super::expression::shortened;
use super::file;

pub const FILES: [&str; 2] = ["config/prometheus/rules/recording.yml", "config/prometheus/rules/alerts.yml"];

/// Thresholds that a run of a minute can't reach, and what takes their place there.
const REACHABLE: [(&str, &str, &str); 4] = [
    ("BulkreleaseJobTooOld", "> 900", "> 2"),
    ("BulkreleaseReconnects", "> 3", "> 0"),
    ("BulkreleaseWorkerRestarts", "> 2", "> 0"),
    ("BulkreleaseDeadLettersGrow", "> 50", "> 0"),
];

/// A rule: the name of its alert or series, and the whole of it.
pub fn rules() -> Vec<(String, Value)> {
    let files = FILES.map(|name| serde_norway::from_str::<Value>(&file(name)).expect("rules are YAML"));
    let groups = files.iter().flat_map(|file| file["groups"].as_sequence().expect("groups"));
    let rules = groups.flat_map(|group| group["rules"].as_sequence().expect("rules").clone());
    rules.map(|rule| (name(&rule).to_owned(), rule)).collect()
}

fn name(rule: &Value) -> &str {
    rule["alert"].as_str().or(rule["record"].as_str()).expect("a rule has a name")
}

pub fn alerts() -> Vec<(String, Value)> {
    rules().into_iter().filter(|(_, rule)| rule.get("alert").is_some()).collect()
}

/// A file of rules for a run of a minute: the same ones, in a hurry.
pub fn hurried(text: &str) -> String {
    let mut file: Value = serde_norway::from_str(text).expect("rules are YAML");
    for group in file["groups"].as_sequence_mut().expect("groups") {
        for rule in group["rules"].as_sequence_mut().expect("rules") {
            let mut expression = shortened(rule["expr"].as_str().expect("an expression"));
            for (_, far, near) in REACHABLE.iter().filter(|(alert, ..)| *alert == name(rule)) {
                assert!(expression.contains(far), "{far} is no threshold of {}", name(rule));
                expression = expression.replace(far, near);
            }
            rule["expr"] = expression.into();
            rule.as_mapping_mut().expect("a rule").remove("for");
        }
    }
    serde_norway::to_string(&file).expect("YAML")
}

/// The anchors of the runbook's sections, as GitHub makes them.
pub fn runbook_sections() -> BTreeSet<String> {
    let heads = file("docs/runbook.md");
    let heads = heads.lines().filter_map(|line| line.strip_prefix("## "));
    heads
        .map(|head| {
            let kept = head
                .to_lowercase()
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || " -".contains(*c))
                .collect::<String>();
            kept.replace(' ', "-")
        })
        .collect()
}

fn promtool(arguments: &[&str]) {
    let mut command = Command::new("promtool");
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("promtool starts: apt-get install prometheus");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
}

#[test]
fn promtool_finds_no_fault_with_configuration_and_rules() {
    promtool(&["check", "config", "config/prometheus/prometheus.yml"]);
    promtool(&["check", "rules", "--lint=all", "--lint-fatal", FILES[0], FILES[1]]);
}

#[test]
fn alerts_fire_when_they_should_and_only_then() {
    promtool(&["test", "rules", "config/prometheus/tests/alerts.yml"]);
    let tested = file("config/prometheus/tests/alerts.yml");
    for (alert, _) in alerts() {
        let cases = tested.matches(&format!("alertname: {alert}\n")).count();
        assert!(cases >= 2, "{alert} is not seen both silent and firing");
    }
}

#[test]
fn every_alert_says_how_urgent_it_is_what_is_wrong_and_what_to_do() {
    let sections = runbook_sections();
    let runbook = file("docs/runbook.md");
    for (alert, rule) in alerts() {
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("critical" | "warning")), "{alert}");
        assert!(rule["annotations"]["summary"].as_str().is_some_and(|summary| summary.len() > 20), "{alert}");
        let url = rule["annotations"]["runbook_url"].as_str().expect("a runbook");
        let (_, section) = url.split_once("docs/runbook.md#").unwrap_or_else(|| panic!("{alert}: {url}"));
        assert!(sections.contains(section), "{alert}: the runbook has no section {section}");
        let listed =
            runbook.lines().any(|line| line.starts_with('|') && line.contains(&alert) && line.contains(section));
        assert!(listed, "{alert} does not stand in the runbook's list with #{section}");
    }
}

#[test]
fn every_section_of_the_runbook_says_what_it_means_what_to_look_at_and_what_to_do() {
    let runbook = file("docs/runbook.md");
    for section in runbook.split("\n## ").skip(2) {
        for part in ["**Means.**", "**Look at.**", "**Do.**"] {
            assert!(section.contains(part), "{}: {part}", section.lines().next().unwrap_or_default());
        }
    }
}

#[test]
fn the_commands_of_the_runbook_are_commands_of_the_program() {
    let runbook = file("docs/runbook.md");
    let quoted = runbook.split('`').skip(1).step_by(2).map(|quoted| quoted.split_whitespace().collect::<Vec<_>>());
    let quoted = quoted.filter(|words| words.first() == Some(&"bulkrelease"));
    // As they are called in a container, or by their path.
    let blocks = runbook.split("```").skip(1).step_by(2).flat_map(str::lines);
    let called = blocks.filter_map(|line| {
        let (_, words) = line.rsplit_once(" /bulkrelease ").or(line.rsplit_once("/bin/bulkrelease "))?;
        // Where its output goes is the shell's.
        words.split(" > ").next()
    });
    let commands =
        quoted.chain(called.map(|words| std::iter::once("bulkrelease").chain(words.split_whitespace()).collect()));
    let commands = commands.filter(|words| words.len() > 1);
    let mut count = 0;
    for words in commands {
        let words = words.iter().map(|word| if *word == "FINGERPRINT" { "1f0c3a9be2d1" } else { word });
        Cli::try_parse_from(words.clone()).unwrap_or_else(|error| panic!("{:?}: {error}", words.collect::<Vec<_>>()));
        count += 1;
    }
    assert!(count > 5, "{count}");
}
