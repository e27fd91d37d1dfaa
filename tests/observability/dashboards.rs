//! The dashboards as Grafana reads them, and what must hold of their files alone.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::file;
use super::rules::runbook_sections;

/// A question that a panel asks, and where it stands.
pub struct Query {
    pub place: String,
    pub expression: String,
}

pub fn dashboards() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/grafana/dashboards");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of dashboards")
        .map(|entry| {
            let name = entry.expect("an entry").file_name().into_string().expect("a name in ASCII");
            let text = file(&format!("config/grafana/dashboards/{name}"));
            (name, serde_json::from_str(&text).expect("a dashboard is JSON"))
        })
        .collect();
    found.sort_by(|(a, _), (b, _)| a.cmp(b));
    found
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Panels that show something: no headlines.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| text(panel, "type") != "row")
}

/// Every query of every panel and variable.
pub fn queries() -> Vec<Query> {
    let mut queries = Vec::new();
    for (name, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            for target in list(panel, "targets") {
                let place = format!("{name}: {}: {}", text(panel, "title"), text(target, "refId"));
                queries.push(Query { place, expression: text(target, "expr").to_owned() });
            }
        }
        for variable in list(&dashboard["templating"], "list").iter().filter(|v| text(v, "type") == "query") {
            let asked = text(variable, "query").strip_prefix("label_values(").and_then(|rest| rest.split_once(','));
            let (series, label) = asked.expect("a variable asks for a label's values");
            let expression = format!("count by ({}) ({series})", label.trim_matches([' ', ')']));
            queries.push(Query { place: format!("{name}: ${}", text(variable, "name")), expression });
        }
    }
    queries
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_asks_something() {
    for (name, dashboard) in dashboards() {
        assert!(!text(&dashboard, "uid").is_empty() && !text(&dashboard, "description").is_empty(), "{name}");
        for panel in panels(&dashboard) {
            let title = format!("{name}: {}", text(panel, "title"));
            assert!(text(panel, "description").len() > 10, "{title} has no description");
            assert!(!text(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title} has no unit");
            assert!(["timeseries", "stat", "table", "state-timeline"].contains(&text(panel, "type")), "{title}");
            assert_eq!(text(&panel["datasource"], "uid"), "${datasource}", "{title}");
            let targets = list(panel, "targets");
            assert!(!targets.is_empty(), "{title} asks nothing");
            let letters: BTreeSet<_> = targets.iter().map(|target| text(target, "refId")).collect();
            assert_eq!(letters.len(), targets.len(), "{title}: letters of its queries");
            let steps = list(&panel["fieldConfig"]["defaults"]["thresholds"], "steps");
            let values: Vec<_> = steps.iter().map(|step| step["value"].as_f64()).collect();
            assert!(values.is_sorted() && values.first().is_none_or(Option::is_none), "{title}: {values:?}");
        }
    }
}

#[test]
fn panels_lie_side_by_side_and_under_each_other_without_overlap() {
    for (name, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in list(&dashboard, "panels") {
            let title = format!("{name}: {}", text(panel, "title"));
            assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{title}: an id twice");
            let [x, y, w, h] = ["x", "y", "w", "h"].map(|field| panel["gridPos"][field].as_u64().expect("a number"));
            assert!(w > 0 && h > 0 && x + w <= 24, "{title}");
            for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
                assert!(taken.insert(cell), "{title} lies on another panel");
            }
        }
    }
}

#[test]
fn links_lead_to_dashboards_and_to_sections_of_the_runbook_that_are_there() {
    let dashboards = dashboards();
    let pages: Vec<_> = dashboards.iter().map(|(_, dashboard)| format!("/d/{}", text(dashboard, "uid"))).collect();
    let sections = runbook_sections();
    let mut linked = 0;
    for (name, dashboard) in &dashboards {
        for link in list(dashboard, "links").iter().chain(panels(dashboard).flat_map(|panel| list(panel, "links"))) {
            let url = text(link, "url");
            let section = url.split_once("docs/runbook.md").map(|(_, section)| section.trim_start_matches('#'));
            let found = match section {
                Some(section) => section.is_empty() || sections.contains(section),
                None => pages.iter().any(|page| page == url),
            };
            assert!(found, "{name}: {url} leads nowhere");
            linked += 1;
        }
    }
    assert!(linked > 20, "{linked}");
}

#[test]
fn panels_that_the_runbook_names_are_there() {
    let dashboards = dashboards();
    let panels = dashboards.iter().flat_map(|(_, dashboard)| panels(dashboard).map(|panel| text(panel, "title")));
    let pages = dashboards.iter().map(|(_, dashboard)| text(dashboard, "title"));
    let titles: BTreeSet<_> = panels.chain(pages).collect();
    // What a shell quotes is none.
    let runbook = file("docs/runbook.md").split("```").step_by(2).collect::<String>().replace('\n', " ");
    let named: Vec<_> = runbook.split('"').skip(1).step_by(2).collect();
    assert!(named.len() > 20, "{named:?}");
    for title in named {
        assert!(titles.contains(title), "there is no panel {title:?}");
    }
}
