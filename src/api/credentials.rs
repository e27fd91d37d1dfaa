//! Where an account's access key comes from: the environment, or a profile of the vendor's command line tool. It must
//! not know what a credential is used for, and never shows a secret.

mod profile;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use secrecy::SecretString;

use crate::config::CredentialSource;

const KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
const KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const SECURITY_TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";
const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";

/// An access key. Its `Debug` shows the id, which is no secret, and nothing else.
#[derive(Debug, Clone)]
pub struct Credential {
    pub access_key_id: String,
    pub access_key_secret: SecretString,
    /// Of a temporary key.
    pub security_token: Option<SecretString>,
}

/// The sources of one account's credential, in order. What was found is kept until `refresh`.
pub struct Chain {
    source: Source,
    found: Mutex<Option<Credential>>,
}

enum Source {
    Fixed(Credential),
    Searched(CredentialSource, Surroundings),
}

/// Looks an environment variable up.
type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What the sources are read from; a test brings its own.
struct Surroundings {
    variable: Box<Variable>,
    home: Option<PathBuf>,
}

/// Why there is no credential: every source that was tried, and what it lacked. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialError {
    pub tried: Vec<Lack>,
}

/// A source, and what it lacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub source: String,
    pub problem: String,
}

impl Chain {
    /// The sources of this process.
    pub fn new(source: &CredentialSource) -> Self {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self::within(source, Surroundings { variable: Box::new(variable), home: std::env::home_dir() })
    }

    /// Always the same credential, for rehearsals.
    pub fn fixed(credential: Credential) -> Self {
        Self { source: Source::Fixed(credential), found: Mutex::new(None) }
    }

    fn within(source: &CredentialSource, surroundings: Surroundings) -> Self {
        Self { source: Source::Searched(source.clone(), surroundings), found: Mutex::new(None) }
    }

    /// The credential to sign with now. Reads a small local file at most, and that only the first time after `refresh`.
    pub fn current(&self) -> Result<Credential, CredentialError> {
        let (source, surroundings) = match &self.source {
            Source::Fixed(credential) => return Ok(credential.clone()),
            Source::Searched(source, surroundings) => (source, surroundings),
        };
        // A poisoned lock still guards a whole credential, or none.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(credential) = &*found {
            return Ok(credential.clone());
        }
        let credential = surroundings.search(source)?;
        *found = Some(credential.clone());
        Ok(credential)
    }

    /// Forgets what was found, so that a rotated key is picked up: to be called when the API refused the present one.
    pub fn refresh(&self) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Fixed(credential) => f.debug_tuple("Chain").field(credential).finish(),
            Source::Searched(source, _) => f.debug_tuple("Chain").field(source).finish(),
        }
    }
}

impl Surroundings {
    fn search(&self, source: &CredentialSource) -> Result<Credential, CredentialError> {
        let found = match source {
            CredentialSource::Environment => self.environment().map_err(|lack| vec![lack]),
            CredentialSource::Profile(name) => self.profile(Some(name)).map_err(|lack| vec![lack]),
            CredentialSource::Default => self.environment().or_else(|lack| {
                // Half a key is a mistake. Passing over it could release with another account's.
                if self.variable(KEY_ID).is_some() || self.variable(KEY_SECRET).is_some() {
                    return Err(vec![lack]);
                }
                self.profile(self.variable(PROFILE).as_deref()).map_err(|other| vec![lack, other])
            }),
        };
        found.map_err(|tried| CredentialError { tried })
    }

    fn environment(&self) -> Result<Credential, Lack> {
        let demanded = |name: &str| {
            let problem = format!("{name} is not set");
            self.variable(name).ok_or(Lack { source: "environment".to_owned(), problem })
        };
        Ok(Credential {
            access_key_id: demanded(KEY_ID)?,
            access_key_secret: demanded(KEY_SECRET)?.into(),
            security_token: self.variable(SECURITY_TOKEN).map(SecretString::from),
        })
    }

    fn profile(&self, name: Option<&str>) -> Result<Credential, Lack> {
        let file = Path::new(".aliyun/config.json");
        let Some(home) = &self.home else {
            let problem = "the home directory is not known: set HOME".to_owned();
            return Err(Lack { source: format!("~/{}", file.display()), problem });
        };
        let file = home.join(file);
        profile::read(&file, name).map_err(|problem| Lack { source: file.display().to_string(), problem })
    }

    /// A variable that is empty counts as not set, as it does for the vendor's tools.
    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }
}

impl fmt::Display for CredentialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("found no access key")?;
        for (index, Lack { source, problem }) in self.tried.iter().enumerate() {
            write!(f, "{} {source}: {problem}", if index == 0 { ":" } else { ";" })?;
        }
        write!(f, ". Set {KEY_ID} and {KEY_SECRET}, or run `aliyun configure`")
    }
}

