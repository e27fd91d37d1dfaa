//! RAM policies, as far as they can matter to an operation that is authorised as a whole: `Effect`, `Action`, `Resource`.
//!
//! An explicit Deny beats any Allow, and what nothing allows is denied. Action names are compared without regard to case
//! (judged). A policy with `Condition`, `NotAction` or anything else that isn't understood is refused when it is read,
//! rather than taken for what it is not.

use serde::Deserialize;
use serde::de::{self, Deserializer};

/// One policy document.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Policy {
    statements: Vec<Statement>,
}

/// What policies say of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Allowed,
    /// Nothing allows it.
    ImplicitDeny,
    ExplicitDeny,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    _version: Version,
    statement: Vec<Statement>,
}

/// `"1"`; samples write it as a number, too.
struct Version;

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: Effect,
    #[serde(deserialize_with = "one_or_more")]
    action: Vec<String>,
    #[serde(deserialize_with = "one_or_more")]
    resource: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
enum Effect {
    Allow,
    Deny,
}

impl Policy {
    /// Reads a policy's JSON.
    pub fn parse(json: &str) -> Result<Self, String> {
        let document: Document = serde_json::from_str(json).map_err(|error| format!("is no RAM policy: {error}"))?;
        Ok(Self { statements: document.statement })
    }
}

impl TryFrom<String> for Policy {
    type Error = String;

    fn try_from(json: String) -> Result<Self, String> {
        Self::parse(&json)
    }
}

/// What these policies together say of an action that goes by any of these names.
pub(super) fn permission(policies: &[Policy], names: &[&str]) -> Permission {
    let mut permission = Permission::ImplicitDeny;
    let statements = policies.iter().flat_map(|policy| &policy.statements);
    for statement in statements.filter(|statement| statement.covers(names)) {
        match statement.effect {
            Effect::Deny => return Permission::ExplicitDeny,
            Effect::Allow => permission = Permission::Allowed,
        }
    }
    permission
}

impl Statement {
    /// Authorisation is by operation only, so a statement on particular resources doesn't reach it.
    fn covers(&self, names: &[&str]) -> bool {
        let action = self.action.iter().any(|pattern| {
            let pattern = pattern.to_ascii_lowercase();
            names.iter().any(|name| matches(pattern.as_bytes(), name.to_ascii_lowercase().as_bytes()))
        });
        action && self.resource.iter().any(|resource| resource == "*")
    }
}

/// `*` stands for any text, `?` for one character.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at + 1, seen));
                at += 1;
            }
            Some(&expected) if expected == b'?' || expected == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => {
                // Back to the last star, which takes one character more.
                let Some((after, taken)) = star else { return false };
                star = Some((after, taken + 1));
                at = after;
                seen = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == b'*')
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    match OneOrMore::deserialize(deserializer) {
        Ok(OneOrMore::One(one)) => Ok(vec![one]),
        Ok(OneOrMore::More(more)) => Ok(more),
        Err(_) => Err(de::Error::custom("Action and Resource are a text or a list of texts")),
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) if text == "1" => Ok(Self),
            serde_json::Value::Number(number) if number.as_u64() == Some(1) => Ok(Self),
            other => Err(de::Error::custom(format!("Version is {other}: the only version is 1"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["bss:ReleaseInstance", "bssapi:ReleaseInstance"];

    fn statement(effect: &str, action: &str, resource: &str) -> String {
        format!(r#"{{"Effect":"{effect}","Action":{action},"Resource":{resource}}}"#)
    }

    fn judged(statements: &[String]) -> Permission {
        let json = format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","));
        permission(&[Policy::parse(&json).unwrap()], &NAMES)
    }

    #[test]
    fn an_action_is_allowed_by_name_alias_list_or_wildcard_on_every_resource() {
        let allowed = [
            r#""bss:ReleaseInstance""#,
            r#"["bss:ReleaseInstance"]"#,
            r#"["ecs:*","bss:ReleaseInstance"]"#,
            r#""bssapi:ReleaseInstance""#,
            r#""bss:*""#,
            r#""*""#,
            r#""bss:Release*""#,
            r#""b?s:ReleaseInstance""#,
            r#""*:*Instance""#,
            r#""BSS:releaseinstance""#,
        ];
        for action in allowed {
            assert_eq!(judged(&[statement("Allow", action, r#""*""#)]), Permission::Allowed, "{action}");
            assert_eq!(judged(&[statement("Allow", action, r#"["*"]"#)]), Permission::Allowed, "{action}");
            assert_eq!(judged(&[statement("Deny", action, r#""*""#)]), Permission::ExplicitDeny, "{action}");
            let elsewhere = statement("Allow", action, r#""acs:ecs:*:*:instance/i-1""#);
            assert_eq!(judged(&[elsewhere]), Permission::ImplicitDeny, "{action}");
        }
        for action in
            [r#""bss:""#, r#""ecs:*""#, r#""bss:ReleaseInstance?""#, r#""bss:Release""#, r#""?""#, r#""""#, "[]"]
        {
            assert_eq!(judged(&[statement("Allow", action, r#""*""#)]), Permission::ImplicitDeny, "{action}");
        }
    }

    #[test]
    fn a_deny_beats_every_allow_wherever_it_stands() {
        let allow = statement("Allow", r#""*""#, r#""*""#);
        let deny = statement("Deny", r#""bssapi:Release*""#, r#""*""#);
        assert_eq!(judged(&[allow.clone(), deny.clone()]), Permission::ExplicitDeny);
        assert_eq!(judged(&[deny.clone(), allow.clone()]), Permission::ExplicitDeny);
        let document =
            |statement: &str| Policy::parse(&format!(r#"{{"Version":"1","Statement":[{statement}]}}"#)).unwrap();
        assert_eq!(permission(&[document(&allow), document(&deny)], &NAMES), Permission::ExplicitDeny);
        assert_eq!(permission(&[], &NAMES), Permission::ImplicitDeny);
        assert_eq!(judged(&[]), Permission::ImplicitDeny);
    }

    #[test]
    fn a_version_is_the_text_or_the_number_one() {
        for (version, good) in
            [(r#""1""#, true), ("1", true), ("2", false), (r#""2012-10-17""#, false), ("null", false)]
        {
            let json = format!(r#"{{"Version":{version},"Statement":[]}}"#);
            assert_eq!(Policy::parse(&json).is_ok(), good, "{version}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let good = r#""Effect":"Allow","Action":"*","Resource":"*""#;
        let cases = [
            (format!(r#"{{"Version":"1","Statement":[{{{good},"Condition":{{}}}}]}}"#), "Condition"),
            (
                r#"{"Version":"1","Statement":[{"Effect":"Allow","NotAction":"*","Resource":"*"}]}"#.to_owned(),
                "NotAction",
            ),
            (r#"{"Version":"1","Statement":[{"Effect":"allow","Action":"*","Resource":"*"}]}"#.to_owned(), "allow"),
            (r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":1,"Resource":"*"}]}"#.to_owned(), "Action"),
            (r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"*"}]}"#.to_owned(), "Resource"),
            (r#"{"Statement":[]}"#.to_owned(), "Version"),
            (r#"{"Version":"1"}"#.to_owned(), "Statement"),
            ("*".to_owned(), "no RAM policy"),
        ];
        for (json, named) in cases {
            let problem = Policy::parse(&json).unwrap_err();
            assert!(problem.contains(named), "{json}: {problem}");
        }
    }
}
