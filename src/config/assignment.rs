//! One setting given by an environment variable or a `--set` flag: from text to a value of the setting's type.

use toml::{Table, Value};

use super::{ConfigError, Origin, Settings, keys};

/// What the names of environment variables start with.
const PREFIX: &str = "BULKRELEASE__";
/// Nearly the same, and so a mistake: whoever writes it believes that it does something.
const NEARLY: &str = "BULKRELEASE_";
/// The one variable of that kind that is none: it names the settings file.
const FILE: &str = "BULKRELEASE_CONFIG";

#[derive(Debug)]
pub(super) struct Assignment {
    /// `broker.url`.
    pub path: String,
    value: Value,
    pub origin: Origin,
}

impl Assignment {
    /// Reads a variable: `BULKRELEASE__BROKER__URL` sets `broker.url`. `None` if it is not one of ours.
    pub fn from_environment(name: &str, text: &str) -> Option<Result<Self, ConfigError>> {
        let Some(path) = name.strip_prefix(PREFIX) else {
            let mistaken = name.starts_with(NEARLY) && name != FILE;
            let problem = "is no setting: their names start with BULKRELEASE__, with two underscores between parts";
            return mistaken.then(|| Err(ConfigError::at(name, problem)));
        };
        let path = path.replace("__", ".").to_lowercase();
        let in_environment = |path: &str| format!("{PREFIX}{}", path.replace('.', "__").to_uppercase());
        let spelled = in_environment(&path);
        let origin = Origin::Environment(name.to_owned());
        Some(if spelled == name {
            Self::new(path, text, name, origin, in_environment)
        } else {
            Err(ConfigError::at(name, format!("write it in upper case: {spelled}")))
        })
    }

    /// Reads the value of a flag: `broker.url=sqlite:jobs.db`.
    pub fn from_flag(flag: &str) -> Result<Self, ConfigError> {
        let Some((path, text)) = flag.split_once('=') else {
            return Err(ConfigError::at("--set", "write PATH=VALUE, such as worker.linger=50ms"));
        };
        let path = path.trim().to_owned();
        let place = format!("--set {path}");
        Self::new(path, text, &place, Origin::Flag, str::to_owned)
    }

    fn new(
        path: String,
        text: &str,
        place: &str,
        origin: Origin,
        spell: impl Fn(&str) -> String,
    ) -> Result<Self, ConfigError> {
        if let Err(nearest) = keys::find(&path)? {
            let problem = format!("there is no setting {path:?}; the nearest is {}", spell(&nearest));
            return Err(ConfigError::at(place, problem));
        }
        let value = value(&path, text).map_err(|problem| ConfigError::at(place, problem))?;
        Ok(Self { path, value, origin })
    }

    /// Lays the value over a table.
    pub fn apply(self, table: &mut Table) {
        insert(table, &self.path, self.value);
    }
}

/// The text as a TOML literal if that fits the setting, else as a string, so that a URL or `20ms` needs no quotes.
fn value(path: &str, text: &str) -> Result<Value, String> {
    let string = Value::String(text.to_owned());
    let Ok(literal) = text.parse::<Value>() else {
        return fits(path, &string).map(|()| string);
    };
    let Err(literal_problem) = fits(path, &literal) else { return Ok(literal) };
    let Err(string_problem) = fits(path, &string) else { return Ok(string) };
    // "20" for a duration: that it is not text says less than what a duration looks like.
    let says_less = literal_problem.starts_with("invalid type") && !string_problem.starts_with("invalid type");
    Err(if says_less { string_problem } else { literal_problem })
}

fn fits(path: &str, value: &Value) -> Result<(), String> {
    let mut table = Table::new();
    insert(&mut table, path, value.clone());
    table.try_into::<Settings>().map(|_| ()).map_err(|error| error.message().to_owned())
}

fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((key, rest)) => {
            let inner = table.entry(key).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(flag: &str) -> Result<Settings, String> {
        let mut table = Table::new();
        Assignment::from_flag(flag).map_err(|error| error.to_string())?.apply(&mut table);
        Ok(table.try_into().unwrap())
    }

    #[test]
    fn a_value_needs_no_quotes_whatever_its_type() {
        assert_eq!(set("worker.name=7").unwrap().worker.name.unwrap(), "7");
        assert_eq!(set("worker.name=true").unwrap().worker.name.unwrap(), "true");
        assert_eq!(set("worker.name=\"seven\"").unwrap().worker.name.unwrap(), "seven");
        assert_eq!(set("broker.url=amqp://u:a=b@h/%2f?x=1").unwrap().broker.url.unwrap(), "amqp://u:a=b@h/%2f?x=1");
        assert_eq!(set("broker.prefetch=1_000").unwrap().broker.prefetch, 1000);
        assert!(!set("broker.declare=false").unwrap().broker.declare);
        assert_eq!(set("ops.listen=0.0.0.0:9464").unwrap().ops.listen.port(), 9464);
        assert_eq!(set("worker.linger=50ms").unwrap().worker.linger.as_millis(), 50);
        assert_eq!(set("safety.protected=[\"i-1\", \"db-*\"]").unwrap().safety.protected, ["i-1", "db-*"]);
        let settings = set("accounts.vno.error_classes={ \"Busy.Now\" = \"transient\" }").unwrap();
        let classes: Vec<_> = settings.accounts.into_values().flat_map(|account| account.error_classes).collect();
        assert_eq!(classes, [("Busy.Now".to_owned(), super::super::ErrorClass::Transient)]);
    }

    #[test]
    fn a_value_that_does_not_fit_is_refused_in_words_for_its_setting() {
        let cases = [
            ("broker.prefetch=many", "--set broker.prefetch: invalid type: string \"many\""),
            ("broker.prefetch=-1", "--set broker.prefetch: invalid value: integer `-1`"),
            ("worker.linger=20", "--set worker.linger: \"20\" is no duration"),
            ("accounts.vno.calls_per_second=0", "a number from 0.001 to 10000"),
            ("accounts.No.endpoint=x", "there is no setting"),
            ("accounts.vno.credentials=LTAI:x", "not a source of credentials"),
            ("ops.listen=9464", "--set ops.listen: "),
            ("broker=x", "there is no setting \"broker\""),
            ("broker..url=x", "there is no setting"),
            ("=x", "there is no setting"),
            ("broker.url", "write PATH=VALUE"),
        ];
        for (flag, expected) in cases {
            let error = set(flag).expect_err(flag);
            assert!(error.contains(expected), "{flag}: {error}");
        }
    }

    #[test]
    fn an_unknown_variable_is_an_error_that_suggests_the_nearest_and_hides_the_value() {
        let error = Assignment::from_environment("BULKRELEASE__BROKER__ULR", "amqp://u:secret@h").unwrap().unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(text.contains("the nearest is BULKRELEASE__BROKER__URL"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        let error = Assignment::from_environment("BULKRELEASE_SAFETY__PROTECTED", "x").unwrap().unwrap_err();
        assert!(error.to_string().contains("two underscores"), "{error}");
        assert!(Assignment::from_environment("BULKRELEASE_CONFIG", "x").is_none());
        let error = Assignment::from_environment("BULKRELEASE__broker__url", "x").unwrap().unwrap_err();
        assert!(error.to_string().contains("upper case: BULKRELEASE__BROKER__URL"), "{error}");
        assert!(Assignment::from_environment("BULKRELEASE_CONFIG", "x").is_none());
        assert!(Assignment::from_environment("PATH", "x").is_none());
    }
}
