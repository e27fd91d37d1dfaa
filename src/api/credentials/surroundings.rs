//! What the sources are read from: the process's environment and home, and the addresses of the vendor's services. A test
//! brings its own.

use std::path::{Path, PathBuf};

use url::Url;

/// Looks an environment variable up.
pub type Variable = dyn Fn(&str) -> Option<String> + Send + Sync;

pub struct Surroundings {
    pub variable: Box<Variable>,
    pub home: Option<PathBuf>,
    /// Stands in for every address of the Security Token Service.
    pub sts: Option<Url>,
    /// The metadata service of an ECS instance.
    pub metadata: Url,
}

impl Surroundings {
    /// This process's.
    pub fn own() -> Self {
        let variable = |name: &str| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            variable: Box::new(variable),
            home: std::env::home_dir(),
            sts: None,
            metadata: Url::parse("http://100.100.100.200/").expect("this is a URL"),
        }
    }

    /// A variable that is empty counts as not set, as it does for the vendor's tools.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Whether a variable says `true`, in any case, as the vendor's tools read it.
    pub(super) fn says_true(&self, name: &str) -> bool {
        self.variable(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A file below the home directory.
    pub(super) fn at_home(&self, file: &str) -> Result<PathBuf, String> {
        let home = self.home.as_ref().ok_or("the home directory is not known: set HOME")?;
        Ok(home.join(Path::new(file)))
    }
}
