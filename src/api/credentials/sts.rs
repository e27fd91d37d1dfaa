//! Takes a role on at the Security Token Service: `AssumeRole`, signed with a key (Go `providers/ram_role_arn.go`), or
//! `AssumeRoleWithOIDC`, unsigned with a token (Go `providers/oidc.go`); version 2015-04-01, RPC style. What is secret
//! travels in the body.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::ExposeSecret;
use url::Url;
use uuid::Uuid;

use super::answer;
use super::http::Http;
use super::search::{Fresh, Miss};
use super::surroundings::Surroundings;
use super::{Credential, file};
use crate::api::signature::{Parameter, canonical_query, v1};
use crate::config;

/// Both packages ask for an hour, and refuse less than a quarter (Python `DEFAULT_DURATION_SECONDS`).
const DEFAULT_SECONDS: u32 = 3600;
const LEAST_SECONDS: u32 = 900;
/// Python `DEFAULT_CONNECT_TIMEOUT` and `DEFAULT_READ_TIMEOUT`.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(10);

/// A role to take on.
#[derive(PartialEq)]
pub struct Assume {
    pub role: Role,
    pub proof: Proof,
    pub address: Url,
}

#[derive(PartialEq)]
pub struct Role {
    arn: String,
    session_name: String,
    seconds: u32,
    pub policy: Option<String>,
    pub external_id: Option<String>,
}

/// What shows who asks.
#[derive(PartialEq)]
pub enum Proof {
    Key(Credential),
    /// Read again each time: whoever put the file there rotates it.
    Token {
        provider_arn: String,
        file: PathBuf,
    },
}

/// Which of the service's addresses is asked.
#[derive(Default)]
pub struct StsAddress {
    /// A host, outright (aliyun-cli `sts_endpoint`).
    pub endpoint: Option<String>,
    pub region: Option<String>,
    pub inside_vpc: bool,
}

impl StsAddress {
    /// The packages' rule: `sts[-vpc][.REGION].aliyuncs.com`, the rest from the environment (Go `providers/oidc.go`, where
    /// a region must be known for the address inside a VPC to be used).
    pub fn url(self, surroundings: &Surroundings) -> Result<Url, String> {
        if let Some(url) = &surroundings.sts {
            return Ok(url.clone());
        }
        let inside = self.inside_vpc || surroundings.says_true("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED");
        let region = self.region.or_else(|| surroundings.variable("ALIBABA_CLOUD_STS_REGION"));
        let host = match (self.endpoint, region) {
            (Some(endpoint), _) => endpoint,
            (None, Some(region)) => format!("sts{}.{region}.aliyuncs.com", if inside { "-vpc" } else { "" }),
            (None, None) => "sts.aliyuncs.com".to_owned(),
        };
        let url = config::endpoint(&host).map_err(|problem| format!("the address of STS {problem}"))?;
        if url.scheme() == "https" { Ok(url) } else { Err("the address of STS must be one of https".to_owned()) }
    }
}

impl Role {
    pub fn new(arn: String, session_name: Option<String>) -> Self {
        let session_name = session_name.unwrap_or_else(|| "bulkrelease".to_owned());
        Self { arn, session_name, seconds: DEFAULT_SECONDS, policy: None, external_id: None }
    }

    /// Sets how long the key is to last; `key` is where that was written.
    pub fn lasting(&mut self, key: &str, seconds: u32) -> Result<(), String> {
        if seconds < LEAST_SECONDS {
            return Err(format!("{key} is {seconds}: write at least {LEAST_SECONDS}"));
        }
        self.seconds = seconds;
        Ok(())
    }
}

impl Assume {
    pub async fn ask(&self, now: impl Fn() -> Timestamp) -> Result<Fresh, Miss> {
        let mut fields = self.role_fields();
        let query = match &self.proof {
            Proof::Token { provider_arn, file } => {
                fields.push(("OIDCProviderArn".into(), provider_arn.into()));
                fields.push(("OIDCToken".into(), token(file)?.into()));
                common("AssumeRoleWithOIDC", now())
            }
            Proof::Key(key) => signed(key, &mut fields, now()),
        };
        let mut url = self.address.clone();
        url.set_query(Some(&canonical_query(&query)));
        let http = Http::new(CONNECT_PATIENCE, PATIENCE).map_err(Miss::Broken)?;
        let request = http
            .request(reqwest::Method::POST, url)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(canonical_query(&fields));
        let answer = http.send(request).await.map_err(|failure| Miss::Broken(format!("STS {failure}")))?;
        answer::wrapped(&answer, now()).map_err(|problem| Miss::Broken(format!("STS: {problem}")))
    }

