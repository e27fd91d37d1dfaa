//! A job: what a producer asks for. Parsing refuses whatever could be a typo, since a release can't be undone.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de};

use super::{AccountName, GroupKey, InstanceId, JobId, Priority, RenewStatus, SubscriptionType, Token};

/// AMQP's `type` of a job.
pub const KIND: &str = "release.job.v1";

const MAX_LABELS: usize = 32;

/// A valid job: at least one id, none twice, all of one group.
#[derive(Debug, Clone)]
pub struct Job {
    pub id: JobId,
    pub group: GroupKey,
    pub ids: Vec<InstanceId>,
    /// Ids of this job that an earlier call may have released already; a dead letter says so to its replay.
    pub suspects: HashSet<InstanceId>,
    pub dry_run: bool,
    pub not_after: Option<Timestamp>,
    pub priority: Priority,
    pub labels: BTreeMap<String, String>,
}

/// Why a body is no job. The text names the field and the fix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedJob {
    #[error("the body is empty: send a JSON object with ProductCode, SubscriptionType and InstanceIds")]
    Empty,
    #[error("the body is not UTF-8 (byte {0} is wrong): send JSON encoded as UTF-8")]
    Encoding(usize),
    #[error("the body starts with a byte order mark: send the JSON without it")]
    ByteOrderMark,
    #[error("the body is no job: {0}")]
    Json(String),
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

impl MalformedJob {
    pub(super) fn field(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Field { field: field.into(), problem: problem.into() }
    }

    /// The same of a job that is part of something larger.
    pub(super) fn within(self, whole: &str) -> Self {
        match self {
            Self::Field { field, problem } => Self::Field { field: format!("{whole}.{field}"), problem },
            other => other,
        }
    }
}

/// A job as it stands on the wire, names as the API writes them.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default, expecting = "a job: a JSON object")]
pub(super) struct Wire {
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    product_code: Option<Token>,
    subscription_type: Option<SubscriptionType>,
    #[serde(deserialize_with = "instance_ids")]
    instance_ids: Option<Vec<InstanceId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    product_type: Option<Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    region: Option<Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renew_status: Option<RenewStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<AccountName>,
    // Not null: whoever writes the field must say which it is.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "stated")]
    dry_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Priority::is_normal")]
    priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suspect_ids: Option<Vec<InstanceId>>,
}

impl Job {
    /// Reads a job from a message's body. `message_id` names the job where the body doesn't.
    pub fn parse(body: &[u8], message_id: Option<&str>) -> Result<Self, MalformedJob> {
        let text = text(body)?;
        let wire: Wire = serde_json::from_str(text).map_err(|_| explain::<Wire>(text))?;
        Self::from_wire(wire, || {
            let named = message_id.and_then(|id| JobId::new(id).ok());
            Ok(named.unwrap_or_else(|| JobId::of_body(body)))
        })
    }

    pub(super) fn from_wire(
        wire: Wire,
        unnamed: impl FnOnce() -> Result<JobId, MalformedJob>,
    ) -> Result<Self, MalformedJob> {
        let missing = |field: &str| MalformedJob::field(field, "is missing: every job needs it");
        let ids = wire.instance_ids.ok_or_else(|| missing("InstanceIds"))?;
        if ids.is_empty() {
            return Err(MalformedJob::field("InstanceIds", "is empty: name at least one id"));
        }
        let mut seen = HashSet::with_capacity(ids.len());
        if let Some((index, id)) = ids.iter().enumerate().find(|(_, id)| !seen.insert(id.as_str())) {
            return Err(MalformedJob::field(
                format!("InstanceIds[{index}]"),
                format!("{id} stands in the job twice: list each id once"),
            ));
        }
        let suspects = wire.suspect_ids.unwrap_or_default();
        if let Some(id) = suspects.iter().find(|id| !seen.contains(id.as_str())) {
            return Err(MalformedJob::field("SuspectIds", format!("{id} is not among InstanceIds: remove it")));
        }
        let labels = wire.labels.unwrap_or_default();
        check_labels(&labels)?;
        Ok(Self {
            id: match wire.job_id {
                Some(text) => JobId::new(&text).map_err(|problem| MalformedJob::field("JobId", problem))?,
                None => unnamed()?,
            },
            group: GroupKey {
                account: wire.account.unwrap_or_default(),
                product_code: wire.product_code.ok_or_else(|| missing("ProductCode"))?,
                subscription_type: wire.subscription_type.ok_or_else(|| missing("SubscriptionType"))?,
                product_type: wire.product_type,
                region: wire.region,
                renew_status: wire.renew_status,
            },
            suspects: suspects.into_iter().collect(),
            dry_run: wire.dry_run.unwrap_or(false),
            not_after: wire.not_after,
            priority: wire.priority,
            labels,
            ids,
        })
    }

