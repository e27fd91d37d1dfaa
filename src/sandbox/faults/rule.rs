//! One rule on faults: which calls, and how they fail.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::http::HeaderValue;
use serde::{Deserialize, Serialize};

use super::super::call::Action;
use super::super::inventory::IdPattern;
use super::super::settings::InvalidSettings;
use super::super::{latency, one_line};

/// How calls fail, in one line `internal-error share=0.05 lands=true`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct FaultRule {
    /// What the caller sees.
    pub answer: FaultAnswer,
    /// Whether the call takes effect all the same.
    #[serde(default)]
    pub lands: bool,
    /// The share of calls that fail, 0 to 1, of those that the rule looks at: of its action and ids, in its time, not
    /// throttled, and not taken by a rule before it.
    #[serde(default = "all")]
    pub share: f64,
    /// Only every nth of them.
    #[serde(default = "each")]
    pub every: u64,
    /// Only calls that carry such an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<IdPattern>,
    /// From this long after the start, or the last reset.
    #[serde(default, with = "crate::config::duration")]
    pub from: Duration,
    /// Until this long after it.
    #[serde(default, with = "super::super::duration", skip_serializing_if = "Option::is_none")]
    pub until: Option<Duration>,
    #[serde(default)]
    pub action: Action,
    /// In place of the sandbox's own.
    #[serde(default, with = "super::super::duration", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Duration>,
    #[serde(default, with = "super::super::duration", skip_serializing_if = "Option::is_none")]
    pub latency_p99: Option<Duration>,
    /// Of `error`: its HTTP status. With 200 the body says that it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of `error`: its code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Of `error`: its message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Of `error`: the milliseconds to wait as they are written, so that nonsense can be rehearsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<String>,
    /// How long `hang` and `slow-body` take.
    #[serde(default = "a_minute", with = "crate::config::duration")]
    pub hang_for: Duration,
}

fn all() -> f64 {
    1.0
}

fn each() -> u64 {
    1
}

fn a_minute() -> Duration {
    Duration::from_secs(60)
}

/// What the caller of a call that fails sees. What `hang`, `slow-body`, `truncated` and `wrong-content-type` spoil is the
/// honest answer where the call lands, and else that of `internal-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultAnswer {
    /// What the API would say, after a latency of the rule's own. It always lands.
    Honest,
    /// An error with the rule's own status, code, message and time to wait. Below 500: not done.
    Error,
    /// 500 `InternalError`.
    InternalError,
    /// 503 `ServiceUnavailable`: not done.
    ServiceUnavailable,
    /// 200 `SYSTEM.CONCURRENT_OPERATE`: not done.
    ConcurrentOperate,
    /// 400 `Throttling.User`: not done.
    Throttled,
    /// 400 `InvalidSecurityToken.Expired`: not done.
    TokenExpired,
    /// 400 `InvalidAccessKeyId.Inactive`: not done.
    KeyInactive,
    /// An answer long after everybody's patience.
    Hang,
    /// The connection is reset (a TCP RST) without an answer.
    Reset,
    /// Half of a body, and the end of the connection.
    Truncated,
    /// 200 without a body.
    Empty,
    /// 200 with a page of HTML, as a captive portal answers.
    Html,
    /// 502 with a page of HTML, as a proxy answers.
    HtmlError,
    /// 200 with `Success: true` and `ReleaseResult: false`; of a query, with a count that its list is not as long as.
    Contradictory,
    /// 200 with `Success: false` and the code `Success`.
    FailureAsSuccess,
    /// What the API would say, but a success has the code `Invalid_Product_Code`, as in the vendor's own sample. It only
    /// lands.
    OddCode,
    /// 302 to elsewhere: not done.
    Redirect,
    /// A body that comes in small pieces.
    SlowBody,
    /// JSON that is called plain text.
    WrongContentType,
}

impl FaultRule {
    /// A rule that gives every call this answer.
    pub fn new(answer: FaultAnswer) -> Self {
        Self {
            answer,
            lands: false,
            share: all(),
            every: each(),
            ids: None,
            from: Duration::ZERO,
            until: None,
            action: Action::default(),
            latency: None,
            latency_p99: None,
            status: None,
            code: None,
            message: None,
            retry_after: None,
            hang_for: a_minute(),
        }
    }

    pub(in super::super) fn takes_effect(&self) -> bool {
        self.lands || self.answer == FaultAnswer::Honest
    }

    /// Whether the answer says, by the API's own rules, that nothing was done.
    fn denies_effect(&self) -> bool {
        use FaultAnswer::*;
        match self.answer {
            ServiceUnavailable | ConcurrentOperate | Throttled | TokenExpired | KeyInactive | Redirect => true,
            Error => self.status.is_none_or(|status| status < 500),
            Honest | InternalError | Hang | Reset | Truncated | Empty | Html | HtmlError | Contradictory => false,
            FailureAsSuccess | OddCode | SlowBody | WrongContentType => false,
        }
    }

    pub(super) fn check(&self, setting: &str) -> Result<(), InvalidSettings> {
        let demand = |met: bool, field: &str, problem: String| match met {
            true => Ok(()),
            false => Err(InvalidSettings::new(format!("{setting}.{field}"), problem)),
        };
        demand((0.0..=1.0).contains(&self.share), "share", format!("is {}: choose 0 to 1", self.share))?;
        demand(self.every > 0, "every", "is 0: choose 1 for each call, 2 for every second".to_owned())?;
        let is_error = self.answer == FaultAnswer::Error;
        let stray = [
            ("status", self.status.is_some()),
            ("code", self.code.is_some()),
            ("message", self.message.is_some()),
            ("retry_after", self.retry_after.is_some()),
        ];
        for (field, is_there) in stray {
            demand(is_error || !is_there, field, "goes with the answer error alone: remove it".to_owned())?;
        }
        let status = self.status.is_some_and(|status| status == 200 || (400..600).contains(&status));
        demand(!is_error || status, "status", "is missing or no error's: choose 200, or 400 to 599".to_owned())?;
        let code = self.code.as_ref().is_some_and(|code| !code.is_empty());
        demand(!is_error || code, "code", "is missing: write the error's code".to_owned())?;
        let in_header = self.retry_after.as_ref().is_none_or(|text| HeaderValue::try_from(text).is_ok());
        demand(in_header, "retry_after", "can't stand in a header: write visible characters".to_owned())?;
        let done = "must be true with odd-code: that answer says that it was done".to_owned();
        demand(self.lands || self.answer != FaultAnswer::OddCode, "lands", done)?;
        let told = format!("can't be true with {}: that answer says that nothing was done", self.answer);
        demand(!self.lands || !self.denies_effect(), "lands", told)?;
        let some_time = self.until.is_none_or(|until| until > self.from);
        demand(some_time, "until", "is not after from: the rule would never strike".to_owned())?;
        let slow = self.answer != FaultAnswer::Honest || self.latency.is_some();
        demand(slow, "latency", "is missing: without it an honest answer is no fault".to_owned())?;
        let own = self.latency.is_some() || self.latency_p99.is_none();
        demand(own, "latency", "is missing: latency_p99 needs it".to_owned())?;
        latency::check(&format!("{setting}.latency_p99"), self.latency.unwrap_or_default(), self.latency_p99)
    }
}

impl FromStr for FaultRule {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        one_line::parse("answer", &["lands", "share", "every", "status"], line)
    }
}

impl fmt::Display for FaultAnswer {
    /// As it is written in settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
