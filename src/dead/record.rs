//! A message as one line of JSON, byte for byte: what `export` writes and `import` reads.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::contract::{Message, Properties};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Line {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<String>,
    #[serde(default, rename = "Type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    /// The body where it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The body where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// More headers than this are more than AMQP can carry beside what else stands there: the broker would end the connection.
const MOST_HEADER_BYTES: usize = 120_000;

/// The line, without its end.
pub fn write(message: Message) -> serde_json::Result<String> {
    let Properties { message_id, correlation_id, reply_to, kind, timestamp, headers } = message.properties;
    let (body, body_base64) = match String::from_utf8(message.body) {
        Ok(text) => (Some(text), None),
        Err(bytes) => (None, Some(STANDARD.encode(bytes.as_bytes()))),
    };
    serde_json::to_string(&Line { message_id, correlation_id, reply_to, kind, timestamp, headers, body, body_base64 })
}

pub fn read(line: &str) -> Result<Message, String> {
    let line: Line = serde_json::from_str(line).map_err(|error| format!("{error}: write lines as `export` does"))?;
    let Line { message_id, correlation_id, reply_to, kind, timestamp, headers, body, body_base64 } = line;
    if headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > MOST_HEADER_BYTES {
        return Err(format!("its headers have more than {MOST_HEADER_BYTES} bytes: no broker takes them"));
    }
    let body = match (body, body_base64) {
        (Some(text), None) => text.into_bytes(),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| format!("BodyBase64: {error}"))?,
        _ => return Err("it needs one of Body and BodyBase64".to_owned()),
    };
    Ok(Message { body, properties: Properties { message_id, correlation_id, reply_to, kind, timestamp, headers } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead::letter::tests::dead;

    #[test]
    fn a_message_comes_back_byte_for_byte() {
        let mut bytes = dead("j", &["i-1"], "c", "quotes \" and\nlines \u{1f680}");
        bytes.body = vec![0xff, 0, b'{'];
        let text = dead("j", &["i-1"], "c", "e");
        for message in [bytes, text, Message::default()] {
            let line = write(message.clone()).unwrap();
            assert!(!line.contains('\n'), "{line}");
            assert_eq!(read(&line).unwrap(), message);
        }
    }

    #[test]
    fn a_line_that_says_too_little_or_too_much_is_refused() {
        for line in
            ["", "{}", "[]", r#"{"Body":"a","BodyBase64":"YQ=="}"#, r#"{"BodyBase64":"?"}"#, r#"{"Body":"a","X":1}"#]
        {
            assert!(read(line).is_err(), "{line}");
        }
        let long = "x".repeat(MOST_HEADER_BYTES);
        assert!(read(&format!(r#"{{"Body":"a","Headers":{{"h":"{long}"}}}}"#)).is_err());
    }
}