impl std::error::Error for CredentialError {}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use secrecy::ExposeSecret;

    use super::*;

    fn chain(source: CredentialSource, variables: &[(&str, &str)], home: Option<&Path>) -> Chain {
        let variables: HashMap<String, String> =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let variable = move |name: &str| variables.get(name).cloned();
        Chain::within(&source, Surroundings { variable: Box::new(variable), home: home.map(Path::to_owned) })
    }

    fn home(config: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aliyun")).unwrap();
        write(&home, config);
        home
    }

    fn write(home: &tempfile::TempDir, config: &str) {
        std::fs::write(home.path().join(".aliyun/config.json"), config).unwrap();
    }

    fn shown(credential: Credential) -> (String, String, Option<String>) {
        let token = credential.security_token.map(|token| token.expose_secret().to_owned());
        (credential.access_key_id, credential.access_key_secret.expose_secret().to_owned(), token)
    }

    const TWO: &str = r#"{"current": "a", "meta_path": "", "profiles": [
        {"name": "a", "mode": "AK", "access_key_id": "ida", "access_key_secret": "hush-a", "region_id": "cn-hangzhou"},
        {"name": "b", "mode": "StsToken", "access_key_id": "idb", "access_key_secret": "hush-b", "sts_token": "hush-t"},
        {"name": "c", "mode": "RamRoleArn", "access_key_id": "idc", "access_key_secret": "hush-c"},
        {"name": "d", "mode": "AK", "access_key_id": "", "access_key_secret": "hush-d"},
        {"name": "e", "mode": "StsToken", "access_key_id": "ide", "access_key_secret": "hush-e"}]}"#;

    #[test]
    fn the_environment_goes_before_the_profile() {
        let home = home(TWO);
        let variables = [(KEY_ID, "id"), (KEY_SECRET, "hush"), (SECURITY_TOKEN, "")];
        let found = chain(CredentialSource::Default, &variables, Some(home.path())).current().unwrap();
        assert_eq!(shown(found), ("id".into(), "hush".into(), None));
        let variables = [(KEY_ID, "id"), (KEY_SECRET, "hush"), (SECURITY_TOKEN, "token")];
        let found = chain(CredentialSource::Environment, &variables, None).current().unwrap();
        assert_eq!(shown(found), ("id".into(), "hush".into(), Some("token".into())));
    }

    #[test]
    fn the_profile_is_the_one_named_by_setting_or_environment_or_the_file_itself() {
        let home = home(TWO);
        let a = ("ida".to_owned(), "hush-a".to_owned(), None);
        let b = ("idb".to_owned(), "hush-b".to_owned(), Some("hush-t".to_owned()));
        let found = |source, variables: &[_]| shown(chain(source, variables, Some(home.path())).current().unwrap());
        assert_eq!(found(CredentialSource::Default, &[]), a);
        assert_eq!(found(CredentialSource::Default, &[(PROFILE, "b")]), b);
        assert_eq!(found(CredentialSource::Profile("a".into()), &[(PROFILE, "b"), (KEY_ID, "x")]), a);
    }

    #[test]
    fn half_a_key_in_the_environment_is_an_error_rather_than_another_key() {
        let home = home(TWO);
        for (set, missing) in [(KEY_ID, KEY_SECRET), (KEY_SECRET, KEY_ID)] {
            let error = chain(CredentialSource::Default, &[(set, "hush")], Some(home.path())).current().unwrap_err();
            assert!(error.to_string().contains(&format!("environment: {missing} is not set")), "{error}");
        }
    }

    #[test]
    fn an_error_says_what_was_tried_and_what_each_lacked() {
        let empty = tempfile::tempdir().unwrap();
        let error = chain(CredentialSource::Default, &[], Some(empty.path())).current().unwrap_err().to_string();
        assert!(error.contains(&format!("environment: {KEY_ID} is not set; ")), "{error}");
        assert!(error.contains(".aliyun/config.json: there is no such file"), "{error}");
        let error = chain(CredentialSource::Default, &[], None).current().unwrap_err().to_string();
        assert!(error.contains("~/.aliyun/config.json: the home directory is not known"), "{error}");
    }

    #[test]
    fn a_profile_that_can_not_be_used_is_refused_by_name_and_without_its_secret() {
        let good = home(TWO);
        let cases = [
            ("nobody", "has no profile \"nobody\": it has a, b, c, d, e"),
            ("c", "profile \"c\": mode \"RamRoleArn\" is not supported yet: use AK or StsToken"),
            ("d", "profile \"d\": access_key_id is empty"),
            ("e", "profile \"e\": sts_token is empty"),
        ];
        for (name, expected) in cases {
            let chain = chain(CredentialSource::Profile(name.into()), &[], Some(good.path()));
            let error = chain.current().unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
        for config in ["{\"profiles\": \"hush\"}", "{\"profiles\": [{\"name\": \"hush", "hush", "", "[]"] {
            let chain = chain(CredentialSource::Default, &[], Some(home(config).path()));
            let error = chain.current().unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
        }
    }

    #[test]
    fn a_rotated_key_is_picked_up_after_a_refresh_and_not_before() {
        let home = home(TWO);
        let chain = chain(CredentialSource::Default, &[], Some(home.path()));
        assert_eq!(chain.current().unwrap().access_key_id, "ida");
        write(&home, &TWO.replace("ida", "new"));
        assert_eq!(chain.current().unwrap().access_key_id, "ida");
        chain.refresh();
        assert_eq!(chain.current().unwrap().access_key_id, "new");
    }

    #[test]
    fn a_key_that_was_missing_is_found_as_soon_as_it_is_there() {
        let home = home("{}");
        let chain = chain(CredentialSource::Default, &[], Some(home.path()));
        chain.current().unwrap_err();
        write(&home, TWO);
        assert_eq!(chain.current().unwrap().access_key_id, "ida");
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let credential = Credential {
            access_key_id: "id".to_owned(),
            access_key_secret: "hush".into(),
            security_token: Some("hush".into()),
        };
        let chain = Chain::fixed(credential.clone());
        let text = format!("{credential:?} {chain:?} {:?}", chain.current());
        assert!(text.contains("id") && !text.contains("hush"), "{text}");
    }
}
