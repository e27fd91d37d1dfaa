//! Bad jobs: bodies that are no JSON, fields and ids that are wrong, and what becomes of each. It must not know a broker.

/// What becomes of a bad job. The words stand in its explanation.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// A dead letter with the original bytes, and no result.
    Malformed(&'static str),
    /// A result and a dead letter that is a job again.
    Invalid(&'static str),
    /// A result.
    Expired,
}

use Expected::{Expired, Invalid, Malformed};

/// A job of one id with one more field.
fn with(field: &str) -> Vec<u8> {
    format!(r#"{{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":["i-bad"],{field}}}"#).into()
}

/// A job with these ids, written as JSON.
pub fn of(ids: &str) -> Vec<u8> {
    format!(r#"{{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo","InstanceIds":{ids}}}"#).into()
}

/// A job with this product and this way of being paid for, written as JSON.
fn product(code: &str, subscription_type: &str) -> Vec<u8> {
    format!(r#"{{"ProductCode":{code},"SubscriptionType":{subscription_type},"InstanceIds":["i-bad"]}}"#).into()
}

fn utf16(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(order).collect()
}

/// Every bad job by a name of its own: its body, and what becomes of it.
pub fn cases() -> Vec<(&'static str, Vec<u8>, Expected)> {
    [not_json(), wrong_fields(), wrong_ids()].concat()
}

fn not_json() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let text = |text: &str| text.as_bytes().to_vec();
    let healthy = String::from_utf8(of(r#"["i-bad"]"#)).expect("text");
    vec![
        ("empty body", text(""), Malformed("the body is empty: send a JSON object")),
        ("white space", text(" \r\n\t"), Malformed("not a JSON object: send")),
        ("words", text("release i-bad please"), Malformed("not a JSON object: send")),
        ("null", text("null"), Malformed("not a JSON object: send")),
        ("true", text("true"), Malformed("not a JSON object: send")),
        ("number", text("42"), Malformed("not a JSON object: send")),
        ("string", text(r#""i-bad""#), Malformed("not a JSON object: send")),
        ("array", text("[]"), Malformed("not a JSON object: send")),
        ("array of jobs", text(&format!("[{healthy}]")), Malformed("not a JSON object: send")),
        ("array of values", text(r#"["j","ecs","PayAsYouGo",["i-bad"]]"#), Malformed("not a JSON object: send")),
        ("XML", text("<job><id>i-bad</id></job>"), Malformed("not a JSON object: send")),
        ("form", text("ProductCode=ecs&InstanceIds=i-bad"), Malformed("not a JSON object: send")),
        ("single quotes", text("{'ProductCode':'ecs'}"), Malformed("line 1 column 2")),
        ("trailing comma", with("").clone(), Malformed("trailing comma")),
        ("comment", text("{/* no */}"), Malformed("line 1 column 2")),
        ("cut off", healthy.as_bytes()[..healthy.len() - 2].to_vec(), Malformed("EOF while parsing")),
        ("trailing garbage", text(&format!("{healthy} x")), Malformed("send one JSON object and nothing after it")),
        ("two jobs", text(&format!("{healthy}\n{healthy}")), Malformed("send one JSON object and nothing after it")),
        ("NUL at the end", text(&format!("{healthy}\0")), Malformed("nothing after it")),
        ("NUL bytes", vec![0; 1000], Malformed("not a JSON object: send")),
        (
            "byte order mark",
            text(&format!("\u{feff}{healthy}")),
            Malformed("byte order mark: send the JSON without it"),
        ),
        ("UTF-16, little end first", utf16(&healthy, u16::to_le_bytes), Malformed("line 1 column 2")),
        ("UTF-16, big end first", utf16(&healthy, u16::to_be_bytes), Malformed("not a JSON object")),
        ("UTF-16 with its mark", utf16(&format!("\u{feff}{healthy}"), u16::to_le_bytes), Malformed("byte 0 is wrong")),
        ("invalid UTF-8", b"{\"ProductCode\":\"\xff\"}".to_vec(), Malformed("byte 16 is wrong): send JSON encoded as")),
        ("Latin-1", b"{\"ProductCode\":\"\xe9cs\"}".to_vec(), Malformed("not UTF-8")),
        ("overlong UTF-8", b"{\"ProductCode\":\"\xc0\xaf\"}".to_vec(), Malformed("not UTF-8")),
        ("compressed", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3], Malformed("not UTF-8")),
        ("100,000 brackets", "[".repeat(100_000).into(), Malformed("not a JSON object")),
        ("100,000 braces", r#"{"a":"#.repeat(100_000).into(), Malformed("unknown field `a`")),
        ("deep labels", with(&format!(r#""Labels":{{"a":{}"#, "[".repeat(100_000))), Malformed("Labels.a: ")),
        ("deep ids", of(&"[".repeat(100_000)), Malformed("InstanceIds[0]: ")),
        ("not a number", with(r#""DryRun":NaN"#), Malformed("DryRun: ")),
        ("infinity", with(r#""NotAfter":Infinity"#), Malformed("NotAfter: ")),
        ("huge number", with(r#""NotAfter":1e999"#), Malformed("NotAfter: ")),
        ("long number", with(&format!(r#""NotAfter":{}"#, "9".repeat(10_000))), Malformed("NotAfter: ")),
    ]
}

fn wrong_fields() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let labels = (0..33).map(|number| format!(r#""l{number}":"x""#)).collect::<Vec<_>>().join(",");
    let text = |text: &str| text.as_bytes().to_vec();
    vec![
        ("no fields", text("{}"), Malformed("InstanceIds: is missing")),
        (
            "no ids",
            text(r#"{"ProductCode":"ecs","SubscriptionType":"PayAsYouGo"}"#),
            Malformed("InstanceIds: is missing"),
        ),
        (
            "no product",
            text(r#"{"SubscriptionType":"PayAsYouGo","InstanceIds":["i-bad"]}"#),
            Malformed("ProductCode: is missing"),
        ),
        (
            "no subscription type",
            text(r#"{"ProductCode":"ecs","InstanceIds":["i-bad"]}"#),
            Malformed("SubscriptionType: is missing"),
        ),
        ("unknown field", with(r#""Force":true"#), Malformed("unknown field `Force`")),
        ("field in lower case", with(r#""region":"x""#), Malformed("unknown field `region`")),
        ("long unknown field", with(&format!(r#""{}":1"#, "x".repeat(100_000))), Malformed("unknown field `xxx")),
        ("field twice", with(r#""ProductCode":"rds""#), Malformed("duplicate field `ProductCode`")),
        ("ids twice", with(r#""InstanceIds":["i-worse"]"#), Malformed("duplicate field `InstanceIds`")),
        ("field twice, escaped", with(r#""\u0050roductCode":"rds""#), Malformed("duplicate field `ProductCode`")),
        ("product is a number", product("7", r#""PayAsYouGo""#), Malformed("ProductCode: invalid type")),
        ("product is null", product("null", r#""PayAsYouGo""#), Malformed("ProductCode: is missing")),
        ("product is empty", product(r#""""#, r#""PayAsYouGo""#), Malformed("ProductCode: ")),
        ("product smuggles a parameter", product(r#""ecs&Region=x""#, r#""PayAsYouGo""#), Malformed("ProductCode: ")),
        (
            "product is too long",
            product(&format!("{:?}", "x".repeat(65)), r#""PayAsYouGo""#),
            Malformed("must be 1 to 64 characters"),
        ),
        ("subscription type is unknown", product(r#""ecs""#, r#""Prepaid""#), Malformed("expected `Subscription`")),
        ("subscription type in lower case", product(r#""ecs""#, r#""payasyougo""#), Malformed("SubscriptionType: ")),
        ("subscription type is an object", product(r#""ecs""#, r#"{"a":1}"#), Malformed("SubscriptionType: ")),
        ("product type holds a space", with(r#""ProductType":"a b""#), Malformed("ProductType: ")),
        ("product type is an array", with(r#""ProductType":["a"]"#), Malformed("ProductType: invalid type")),
        ("region holds a line end", with(r#""Region":"cn-hangzhou\n""#), Malformed("Region: ")),
        ("region is a number", with(r#""Region":1"#), Malformed("Region: invalid type")),
        ("renew status is unknown", with(r#""RenewStatus":"Renew""#), Malformed("RenewStatus: unknown variant")),
        ("renew status is false", with(r#""RenewStatus":false"#), Malformed("RenewStatus: ")),
        ("dry run is text", with(r#""DryRun":"true""#), Malformed("DryRun: invalid type")),
        ("dry run is a number", with(r#""DryRun":1"#), Malformed("DryRun: invalid type")),
        ("not after is a word", with(r#""NotAfter":"tomorrow""#), Malformed("NotAfter: ")),
        ("not after is a date", with(r#""NotAfter":"2099-01-01""#), Malformed("NotAfter: ")),
        ("not after has no zone", with(r#""NotAfter":"2099-01-01T00:00:00""#), Malformed("NotAfter: ")),
        ("not after is a number", with(r#""NotAfter":4070908800"#), Malformed("NotAfter: ")),
        ("not after is no day", with(r#""NotAfter":"2099-02-30T00:00:00Z""#), Malformed("NotAfter: ")),
        ("not after is past", with(r#""NotAfter":"2020-01-01T00:00:00Z""#), Expired),
        ("not after is long past", with(r#""NotAfter":"-009000-01-01T00:00:00Z""#), Expired),
        ("job id is empty", with(r#""JobId":"""#), Malformed("JobId: must be 1 to 200 bytes")),
        (
            "job id is too long",
            with(&format!(r#""JobId":"{}""#, "x".repeat(201))),
            Malformed("JobId: must be 1 to 200"),
        ),
        ("job id holds a line end", with(r#""JobId":"a\nb""#), Malformed("JobId: ")),
        ("job id is a number", with(r#""JobId":7"#), Malformed("JobId: invalid type")),
        ("account is a bad name", with(r#""Account":"Production East""#), Malformed("1 to 32 characters of a-z")),
        ("account is empty", with(r#""Account":"""#), Malformed("Account: ")),
        ("account is a number", with(r#""Account":1"#), Malformed("Account: invalid type")),
        ("account is unknown", with(r#""Account":"nobody""#), Invalid("set accounts.nobody.endpoint")),
        ("labels are a list", with(r#""Labels":["a"]"#), Malformed("Labels: invalid type")),
        ("label is a number", with(r#""Labels":{"a":1}"#), Malformed("Labels.a: invalid type")),
        ("label has no name", with(r#""Labels":{"":"x"}"#), Malformed("Labels.: ")),
        ("label is too long", with(&format!(r#""Labels":{{"a":"{}"}}"#, "x".repeat(257))), Malformed("shorten it")),
        (
            "too many labels",
            with(&format!(r#""Labels":{{{labels}}}"#)),
            Malformed("Labels: has 33 entries: at most 32"),
        ),
        ("suspect of no job", with(r#""SuspectIds":["i-other"]"#), Malformed("SuspectIds: i-other is not among")),
    ]
}

fn wrong_ids() -> Vec<(&'static str, Vec<u8>, Expected)> {
    let many = |count: usize| {
        let ids: Vec<_> = (0..count).map(|number| format!("i-bad-{number}")).collect();
        of(&format!("{ids:?}"))
    };
    let padded = |bytes: usize| with(&format!(r#""Region":{}"x""#, " ".repeat(bytes)));
    vec![
        ("ids are null", of("null"), Malformed("InstanceIds: invalid type: null, expected an array of instance ids")),
        ("ids are an object", of(r#"{"0":"i-bad"}"#), Malformed("InstanceIds: invalid type: map")),
        ("ids are a number", of("1"), Malformed("InstanceIds: invalid type")),
        ("list is empty", of("[]"), Malformed("InstanceIds: is empty: name at least one id")),
        ("string is empty", of(r#""""#), Malformed("InstanceIds: is empty: name at least one id")),
        ("an id is empty", of(r#"["i-bad",""]"#), Malformed("InstanceIds[1]: an instance id is empty: remove it")),
        ("an id is null", of(r#"["i-bad",null]"#), Malformed("InstanceIds[1]: invalid type: null")),
        ("an id is a number", of(r#"["i-bad",7]"#), Malformed("InstanceIds[1]: invalid type")),
        ("an id is a list", of(r#"[["i-bad"]]"#), Malformed("InstanceIds[0]: invalid type")),
        ("an id is an object", of(r#"[{"Id":"i-bad"}]"#), Malformed("InstanceIds[0]: invalid type")),
        ("comma in an id", of(r#"["i-bad,i-worse"]"#), Malformed("holds a comma: write each id as an element")),
        ("comma at the end", of(r#"["i-bad,"]"#), Malformed("holds a comma")),
        ("line end in an id", of(r#"["i-bad\n"]"#), Malformed("InstanceIds[0]: ")),
        ("space before an id", of(r#"[" i-bad"]"#), Malformed("without white space")),
        ("space in an id", of(r#"["i- bad"]"#), Malformed("without white space")),
        ("tab in an id", of(r#"["i-\tbad"]"#), Malformed("without white space")),
        ("zero-width space in an id", of("[\"i-\u{200b}bad\"]"), Malformed("visible ASCII")),
        ("no-break space in an id", of("[\"i-bad\u{a0}\"]"), Malformed("visible ASCII")),
        ("wide comma in an id", of("[\"i-bad，i-worse\"]"), Malformed("visible ASCII")),
        ("right-to-left mark in an id", of("[\"i-\u{202e}bad\"]"), Malformed("visible ASCII")),
        ("NUL in an id", of(r#"["i-\u0000bad"]"#), Malformed("control characters")),
        ("escape in an id", of(r#"["i-\u001bbad"]"#), Malformed("control characters")),
        ("DEL in an id", of("[\"i-\u{7f}bad\"]"), Malformed("control characters")),
        ("raw control character", of("[\"i-\u{1}bad\"]"), Malformed("control character")),
        ("half of a pair", of(r#"["i-\ud800bad"]"#), Malformed("InstanceIds[0]: ")),
        ("an id is too long", of(&format!("[{:?}]", "x".repeat(129))), Malformed("longer than 128 bytes")),
        ("an id of 100 kB", of(&format!("[{:?}]", "x".repeat(100_000))), Malformed("longer than 128 bytes")),
        ("an id twice", of(r#"["i-bad","i-b","i-bad"]"#), Malformed("InstanceIds[2]: i-bad stands in the job twice")),
        ("an id twice, escaped", of(r#"["i-bad","\u0069-bad"]"#), Malformed("list each id once")),
        ("string with an empty id", of(r#""i-bad,,i-b""#), Malformed("element 1: an instance id is empty")),
        ("string with spaces", of(r#""i-bad, i-b""#), Malformed("element 1: the instance id")),
        ("string that ends in a comma", of(r#""i-bad,""#), Malformed("element 1: an instance id is empty")),
        ("10,001 ids", many(10_001), Invalid("10001 ids are more than worker.max_ids_per_job, 10000: split the job")),
        ("a byte too many", padded(4 * 1024 * 1024), Malformed("worker.max_message_bytes is 4194304: split the job")),
        ("20 MB", padded(20_000_000), Malformed("worker.max_message_bytes is 4194304: split the job")),
    ]
}