    fn role_fields(&self) -> Vec<Parameter<'_>> {
        let role = &self.role;
        let mut fields: Vec<Parameter<'_>> = vec![
            ("RoleArn".into(), (&role.arn).into()),
            ("RoleSessionName".into(), (&role.session_name).into()),
            ("DurationSeconds".into(), role.seconds.to_string().into()),
        ];
        let optional = [("Policy", &role.policy), ("ExternalId", &role.external_id)];
        fields.extend(optional.into_iter().filter_map(|(name, value)| Some((name.into(), value.as_ref()?.into()))));
        fields
    }
}

fn common(action: &'static str, now: Timestamp) -> Vec<Parameter<'static>> {
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let common: [(&str, Cow<'_, str>); 4] = [
        ("Action", action.into()),
        ("Version", "2015-04-01".into()),
        ("Format", "JSON".into()),
        ("Timestamp", time.into()),
    ];
    common.map(|(name, value)| (name.into(), value)).into()
}

/// The query of a signed call. The packages send the security token of a temporary key in the query; here it goes into the
/// body, which is signed alike.
fn signed<'a>(key: &'a Credential, fields: &mut Vec<Parameter<'a>>, now: Timestamp) -> Vec<Parameter<'a>> {
    let mut query: Vec<Parameter<'a>> = common("AssumeRole", now);
    query.push(("SignatureMethod".into(), "HMAC-SHA1".into()));
    query.push(("SignatureVersion".into(), "1.0".into()));
    query.push(("SignatureNonce".into(), Uuid::new_v4().simple().to_string().into()));
    query.push(("AccessKeyId".into(), (&key.access_key_id).into()));
    if let Some(token) = &key.security_token {
        fields.push(("SecurityToken".into(), token.expose_secret().into()));
    }
    let all: Vec<_> = query.iter().chain(&*fields).cloned().collect();
    query.push(("Signature".into(), v1::sign("POST", &all, key.access_key_secret.expose_secret()).into()));
    query
}

fn token(path: &std::path::Path) -> Result<String, Miss> {
    let at = |problem: String| Miss::Broken(format!("{}: {problem}", path.display()));
    let bytes = file::read(path).map_err(|miss| at(miss.problem().to_owned()))?;
    let text = String::from_utf8(bytes).map_err(|_| at("is no text in UTF-8".to_owned()))?;
    match text.trim() {
        "" => Err(at("is empty".to_owned())),
        token => Ok(token.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Variables = &'static [(&'static str, &'static str)];

    fn url(address: StsAddress, variables: Variables) -> Result<String, String> {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        let surroundings = Surroundings { variable: Box::new(variable), ..Surroundings::own() };
        address.url(&surroundings).map(|url| url.to_string())
    }

    #[test]
    fn the_address_follows_region_and_vpc_as_the_packages_have_it() {
        let regional = || StsAddress { region: Some("cn-beijing".into()), ..StsAddress::default() };
        let cases: [(StsAddress, Variables, &str); 7] = [
            (StsAddress::default(), &[], "https://sts.aliyuncs.com/"),
            (StsAddress::default(), &[("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "true")], "https://sts.aliyuncs.com/"),
            (StsAddress::default(), &[("ALIBABA_CLOUD_STS_REGION", "x-1")], "https://sts.x-1.aliyuncs.com/"),
            (regional(), &[("ALIBABA_CLOUD_STS_REGION", "x-1")], "https://sts.cn-beijing.aliyuncs.com/"),
            (regional(), &[("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "TRUE")], "https://sts-vpc.cn-beijing.aliyuncs.com/"),
            (StsAddress { inside_vpc: true, ..regional() }, &[], "https://sts-vpc.cn-beijing.aliyuncs.com/"),
            (StsAddress { endpoint: Some("https://sts.example".into()), ..regional() }, &[], "https://sts.example/"),
        ];
        for (address, variables, expected) in cases {
            assert_eq!(url(address, variables).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_region_can_not_lead_the_proof_elsewhere() {
        for region in ["evil.example/", "evil.example#", "evil.example?", "a@evil.example:80/", " ", "x\n"] {
            let address = StsAddress { region: Some(region.into()), ..StsAddress::default() };
            assert!(url(address, &[]).is_err(), "{region:?}");
        }
        let plain = StsAddress { endpoint: Some("http://sts.example".into()), ..StsAddress::default() };
        assert!(url(plain, &[]).is_err());
    }
}
