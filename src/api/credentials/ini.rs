//! Source 4: the SDKs' shared INI file: `~/.alibabacloud/credentials` (Go `providers/profile.go`) or `credentials.ini`
//! beside it (Python `provider/profile.py`), or the file that the environment names.
//!
//! Types `access_key`, `ram_role_arn`, `oidc_role_arn` and `ecs_ram_role`. Not supported, and refused by name:
//! `rsa_key_pair`, which only the Python package still reads.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::profile::{DISABLED, PROFILE};
use super::search::{Ask, Found, Miss};
use super::sts::{Assume, Proof, Role, StsAddress};
use super::surroundings::Surroundings;
use super::{Credential, file, instance};

const CREDENTIALS_FILE: &str = "ALIBABA_CLOUD_CREDENTIALS_FILE";
pub const DEFAULT_FILE: &str = ".alibabacloud/credentials";
const PYTHON_FILE: &str = ".alibabacloud/credentials.ini";

/// A section's values. No `Debug`: it holds secrets.
struct Section(BTreeMap<String, String>);

pub fn path(surroundings: &Surroundings) -> Result<PathBuf, String> {
    if let Some(file) = surroundings.variable(CREDENTIALS_FILE) {
        return Ok(file.into());
    }
    let (go, python) = (surroundings.at_home(DEFAULT_FILE)?, surroundings.at_home(PYTHON_FILE)?);
    Ok(if !go.exists() && python.exists() { python } else { go })
}

/// Reads the section of this name, or of the environment's, or `default`.
pub fn look(surroundings: &Surroundings, name: Option<&str>) -> Result<Found, Miss> {
    let chosen = surroundings.variable(PROFILE).filter(|_| name.is_none());
    // Neither this file nor the one before it has what the environment names; unless it may only be for that one.
    let is_sought = chosen.is_some() && !surroundings.says_true(DISABLED);
    let is_named = is_sought || surroundings.variable(CREDENTIALS_FILE).is_some();
    let missing = |problem| Miss::Absent(problem).of_what_is_named(is_named);
    let path = path(surroundings).map_err(missing)?;
    let text = file::read(&path).map_err(|miss| miss.of_what_is_named(is_named))?;
    let text = String::from_utf8(text).map_err(|_| Miss::Broken("is no text in UTF-8".to_owned()))?;
    let name = name.map(str::to_owned).or(chosen).unwrap_or_else(|| "default".to_owned());
    let section = section(&text, &name).map_err(Miss::Broken)?;
    let section = section.ok_or_else(|| missing(format!("has no section [{name}]")))?;
    section.found(surroundings).map_err(|problem| Miss::Broken(format!("section [{name}]: {problem}")))
}

/// The section of this name, as both packages read it: `key = value` or `key: value`, keys in any case, comments after
/// `#` and on lines of their own after `;`.
fn section(text: &str, name: &str) -> Result<Option<Section>, String> {
    let (mut values, mut inside) = (None, false);
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() || line.starts_with(';') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            inside = header.trim() == name;
            if inside && values.replace(BTreeMap::new()).is_some() {
                return Err(format!("has two sections [{name}]"));
            }
        } else if let (true, Some(values)) = (inside, &mut values) {
            // The line itself stays out of the message: it may hold the secret.
            let (key, value) =
                line.split_once(['=', ':']).ok_or_else(|| format!("line {} is no key = value", index + 1))?;
            values.insert(key.trim().to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    Ok(values.map(Section))
}

impl Section {
    fn found(&self, surroundings: &Surroundings) -> Result<Found, String> {
        match self.demanded("type")?.as_str() {
            "access_key" => Ok(Found::Key(self.key()?)),
            "ram_role_arn" => self.assume(Proof::Key(self.key()?), surroundings),
            "oidc_role_arn" => {
                let proof = Proof::Token {
                    provider_arn: self.demanded("oidc_provider_arn")?,
                    file: self.demanded("oidc_token_file_path")?.into(),
                };
                self.assume(proof, surroundings)
            }
            "ecs_ram_role" => instance::found(surroundings, self.given("role_name")),
            other => Err(format!(
                "type {other:?} is not supported: use access_key, ram_role_arn, oidc_role_arn or ecs_ram_role"
            )),
        }
    }

    fn key(&self) -> Result<Credential, String> {
        Ok(Credential {
            access_key_id: self.demanded("access_key_id")?,
            access_key_secret: self.demanded("access_key_secret")?.into(),
            security_token: None,
        })
    }

    fn assume(&self, proof: Proof, surroundings: &Surroundings) -> Result<Found, String> {
        let mut role = Role::new(self.demanded("role_arn")?, self.given("role_session_name"));
        role.policy = self.given("policy");
        let address = StsAddress::default().url(surroundings)?;
        Ok(Found::Ask(Ask::Assume(Assume { role, proof, address })))
    }

    fn given(&self, key: &str) -> Option<String> {
        self.0.get(key).filter(|value| !value.is_empty()).cloned()
    }

    fn demanded(&self, key: &str) -> Result<String, String> {
        self.given(key).ok_or_else(|| format!("{key} is missing"))
    }
}
