//! Instances listed one by one in a CSV file, as an export of a console or a database has them.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::Deserialize;

use super::super::call::SUBSCRIPTION_TYPES;
use super::super::settings::InvalidSettings;
use super::{Instance, InstanceState, is_id};

/// The instances of a file. What they are is kept once for all that are alike, so that a million of them take little.
#[derive(Debug, Default)]
pub(super) struct InstanceFile {
    kinds: Vec<Kind>,
    /// The place of its kind, by id.
    instances: BTreeMap<Box<str>, usize>,
}

/// What instances that are alike are.
#[derive(Debug)]
struct Kind {
    state: InstanceState,
    owner: Option<String>,
    product: Option<String>,
    subscription_type: Option<String>,
    region: Option<String>,
}

/// One line. What is empty is open.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Row {
    instance_id: String,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    product_code: Option<String>,
    #[serde(default)]
    subscription_type: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    state: String,
}

impl InstanceFile {
    pub(super) fn read(file: &Path) -> Result<Self, InvalidSettings> {
        let setting = |problem: String| InvalidSettings::new("instances_file", problem);
        let text = std::fs::read_to_string(file)
            .map_err(|error| setting(format!("names {}, which can't be read: {error}", file.display())))?;
        Self::parse(&text).map_err(|problem| setting(format!("{}: {problem}", file.display())))
    }

    fn parse(text: &str) -> Result<Self, String> {
        // A quote that is never closed would swallow every line after it.
        if !text.matches('"').count().is_multiple_of(2) {
            return Err("a quote is not closed: every field that begins with one must end with one".to_owned());
        }
        let mut lines = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = lines.headers().map_err(|error| error.to_string())?;
        if !header.iter().any(|column| column == "InstanceId") {
            return Err("has no column InstanceId: begin with the header InstanceId,Owner,ProductCode,SubscriptionType,Region,State".to_owned());
        }
        let mut found = Self::default();
        let mut places = HashMap::new();
        for row in lines.deserialize::<Row>() {
            let mut row = row.map_err(|error| error.to_string())?;
            let id = std::mem::take(&mut row.instance_id);
            let wrong = |problem: &str| Err(format!("instance {id:?}: {problem}"));
            if !is_id(&id) {
                return wrong("is no id");
            }
            let place = match places.get(&row) {
                Some(place) => *place,
                None => {
                    let place = found.kinds.len();
                    match kind(&row) {
                        Ok(kind) => found.kinds.push(kind),
                        Err(problem) => return wrong(&problem),
                    }
                    places.insert(row, place);
                    place
                }
            };
            if found.instances.insert(id.as_str().into(), place).is_some() {
                return wrong("stands there twice");
            }
        }
        Ok(found)
    }

    pub(super) fn find(&self, id: &str) -> Option<Instance<'_>> {
        self.instances.get(id).map(|place| self.kinds[*place].instance())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.instances.keys().map(AsRef::as_ref)
    }

    pub(super) fn len(&self) -> usize {
        self.instances.len()
    }
}

impl Kind {
    fn instance(&self) -> Instance<'_> {
        Instance {
            state: self.state,
            owner: self.owner.as_deref(),
            product: self.product.as_deref(),
            subscription_type: self.subscription_type.as_deref(),
            region: self.region.as_deref(),
        }
    }
}

fn kind(row: &Row) -> Result<Kind, String> {
    let Row { owner, product_code, subscription_type, region, .. } = row.clone();
    let state: InstanceState = row.state.parse()?;
    match subscription_type.as_deref() {
        Some(kind) if !SUBSCRIPTION_TYPES.contains(&kind) => {
            Err(format!("SubscriptionType is {kind:?}: write one of {}", SUBSCRIPTION_TYPES.join(", ")))
        }
        _ => Ok(Kind { state, owner, product: product_code, subscription_type, region }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "InstanceId,Owner,ProductCode,SubscriptionType,Region,State\n";

    #[test]
    fn a_files_instances_are_what_its_columns_say_and_open_where_they_are_empty() {
        let text = format!("{HEADER}i-1,default,ecs,PayAsYouGo,cn-hangzhou,locked\ni-2,,,,,\ni-3,,,,,\n");
        let file = InstanceFile::parse(&text).unwrap();
        let one = file.find("i-1").unwrap();
        assert_eq!((one.owner, one.product, one.state), (Some("default"), Some("ecs"), InstanceState::Locked));
        let two = file.find("i-2").unwrap();
        assert_eq!((two.owner, two.product, two.state), (None, None, InstanceState::Running));
        assert!(file.find("i-4").is_none());
        assert_eq!((file.len(), file.kinds.len()), (3, 2));
        assert!(InstanceFile::parse("InstanceId,State\ni-1,gone\n").is_ok());
    }

    #[test]
    fn a_mistake_in_a_file_is_named_with_its_line_or_instance() {
        let cases = [
            (format!("{HEADER}i-1,,,,,sold\n"), "instance \"i-1\": \"sold\" is no state"),
            (format!("{HEADER}i-1,,,Monthly,,\n"), "SubscriptionType is \"Monthly\""),
            (format!("{HEADER}i-1,,,,,\ni-1,,,,,\n"), "stands there twice"),
            (format!("{HEADER},,,,,\n"), "is no id"),
            (format!("{HEADER}i-1,,\n"), "line: 2"),
            (format!("{HEADER}i 1,,,,,\n"), "is no id"),
            (format!("{HEADER}i-1,\"default,,,,\ni-2,,,,,\n"), "a quote is not closed"),
            ("Id,State\ni-1,gone\n".to_owned(), "has no column InstanceId"),
            ("InstanceId,Colour\ni-1,red\n".to_owned(), "unknown field `Colour`"),
            (String::new(), "has no column InstanceId"),
        ];
        for (text, expected) in cases {
            let problem = InstanceFile::parse(&text).unwrap_err();
            assert!(problem.contains(expected), "{text}: {problem}");
        }
    }
}
