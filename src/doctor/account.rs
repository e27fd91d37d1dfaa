//! One account: its endpoint, its clock, its key. Nothing of this tells whether it may release: only a release would.

use std::time::Duration;

use super::{AccountFacts, Code, Report};
use crate::api::Greeting;
use crate::api::credentials::Answering;
use crate::config::{AccountSettings, endpoint};
use crate::contract::{AccountName, Class, Evidence, ReadBack, Verdict};

/// Requests are good for so long before and after the API's own time.
const CLOCK_WINDOW: Duration = Duration::from_secs(15 * 60);
/// A clock that is kept by anything is closer.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);
const SET_CLOCK: &str = "start a time service on this machine: timedatectl set-ntp true";

pub fn judge(name: &AccountName, settings: &AccountSettings, facts: &AccountFacts, report: &mut Report) {
    let subject = format!("account {name}");
    let shown = settings.endpoint.as_deref().unwrap_or_default();
    let vendors = |url: &url::Url| url.host_str().is_some_and(|host| host.ends_with("aliyuncs.com"));
    if endpoint(shown).is_ok_and(|url| url.scheme() == "http" && vendors(&url)) {
        let (found, mend) =
            (format!("the endpoint is {shown}"), format!("write accounts.{name}.endpoint with https://"));
        report.find(Code::EndpointNotEncrypted, &subject, found, mend);
    }
    let clock = match &facts.greeting {
        Ok(greeting) => greeted(&subject, name, shown, greeting, report),
        Err(reason) => {
            let mend = format!("check accounts.{name}.endpoint, the network, proxy and DNS: curl -v {shown}");
            report.find(Code::EndpointUnreachable, &subject, format!("{shown}: {reason}"), mend);
            false
        }
    };
    match &facts.credential {
        Ok(answering) => held(&subject, answering, report),
        Err(error) => report.find(Code::CredentialMissing, &subject, error.to_string(), source(name)),
    }
    match &facts.query {
        Some(ReadBack::Listed { .. }) => report.check(format!("{subject}: the API accepts the access key")),
        Some(ReadBack::Failed(verdict)) => refused(&subject, name, settings, verdict, clock, report),
        None => {
            report.miss(format!("{subject}: whether the API accepts the access key"), "nobody could be asked", None)
        }
    }
    report.miss(format!("{subject}: the permission bss:ReleaseInstance"), "only a release would tell", None);
}

fn source(name: &AccountName) -> String {
    format!(
        "set ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET, or another source: accounts.{name}.credentials"
    )
}

/// Whether the clock is wrong.
fn greeted(subject: &str, name: &AccountName, shown: &str, greeting: &Greeting, report: &mut Report) -> bool {
    let Greeting { status, is_api, ahead } = greeting;
    if !is_api {
        let found = format!("{shown} answers with status {status} and without the API's RequestId");
        let mend =
            format!("set accounts.{name}.endpoint to business.aliyuncs.com or business.ap-southeast-1.aliyuncs.com");
        report.find(Code::EndpointNotTheApi, subject, found, mend);
    } else {
        report.check(format!("{subject}: {shown} is the API"));
    }
    let Some(ahead) = ahead else {
        report.miss(format!("{subject}: the clock"), "the endpoint's answer bears no Date", None);
        return false;
    };
    let off = ahead.at_least();
    let direction = if ahead.by.is_negative() { "behind" } else { "ahead of" };
    let found = || format!("this machine's clock is {off:.0?} {direction} the API's");
    let code = match off {
        off if off >= CLOCK_WINDOW => Code::ClockRefused,
        off if off >= CLOCK_TOLERANCE => Code::ClockOff,
        _ => {
            report.check(format!("{subject}: the clock agrees with the API's"));
            return false;
        }
    };
    report.find(code, subject, found(), SET_CLOCK.to_owned());
    true
}

fn held(subject: &str, answering: &Answering, report: &mut Report) {
    let Answering { source, credential, good_for } = answering;
    let life = good_for.map(|life| format!(", good for {} minutes, replaced before", life.as_secs() / 60));
    let life = life.unwrap_or_default();
    report.check(format!("{subject}: access key {} from {source}{life}", credential.access_key_id));
    if credential.security_token.is_some() && good_for.is_none() {
        let found = format!("access key {} from {source} is temporary", credential.access_key_id);
        let mend = "use a source that gives fresh keys: \"oidc\", \"ecs\", \"uri\", or a profile that takes on a role";
        report.find(Code::CredentialNotRefreshed, subject, found, mend.to_owned());
    }
}

fn refused(
    subject: &str,
    name: &AccountName,
    settings: &AccountSettings,
    verdict: &Verdict,
    clock: bool,
    report: &mut Report,
) {
    let evidence = verdict.evidence();
    let code = evidence.code.as_deref().unwrap_or_default();
    let begins = |beginnings: &[&str]| beginnings.iter().any(|beginning| code.starts_with(beginning));
    if begins(&["InvalidTimeStamp"]) {
        if !clock {
            report.find(Code::ClockRefused, subject, words(evidence), SET_CLOCK.to_owned());
        }
    } else if begins(&["SignatureDoesNotMatch", "IncompleteSignature", "InvalidAccessKeyId", "InvalidSecurityToken"])
        || begins(&["MissingSecurityToken", "MissingAccessKeyId"])
    {
        report.find(Code::CredentialRefused, subject, words(evidence), source(name));
    } else if begins(&["NoPermission", "NotAuthorized", "Forbidden"]) {
        // The gateway looks at the signature first.
        report.check(format!(
            "{subject}: the API accepts the access key; it may not query ({code}), which says nothing of releasing"
        ));
        if settings.read_back {
            let mend =
                format!("allow bss:QueryAvailableInstances to its user, or set accounts.{name}.read_back to false");
            report.find(Code::ReadBackNotPermitted, subject, words(evidence), mend);
        }
    } else if verdict.class() == Class::Account {
        let mend = format!("check the site that accounts.{name}.endpoint names, and that the account is a VNO's");
        report.find(Code::AccountRefused, subject, words(evidence), mend);
    } else {
        let what = format!("{subject}: whether the API accepts the access key");
        report.miss(what, format!("a query came to {}", words(evidence)), Some("try again in a minute"));
    }
}

fn words(evidence: &Evidence) -> String {
    let code = evidence.code.clone().unwrap_or_else(|| "no code".to_owned());
    match evidence.brief() {
        Some(message) => format!("{code}: {message}"),
        None => code,
    }
}