    /// The same job for some of its ids: a body that any client may send to the jobs queue again.
    pub fn narrowed(&self, ids: &[InstanceId], suspects: &[InstanceId]) -> Vec<u8> {
        serde_json::to_vec(&self.wire(ids, suspects)).expect("strings, numbers and string maps always serialise")
    }

    pub(super) fn wire(&self, ids: &[InstanceId], suspects: &[InstanceId]) -> Wire {
        let group = &self.group;
        Wire {
            job_id: Some(self.id.as_str().to_owned()),
            product_code: Some(group.product_code.clone()),
            subscription_type: Some(group.subscription_type),
            instance_ids: Some(ids.to_vec()),
            product_type: group.product_type.clone(),
            region: group.region.clone(),
            renew_status: group.renew_status,
            account: Some(group.account.clone()),
            dry_run: self.dry_run.then_some(true),
            not_after: self.not_after,
            priority: self.priority,
            labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
            suspect_ids: (!suspects.is_empty()).then(|| suspects.to_vec()),
        }
    }

    /// The whole job as a body.
    pub fn to_body(&self) -> Vec<u8> {
        let suspects: Vec<_> = self.ids.iter().filter(|id| self.suspects.contains(*id)).cloned().collect();
        self.narrowed(&self.ids, &suspects)
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), MalformedJob> {
    if labels.len() > MAX_LABELS {
        return Err(MalformedJob::field("Labels", format!("has {} entries: at most {MAX_LABELS}", labels.len())));
    }
    match labels.iter().find(|(key, value)| key.is_empty() || key.len() > 64 || value.len() > 256) {
        Some((key, _)) => Err(MalformedJob::field(
            format!("Labels.{}", key.chars().take(64).collect::<String>()),
            "a label's name has 1 to 64 bytes and its value at most 256: shorten it",
        )),
        None => Ok(()),
    }
}

/// The body as the text of a JSON object.
pub(super) fn text(body: &[u8]) -> Result<&str, MalformedJob> {
    if body.is_empty() {
        return Err(MalformedJob::Empty);
    }
    let text = std::str::from_utf8(body).map_err(|error| MalformedJob::Encoding(error.valid_up_to()))?;
    if text.starts_with('\u{feff}') {
        return Err(MalformedJob::ByteOrderMark);
    }
    // A derived parser would take an array as the fields in their order: too easy to get wrong for a release.
    if !text.trim_start().starts_with('{') {
        return Err(MalformedJob::Json("it is not a JSON object: send {\"ProductCode\": ...}".to_owned()));
    }
    Ok(text)
}

/// Parses again, slowly, to say where the problem is.
pub(super) fn explain<'a, T: Deserialize<'a>>(text: &'a str) -> MalformedJob {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    match serde_path_to_error::deserialize::<_, T>(&mut deserializer) {
        Ok(_) => match deserializer.end() {
            Ok(()) => MalformedJob::Json("the body can't be read: send one JSON object".to_owned()),
            Err(error) => MalformedJob::Json(format!("{error}: send one JSON object and nothing after it")),
        },
        Err(error) => {
            let path = error.path().to_string();
            let problem = bounded(&error.into_inner().to_string());
            if path == "." || path.contains('?') {
                MalformedJob::Json(problem)
            } else {
                MalformedJob::field(bounded(&path), problem)
            }
        }
    }
}

/// Error texts travel in headers, so a hostile field name must not make them long.
fn bounded(text: &str) -> String {
    const LONGEST: usize = 400;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("...".chars()).collect()
    }
}

fn stated<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    bool::deserialize(deserializer).map(Some)
}

