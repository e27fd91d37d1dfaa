//! One rule on instances: which ids, and what they are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::super::call::{Call, SUBSCRIPTION_TYPES};
use super::super::one_line;
use super::super::settings::InvalidSettings;
use super::IdPattern;

/// What instances there are, in one line `i-gone-* state=gone`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceRule {
    pub ids: IdPattern,
    #[serde(default)]
    pub state: InstanceState,
    /// The account that it belongs to. A name that is no account here is a stranger's. Without one it is whoever asks.
    #[serde(default)]
    pub owner: Option<String>,
    /// Its ProductCode; without one it is whatever the caller says, and so for the next two.
    #[serde(default)]
    pub product: Option<String>,
    #[serde(default)]
    pub subscription_type: Option<String>,
    #[serde(default)]
    pub region: Option<String>,
}

/// Whether an instance can be released.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    #[default]
    Running,
    /// It exists, and can't be released.
    Locked,
    /// It does not exist, or no more.
    Gone,
}

/// What an instance is, whatever says so. What is `None` is open: it is what the caller says.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Instance<'a> {
    pub state: InstanceState,
    pub owner: Option<&'a str>,
    pub product: Option<&'a str>,
    pub subscription_type: Option<&'a str>,
    pub region: Option<&'a str>,
}

impl InstanceRule {
    pub(super) fn instance(&self) -> Instance<'_> {
        Instance {
            state: self.state,
            owner: self.owner.as_deref(),
            product: self.product.as_deref(),
            subscription_type: self.subscription_type.as_deref(),
            region: self.region.as_deref(),
        }
    }

    pub(in super::super) fn check(&self, setting: &str) -> Result<(), InvalidSettings> {
        match &self.subscription_type {
            Some(kind) if !SUBSCRIPTION_TYPES.contains(&kind.as_str()) => Err(InvalidSettings::new(
                format!("{setting}.subscription_type"),
                format!("is {kind:?}: write one of {}", SUBSCRIPTION_TYPES.join(", ")),
            )),
            _ => Ok(()),
        }
    }
}

impl Instance<'_> {
    /// An instance that is whatever the caller says.
    pub(super) const OPEN: Self =
        Self { state: InstanceState::Running, owner: None, product: None, subscription_type: None, region: None };

    /// Whether the product, subscription type and region that a call names are its own. What either leaves open fits.
    pub(in super::super) fn fits(&self, call: &Call) -> bool {
        let fits = |own: Option<&str>, named: &Option<String>| match (own, named) {
            (Some(own), Some(named)) => own == named,
            _ => true,
        };
        fits(self.product, &call.product_code)
            && fits(self.subscription_type, &call.subscription_type)
            && fits(self.region, &call.region)
    }
}

impl FromStr for InstanceRule {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        one_line::parse("ids", &[], line)
    }
}

impl FromStr for InstanceState {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" | "running" => Ok(Self::Running),
            "locked" => Ok(Self::Locked),
            "gone" => Ok(Self::Gone),
            other => Err(format!("{other:?} is no state: write running, locked or gone")),
        }
    }
}

impl fmt::Display for InstanceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::Locked => "locked",
            Self::Gone => "gone",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_in_one_line_says_the_same_as_its_table() {
        let table = "ids = 'i-{1..9}'\nstate = 'locked'\nowner = 'b'\nproduct = 'ecs'\nsubscription_type = 'Subscription'\n\
                     region = 'cn-hangzhou'";
        let line = "i-{1..9} state=locked owner=b product=ecs subscription_type=Subscription region=cn-hangzhou";
        assert_eq!(line.parse::<InstanceRule>().unwrap(), toml::from_str(table).unwrap());
        assert_eq!("i-1".parse::<InstanceRule>().unwrap().state, InstanceState::Running);
    }

    #[test]
    fn a_mistake_in_a_line_is_named() {
        let cases = [
            ("", "empty"),
            ("i-1 gone", "\"gone\" has no value"),
            ("i-1 state=sold", "state: unknown variant `sold`"),
            ("i-1 colour=red", "colour: unknown field `colour`"),
            ("i-1 state=gone state=gone", "state stands there twice"),
            ("i-*-1", "ids: \"i-*-1\" is no pattern"),
        ];
        for (line, expected) in cases {
            let problem = line.parse::<InstanceRule>().unwrap_err();
            assert!(problem.contains(expected), "{line}: {problem}");
        }
    }
}
