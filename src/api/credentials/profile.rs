//! `~/.aliyun/config.json`: the profiles of the vendor's command line tool.

use std::io::ErrorKind;
use std::path::Path;

use serde::Deserialize;

use super::Credential;

/// The part of the file that is looked at. No `Debug`: it holds secrets.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    current: String,
    profiles: Vec<Profile>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Profile {
    name: String,
    mode: String,
    access_key_id: String,
    access_key_secret: String,
    sts_token: String,
}

/// Reads the profile of this name, or the file's current one.
pub(super) fn read(file: &Path, name: Option<&str>) -> Result<Credential, String> {
    let text = std::fs::read(file).map_err(|error| match error.kind() {
        ErrorKind::NotFound => "there is no such file".to_owned(),
        _ => format!("can't read it: {error}"),
    })?;
    // The parser's own message may quote what it found, which may be a secret.
    let config: Config = serde_json::from_slice(&text)
        .map_err(|error| format!("is no valid configuration (line {}, column {})", error.line(), error.column()))?;
    let name = name.unwrap_or(&config.current);
    if name.is_empty() {
        return Err("names no current profile".to_owned());
    }
    let names = || config.profiles.iter().map(|profile| profile.name.as_str()).collect::<Vec<_>>().join(", ");
    match config.profiles.iter().find(|profile| profile.name == name) {
        Some(profile) => profile.credential().map_err(|problem| format!("profile {name:?}: {problem}")),
        None => Err(format!("has no profile {name:?}: it has {}", names())),
    }
}

impl Profile {
    fn credential(&self) -> Result<Credential, String> {
        let temporary = match self.mode.as_str() {
            "AK" => false,
            "StsToken" => true,
            mode => return Err(format!("mode {mode:?} is not supported yet: use AK or StsToken")),
        };
        let demanded = |key: &str, text: &str| match text {
            "" => Err(format!("{key} is empty")),
            text => Ok(text.to_owned()),
        };
        Ok(Credential {
            access_key_id: demanded("access_key_id", &self.access_key_id)?,
            access_key_secret: demanded("access_key_secret", &self.access_key_secret)?.into(),
            security_token: temporary.then(|| demanded("sts_token", &self.sts_token)).transpose()?.map(Into::into),
        })
    }
}
