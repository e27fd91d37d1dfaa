//! Source 1: the key itself in the environment (Python `provider/env.py`, Go `providers/env.go`).

use super::Credential;
use super::search::{Found, Miss};
use super::surroundings::Surroundings;

pub const KEY_ID: &str = "ALIBABA_CLOUD_ACCESS_KEY_ID";
pub const KEY_SECRET: &str = "ALIBABA_CLOUD_ACCESS_KEY_SECRET";
const SECURITY_TOKEN: &str = "ALIBABA_CLOUD_SECURITY_TOKEN";

pub fn look(surroundings: &Surroundings) -> Result<Found, Miss> {
    let missing = |name: &str| format!("{name} is not set");
    match (surroundings.variable(KEY_ID), surroundings.variable(KEY_SECRET)) {
        (Some(access_key_id), Some(secret)) => Ok(Found::Key(Credential {
            access_key_id,
            access_key_secret: secret.into(),
            security_token: surroundings.variable(SECURITY_TOKEN).map(Into::into),
        })),
        (None, None) => Err(Miss::Absent(missing(KEY_ID))),
        // Half a key is a mistake. Passing over it could release with another account's.
        (Some(_), None) => Err(Miss::Broken(missing(KEY_SECRET))),
        (None, Some(_)) => Err(Miss::Broken(missing(KEY_ID))),
    }
}
