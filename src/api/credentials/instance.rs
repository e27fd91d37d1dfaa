//! Source 5: the role of the ECS instance that this runs on, from its metadata service (Python `provider/ecs_ram_role.py`,
//! Go `providers/ecs_ram_role.go`).
//!
//! Unlike both packages it never falls back to requests without a token (IMDSv1): every instance answers with one, and
//! without it any request that can be forged from outside would do.

use std::time::Duration;

use jiff::Timestamp;
use url::Url;

use super::answer;
use super::http::{Answer, Failure, Http};
use super::search::{Ask, Found, Fresh, Miss};
use super::surroundings::Surroundings;

const ROLE: &str = "ALIBABA_CLOUD_ECS_METADATA";
const DISABLED: &str = "ALIBABA_CLOUD_ECS_METADATA_DISABLED";
const TOKEN: &str = "x-aliyun-ecs-metadata-token";
const TOKEN_SECONDS: (&str, &str) = ("x-aliyun-ecs-metadata-token-ttl-seconds", "21600");
/// For a connection, and for an answer.
const PATIENCE: Duration = Duration::from_secs(1);
const CREDENTIALS: &str = "latest/meta-data/ram/security-credentials/";

/// An instance's metadata service, and the role if it is known.
#[derive(PartialEq)]
pub struct Instance {
    metadata: Url,
    pub role: Option<String>,
}

/// What there is cannot be told without asking: only a named role makes the source certain.
pub fn look(surroundings: &Surroundings) -> Result<Found, Miss> {
    found(surroundings, None).map_err(Miss::Absent)
}

/// For a profile that speaks of the instance's role.
pub fn found(surroundings: &Surroundings, role: Option<String>) -> Result<Found, String> {
    if surroundings.says_true(DISABLED) {
        return Err(format!("is switched off by {DISABLED}"));
    }
    let role = role.or_else(|| surroundings.variable(ROLE));
    Ok(Found::Ask(Ask::Instance(Instance { metadata: surroundings.metadata.clone(), role })))
}

impl Instance {
    /// At most three requests, of a second each.
    pub async fn ask(&self, now: impl Fn() -> Timestamp) -> Result<Fresh, Miss> {
        let http = Http::direct(PATIENCE, PATIENCE).map_err(Miss::Broken)?;
        let (name, value) = TOKEN_SECONDS;
        let request = http.request(reqwest::Method::PUT, self.at("latest/api/token")?).header(name, value);
        let token = text(http.send(request).await?)?;
        let role = match &self.role {
            Some(role) => role.clone(),
            None => match self.get(&http, CREDENTIALS, &token).await? {
                answer if answer.status == 404 => {
                    return Err(Miss::Absent("the instance has no role".to_owned()));
                }
                answer => text(answer)?,
            },
        };
        let plain = !role.is_empty() && role.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b));
        if !plain {
            return Err(Miss::Broken("the role's name is no name".to_owned()));
        }
        let answer = self.get(&http, &format!("{CREDENTIALS}{role}"), &token).await?;
        answer::successful(&answer, now()).map_err(Miss::Broken)
    }

    async fn get(&self, http: &Http, path: &str, token: &str) -> Result<Answer, Miss> {
        let request = http.request(reqwest::Method::GET, self.at(path)?).header(TOKEN, token);
        Ok(http.send(request).await?)
    }

    fn at(&self, path: &str) -> Result<Url, Miss> {
        self.metadata.join(path).map_err(|error| Miss::Broken(format!("{path} is no address: {error}")))
    }
}

/// A plain answer of one line.
fn text(answer: Answer) -> Result<String, Miss> {
    if answer.status != 200 {
        return Err(Miss::Broken(format!("the metadata service answered with status {}", answer.status)));
    }
    let text = String::from_utf8(answer.body).map_err(|_| Miss::Broken("the answer is no text".to_owned()))?;
    Ok(text.trim().to_owned())
}

/// Outside the cloud nobody answers, which only means that there is no such source.
impl From<Failure> for Miss {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Unreachable(reason) => Self::Absent(format!("no metadata service answers: {reason}")),
            Failure::Broken(reason) => Self::Broken(reason),
        }
    }
}
