//! Source 3: `~/.aliyun/config.json`, the profiles of the vendor's command line tool. Names from aliyun-cli
//! `config/profile.go` and Go `providers/cli_profile.go`.
//!
//! Not supported, and refused by name: ChainableRamRoleArn, RamRoleArnWithEcs, RsaKeyPair, External (it runs a command),
//! CloudSSO and OAuth (they need a browser), BearerToken and Anonymous (they sign nothing).

use std::path::PathBuf;

use serde::Deserialize;

use super::search::{Ask, Found, Miss};
use super::sts::{Assume, Proof, Role, StsAddress};
use super::surroundings::Surroundings;
use super::{Credential, file, instance, uri};

/// Picks the profile, here and in the INI file.
pub const PROFILE: &str = "ALIBABA_CLOUD_PROFILE";
/// Another file, as Go `providers/cli_profile.go` has it.
const CONFIG_FILE: &str = "ALIBABA_CLOUD_CONFIG_FILE";
pub const DISABLED: &str = "ALIBABA_CLOUD_CLI_PROFILE_DISABLED";
pub const DEFAULT_FILE: &str = ".aliyun/config.json";

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
    ram_role_name: String,
    ram_role_arn: String,
    ram_session_name: String,
    external_id: String,
    policy: String,
    expired_seconds: u32,
    oidc_provider_arn: String,
    oidc_token_file: String,
    credentials_uri: String,
    sts_region: String,
    sts_endpoint: String,
    enable_vpc: bool,
}

pub fn path(surroundings: &Surroundings) -> Result<PathBuf, String> {
    match surroundings.variable(CONFIG_FILE) {
        Some(file) => Ok(file.into()),
        None => surroundings.at_home(DEFAULT_FILE),
    }
}

/// Reads the profile of this name, or of the environment's, or the file's current one.
pub fn look(surroundings: &Surroundings, name: Option<&str>) -> Result<Found, Miss> {
    // A profile that the settings name is meant, whatever the environment says.
    if name.is_none() && surroundings.says_true(DISABLED) {
        return Err(Miss::Absent(format!("is switched off by {DISABLED}")));
    }
    let is_named = surroundings.variable(CONFIG_FILE).is_some();
    let text =
        file::read(&path(surroundings).map_err(Miss::Absent)?).map_err(|miss| miss.of_what_is_named(is_named))?;
    // The parser's own message may quote what it found, which may be a secret.
    let config: Config = serde_json::from_slice(&text).map_err(|error| {
        Miss::Broken(format!("is no valid configuration (line {}, column {})", error.line(), error.column()))
    })?;
    // One that the environment names may stand in the INI file.
    let by_file = name.is_none() && surroundings.variable(PROFILE).is_none();
    let name = name.map(str::to_owned).or_else(|| surroundings.variable(PROFILE)).unwrap_or(config.current);
    if name.is_empty() {
        return Err(Miss::Absent("names no current profile".to_owned()));
    }
    match config.profiles.iter().find(|profile| profile.name == name) {
        Some(profile) if profile.is_blank() => Err(Miss::Absent(format!("profile {name:?} is not filled in"))),
        Some(profile) => {
            profile.found(surroundings).map_err(|problem| Miss::Broken(format!("profile {name:?}: {problem}")))
        }
        None => {
            let names: Vec<_> = config.profiles.iter().map(|profile| profile.name.as_str()).collect();
            let missing = Miss::Absent(format!("has no profile {name:?}: it has {}", names.join(", ")));
            Err(missing.of_what_is_named(by_file))
        }
    }
}

impl Profile {
    /// As the command line tool leaves one that was never configured.
    fn is_blank(&self) -> bool {
        matches!(self.mode.as_str(), "" | "AK") && self.access_key_id.is_empty() && self.access_key_secret.is_empty()
    }

    fn found(&self, surroundings: &Surroundings) -> Result<Found, String> {
        match self.mode.as_str() {
            "AK" => Ok(Found::Key(self.key(None)?)),
            "StsToken" => Ok(Found::Key(self.key(Some(demanded("sts_token", &self.sts_token)?))?)),
            "RamRoleArn" => self.assume(Proof::Key(self.key(None)?), surroundings),
            "OIDC" => {
                let proof = Proof::Token {
                    provider_arn: demanded("oidc_provider_arn", &self.oidc_provider_arn)?,
                    file: demanded("oidc_token_file", &self.oidc_token_file)?.into(),
                };
                self.assume(proof, surroundings)
            }
            "EcsRamRole" => instance::found(surroundings, given(&self.ram_role_name)),
            "CredentialsURI" => uri::found(&demanded("credentials_uri", &self.credentials_uri)?),
            mode => Err(format!(
                "mode {mode:?} is not supported: use AK, StsToken, RamRoleArn, EcsRamRole, OIDC or CredentialsURI"
            )),
        }
    }

    fn key(&self, token: Option<String>) -> Result<Credential, String> {
        Ok(Credential {
            access_key_id: demanded("access_key_id", &self.access_key_id)?,
            access_key_secret: demanded("access_key_secret", &self.access_key_secret)?.into(),
            security_token: token.map(Into::into),
        })
    }

    fn assume(&self, proof: Proof, surroundings: &Surroundings) -> Result<Found, String> {
        let mut role = Role::new(demanded("ram_role_arn", &self.ram_role_arn)?, given(&self.ram_session_name));
        (role.policy, role.external_id) = (given(&self.policy), given(&self.external_id));
        if self.expired_seconds != 0 {
            role.lasting("expired_seconds", self.expired_seconds)?;
        }
        let address = StsAddress {
            endpoint: given(&self.sts_endpoint),
            region: given(&self.sts_region),
            inside_vpc: self.enable_vpc,
        };
        Ok(Found::Ask(Ask::Assume(Assume { role, proof, address: address.url(surroundings)? })))
    }
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn demanded(key: &str, text: &str) -> Result<String, String> {
    given(text).ok_or_else(|| format!("{key} is empty"))
}