/// `InstanceIds` as an array, or as the API's comma-separated string.
fn instance_ids<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<InstanceId>>, D::Error> {
    struct Ids;
    impl<'de> de::Visitor<'de> for Ids {
        type Value = Option<Vec<InstanceId>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array of instance ids, or one string of them with commas between")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            if text.is_empty() {
                return Ok(Some(Vec::new()));
            }
            text.split(',')
                .enumerate()
                .map(|(index, id)| InstanceId::new(id).map_err(|error| E::custom(format!("element {index}: {error}"))))
                .collect::<Result<_, _>>()
                .map(Some)
        }

        fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
            let mut ids = Vec::new();
            while let Some(id) = sequence.next_element()? {
                ids.push(id);
            }
            Ok(Some(ids))
        }
    }
    deserializer.deserialize_any(Ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_job_is_taken_and_named_by_its_message_or_its_bytes() {
        let body = br#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-2"]}"#;
        let named = Job::parse(body, Some("order-7")).unwrap();
        assert_eq!(named.id.as_str(), "order-7");
        assert_eq!(named.ids.len(), 2);
        assert_eq!(named.group.account, AccountName::default());
        let unnamed = Job::parse(body, None).unwrap();
        assert_eq!(unnamed.id, Job::parse(body, None).unwrap().id);
    }

    #[test]
    fn ids_may_stand_in_the_comma_string_of_the_api() {
        let body = br#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":"i-1,i-2,i-3"}"#;
        assert_eq!(Job::parse(body, None).unwrap().ids.len(), 3);
    }

    #[test]
    fn a_job_survives_being_written_and_read_again() {
        let body = br#"{"JobId":"a","ProductCode":"ecs","SubscriptionType":"Subscription","InstanceIds":["i-1","i-2"],
            "ProductType":"t","Region":"cn-hangzhou","RenewStatus":"NotRenewal","Account":"vno","DryRun":true,
            "NotAfter":"2030-01-01T00:00:00Z","Priority":"high","Labels":{"team":"x"},"SuspectIds":["i-2"]}"#;
        let job = Job::parse(body, None).unwrap();
        let again = Job::parse(&job.to_body(), None).unwrap();
        assert_eq!(format!("{job:?}"), format!("{again:?}"));
    }

    #[test]
    fn a_malformed_job_is_refused_with_the_field_and_the_fix() {
        let ok = |more: &str| {
            format!(r#"{{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]{more}}}"#)
        };
        let cases: Vec<(String, &str)> = vec![
            (String::new(), "empty"),
            ("nonsense".into(), "no job"),
            ("[]".into(), "not a JSON object"),
            (r#"["j","ecs","PayAsYouGo",["i-1"]]"#.into(), "not a JSON object"),
            ("\u{feff}{}".into(), "byte order mark"),
            ("{}".into(), "InstanceIds: is missing"),
            (r#"{"InstanceIds":["i-1"],"SubscriptionType":"PayAsYouGo"}"#.into(), "ProductCode: is missing"),
            (r#"{"InstanceIds":["i-1"],"ProductCode":"ecs"}"#.into(), "SubscriptionType: is missing"),
            (ok(r#","Dryrun":true"#), "unknown field `Dryrun`"),
            (ok(r#","DryRun":"yes""#), "DryRun: "),
            (ok(r#","DryRun":null"#), "DryRun: "),
            (ok(r#","Region":"cn hangzhou""#), "Region: "),
            (ok(r#","RenewStatus":"Renew""#), "RenewStatus: "),
            (ok(r#","NotAfter":"tomorrow""#), "NotAfter: "),
            (ok(r#","Account":"No Such""#), "Account: "),
            (
                ok(r#","Priority":"urgent""#),
                "Priority: unknown variant `urgent`, expected one of `high`, `normal`, `low`",
            ),
            (ok(r#","Priority":null"#), "Priority: "),
            (ok(r#","JobId":"""#), "JobId: "),
            (ok(r#","Labels":{"":"x"}"#), "Labels."),
            (ok(r#","Labels":{"a":1}"#), "Labels.a: "),
            (ok(r#","SuspectIds":["i-2"]"#), "SuspectIds: "),
            (ok(r#","ProductCode":"ecs""#), "duplicate field `ProductCode`"),
            (ok("} trailing"), "nothing after it"),
            (
                r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":[]}"#.into(),
                "InstanceIds: is empty",
            ),
            (
                r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":""}"#.into(),
                "InstanceIds: is empty",
            ),
            (
                r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","i-1"]}"#.into(),
                "InstanceIds[1]: i-1 stands in the job twice",
            ),
            (
                r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1","a,b"]}"#.into(),
                "InstanceIds",
            ),
            (
                r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":"i-1,,i-2"}"#.into(),
                "element 1: an instance id is empty",
            ),
            (r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-1",7]}"#.into(), "InstanceIds"),
            (r#"{"ProductCode":7,"SubscriptionType":"PayAsYouGo","InstanceIds":["i-1"]}"#.into(), "ProductCode: "),
            ("[".repeat(100_000), "no job"),
            (format!(r#"{{"ProductCode":"ecs","x":{}"#, "[".repeat(100_000)), "unknown field"),
        ];
        for (body, expected) in cases {
            let error = Job::parse(body.as_bytes(), None).expect_err(&body).to_string();
            assert!(error.contains(expected), "{body:.80}: {error}");
            assert!(error.len() < 1000, "{body:.80}: {} bytes of error", error.len());
        }
        assert_eq!(Job::parse(b"{\"a\":\"\xff\"}", None).unwrap_err(), MalformedJob::Encoding(6));
    }
}
