//! From the answer to a query to the ids that the account still lists. That an id is missing is half of the proof that it is
//! released, so anything short of a whole listing, and any doubt about it, is a failed query.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use super::ErrorTable;
use super::answer::{Raw, envelope, evidence, pause, refused, succeeded, without_envelope};
use crate::contract::{Batch, Class, Evidence, InstanceId, ReadBack, Verdict};

/// What a query came to.
#[derive(Debug, Clone)]
pub struct Listing {
    pub read_back: ReadBack,
    /// How long the server wants queries to pause.
    pub pause: Option<Duration>,
}

/// Reads the answer to a query for the ids of a batch.
pub(super) fn read(raw: Raw<'_>, batch: &Batch, table: &ErrorTable) -> Listing {
    let pause = pause(raw);
    Listing { read_back: read_back(raw, batch, table, pause.is_some()), pause }
}

fn read_back(raw: Raw<'_>, batch: &Batch, table: &ErrorTable, paused: bool) -> ReadBack {
    let Some(envelope) = envelope(raw) else {
        return ReadBack::Failed(without_envelope(raw));
    };
    let evidence = evidence(&envelope);
    if !succeeded(raw, &envelope) {
        return ReadBack::Failed(refused(raw.status, evidence, table, paused));
    }
    match listed(&envelope, batch) {
        Ok(ids) => ReadBack::Listed { ids, evidence: Arc::new(evidence) },
        Err(problem) => {
            let words = Evidence::words("UnusableListing", problem);
            ReadBack::Failed(Verdict::of(Class::Unknown, Evidence { request_id: evidence.request_id, ..words }))
        }
    }
}

fn listed(envelope: &Map<String, Value>, batch: &Batch) -> Result<HashSet<InstanceId>, &'static str> {
    let data = envelope.get("Data").and_then(Value::as_object).ok_or("the answer has no Data")?;
    let list = data.get("InstanceList").and_then(Value::as_array).ok_or("the answer has no InstanceList")?;
    // One id may stand for instances of several products; then there may be more than a page holds.
    let total = data.get("TotalCount").and_then(Value::as_u64).ok_or("the answer has no TotalCount")?;
    if total != list.len() as u64 {
        return Err("TotalCount is not the length of InstanceList: there may be more");
    }
    let asked: HashSet<_> = batch.ids().iter().collect();
    let mut ids = HashSet::with_capacity(list.len());
    for instance in list {
        let id = instance.get("InstanceID").and_then(Value::as_str).and_then(|text| InstanceId::new(text).ok());
        let id = id.ok_or("an instance of the list has no InstanceID")?;
        if !asked.contains(&id) {
            return Err("the list holds an instance that was not asked about: the filter did not work");
        }
        ids.insert(id);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::contract::{AccountName, GroupKey, SubscriptionType, Token};

    fn batch() -> Batch {
        let group = GroupKey {
            account: AccountName::default(),
            product_code: Token::new("ecs").unwrap(),
            subscription_type: SubscriptionType::PayAsYouGo,
            product_type: None,
            region: None,
            renew_status: None,
        };
        Batch::new(group.into(), ["i-1", "i-2"].map(|id| InstanceId::new(id).unwrap()).into()).unwrap()
    }

    fn answer(status: u16, body: &str, whole: bool) -> ReadBack {
        let raw =
            Raw { status, retry_after_milliseconds: None, retry_after_seconds: None, body: body.as_bytes(), whole };
        read(raw, &batch(), &ErrorTable::new(&BTreeMap::new())).read_back
    }

    fn data(data: &str) -> String {
        format!(r#"{{"Code":"Success","Success":true,"RequestId":"A","Data":{data}}}"#)
    }

    #[test]
    fn a_whole_listing_tells_which_ids_are_there() {
        for (list, total, expected) in [("", 0, vec![]), (r#"{"InstanceID":"i-2","Status":"Normal"}"#, 1, vec!["i-2"])]
        {
            let body = data(&format!(r#"{{"InstanceList":[{list}],"PageNum":1,"PageSize":100,"TotalCount":{total}}}"#));
            let ReadBack::Listed { ids, evidence } = answer(200, &body, true) else { panic!("{body}") };
            assert_eq!(ids.iter().map(InstanceId::as_str).collect::<Vec<_>>(), expected);
            assert_eq!(evidence.request_id.as_deref(), Some("A"));
        }
    }

    #[test]
    fn anything_less_than_a_whole_listing_tells_nothing() {
        let whole = data(r#"{"InstanceList":[],"TotalCount":0}"#);
        let cases = [
            (200, whole.replace("true", "false"), true, "unknown"),
            (200, whole.replace("true", r#""true""#), true, "unknown"),
            (500, whole.clone(), true, "unknown"),
            (302, whole.clone(), true, "unknown"),
            (200, whole, false, "unknown"),
            (200, data(r#"{"InstanceList":[],"TotalCount":1}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":[{"InstanceID":"i-1"}],"TotalCount":0}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":[]}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":[],"TotalCount":"0"}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":null,"TotalCount":0}"#), true, "unknown"),
            (200, data(r#"{"TotalCount":0}"#), true, "unknown"),
            (200, data("null"), true, "unknown"),
            (200, data(r#"{"InstanceList":[{"InstanceId":"i-1"}],"TotalCount":1}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":[{"InstanceID":"i-3"}],"TotalCount":1}"#), true, "unknown"),
            (200, data(r#"{"InstanceList":[null],"TotalCount":1}"#), true, "unknown"),
            (200, String::new(), true, "unknown"),
            (200, "<html>".to_owned(), true, "unknown"),
            (400, r#"{"Code":"NoPermission","Message":"m"}"#.to_owned(), true, "account"),
            (400, r#"{"Code":"Throttling.User","Message":"m"}"#.to_owned(), true, "throttled"),
            (503, r#"{"Code":"ServiceUnavailable","Message":"m"}"#.to_owned(), true, "transient"),
        ];
        for (status, body, complete, class) in cases {
            let ReadBack::Failed(verdict) = answer(status, &body, complete) else { panic!("{status} {body}") };
            assert_eq!(verdict.class().as_str(), class, "{status} {body}");
        }
    }

    #[test]
    fn a_pause_that_the_server_asks_for_is_told() {
        let body = br#"{"Code":"Throttling.User","Message":"m"}"#;
        let raw =
            Raw { status: 400, retry_after_milliseconds: None, retry_after_seconds: Some("7"), body, whole: true };
        let listing = read(raw, &batch(), &ErrorTable::new(&BTreeMap::new()));
        assert_eq!(listing.pause, Some(Duration::from_secs(7)));
    }
}
