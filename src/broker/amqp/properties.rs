//! A message of the contract, as lapin writes it, and back. Nothing here can fail: what AMQP can't carry is cut or
//! dropped, because a property must never cost the message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::contract::{BROKER_DELIVERY_LIMIT, Message, Properties, header};

const PERSISTENT: u8 = 2;
/// AMQP's limit for names and ids, in bytes. lapin panics above it.
const SHORT_STRING_BYTES: usize = 255;
/// What is carried over to a reply must fit into one frame beside the reply's own headers: above a frame's size the
/// broker ends the connection, again and again. None of ours is longer.
const LONGEST_HEADER_BYTES: usize = 4096;

/// The properties as AMQP carries them.
pub(super) fn outgoing(properties: &Properties) -> BasicProperties {
    let mut written =
        BasicProperties::default().with_delivery_mode(PERSISTENT).with_content_type(short("application/json"));
    if let Some(id) = &properties.message_id {
        written = written.with_message_id(short(id));
    }
    if let Some(id) = &properties.correlation_id {
        written = written.with_correlation_id(short(id));
    }
    if let Some(queue) = &properties.reply_to {
        written = written.with_reply_to(short(queue));
    }
    if let Some(kind) = &properties.kind {
        written = written.with_type(short(kind));
    }
    if let Some(seconds) = properties.timestamp {
        written = written.with_timestamp(seconds);
    }
    if !properties.headers.is_empty() {
        let mut headers = FieldTable::default();
        for (name, value) in &properties.headers {
            headers.insert(short(name), AMQPValue::LongString(value.as_str().into()));
        }
        written = written.with_headers(headers);
    }
    written
}

/// The message as the contract knows it. Headers that are long, or neither text nor a whole number, are dropped.
pub(super) fn incoming(body: Vec<u8>, properties: &BasicProperties) -> Message {
    let text = |value: &Option<ShortString>| value.as_ref().map(ToString::to_string);
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let properties = Properties {
        message_id: text(properties.message_id()),
        correlation_id: text(properties.correlation_id()),
        reply_to: text(properties.reply_to()),
        kind: text(properties.kind()),
        timestamp: *properties.timestamp(),
        headers: headers
            .into_iter()
            .flatten()
            .filter(|(name, _)| !is_note_of_the_broker(name.as_str()))
            .filter_map(|(name, value)| Some((name.to_string(), header_text(value)?)))
            .filter(|(_, text)| text.len() <= LONGEST_HEADER_BYTES)
            .chain(headers.map(wear).unwrap_or_default())
            .collect(),
    };
    Message { body, properties }
}

const DELIVERY_COUNT: &str = "x-delivery-count";
/// RabbitMQ 4.3 counts here what was handed out and given back, which its delivery count leaves out.
const ACQUIRED_COUNT: &str = "x-acquired-count";
const DEATHS: &str = "x-death";

/// What the broker writes on a message about its deliveries and moves is none of the message.
fn is_note_of_the_broker(header: &str) -> bool {
    header == DELIVERY_COUNT
        || header == ACQUIRED_COUNT
        || header == DEATHS
        || header.starts_with("x-first-death-")
        || header.starts_with("x-last-death-")
}

/// The headers of a dead letter, where the last thing that the broker did with the message was to take it out of a queue
/// whose delivery limit it had reached. Only RabbitMQ 4 says so in a header of its own; its list of deaths begins with the
/// last one in every version. In our own words, so that they stay when the letter is moved on.
fn wear(headers: &BTreeMap<ShortString, AMQPValue>) -> Vec<(String, String)> {
    let Some(AMQPValue::FieldArray(deaths)) = headers.get(DEATHS) else { return Vec::new() };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else { return Vec::new() };
    let reason = last.inner().get("reason").and_then(header_text);
    if reason.as_deref() != Some("delivery_limit") {
        return Vec::new();
    }
    let seconds = match last.inner().get("time") {
        Some(AMQPValue::Timestamp(seconds)) => i64::try_from(*seconds).ok(),
        _ => None,
    };
    let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let mut words = vec![(header::REASON.to_owned(), BROKER_DELIVERY_LIMIT.to_owned())];
    words.extend(time.map(|time| (header::LAST_FAILURE.to_owned(), time.to_string())));
    words
}

/// How often the broker says that it handed the message out before. RabbitMQ 3.10 counts from zero, 4.x leaves the
/// header out of a first delivery, and a classic queue only tells a first delivery from a later one.
pub(super) fn earlier_deliveries(properties: &BasicProperties, redelivered: bool) -> u64 {
    // On 4.x the count survives dead-lettering: on a first delivery it is of another queue, or a producer's.
    if !redelivered {
        return 0;
    }
    let headers = properties.headers().as_ref().map(FieldTable::inner);
    let counted = [DELIVERY_COUNT, ACQUIRED_COUNT]
        .into_iter()
        .filter_map(|name| whole_number(headers?.get(name)?))
        .filter_map(|count| u64::try_from(count).ok());
    counted.max().unwrap_or(0).max(1)
}

/// Cuts at 255 bytes, between two characters.
pub(super) fn short(text: &str) -> ShortString {
    let mut end = text.len().min(SHORT_STRING_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}

fn header_text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        number => whole_number(number).map(|number| number.to_string()),
    }
}

fn whole_number(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_back_as_it_went_out() {
        let message = Message {
            body: b"{}".to_vec(),
            properties: Properties {
                message_id: Some("job-1".to_owned()),
                correlation_id: Some("order-7".to_owned()),
                reply_to: Some("answers".to_owned()),
                kind: Some("release.job.v1".to_owned()),
                timestamp: Some(1_700_000_000),
                headers: BTreeMap::from([("traceparent".to_owned(), "00-ab-cd-01".to_owned())]),
            },
        };
        let written = outgoing(&message.properties);
        assert_eq!(*written.delivery_mode(), Some(2));
        assert_eq!(incoming(message.body.clone(), &written), message);
    }

    #[test]
    fn headers_that_are_long_or_of_other_types_are_dropped_and_numbers_become_text() {
        let mut headers = FieldTable::default();
        headers.insert("long".into(), AMQPValue::LongString("x".repeat(LONGEST_HEADER_BYTES + 1).into()));
        headers.insert("number".into(), AMQPValue::LongLongInt(-3));
        headers.insert("flag".into(), AMQPValue::Boolean(true));
        headers.insert("x-delivery-count".into(), AMQPValue::LongInt(2));
        headers.insert("x-acquired-count".into(), AMQPValue::LongInt(4));
        let properties = BasicProperties::default().with_headers(headers);
        let message = incoming(Vec::new(), &properties);
        assert_eq!(message.properties.headers.get("number").map(String::as_str), Some("-3"));
        assert_eq!(message.properties.headers.len(), 1);
        assert_eq!(earlier_deliveries(&properties, true), 4);
    }

    #[test]
    fn what_the_broker_notes_of_its_moves_is_dropped_but_for_a_delivery_limit_that_was_reached_last() {
        let death = |reason: &str| {
            let mut death = FieldTable::default();
            death.insert("reason".into(), AMQPValue::LongString(reason.into()));
            death.insert("time".into(), AMQPValue::Timestamp(60));
            AMQPValue::FieldTable(death)
        };
        let told = |deaths: &[&str]| {
            let mut headers = FieldTable::default();
            let deaths: Vec<AMQPValue> = deaths.iter().map(|reason| death(reason)).collect();
            headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
            headers.insert("x-first-death-reason".into(), AMQPValue::LongString("expired".into()));
            incoming(Vec::new(), &BasicProperties::default().with_headers(headers)).properties.headers
        };
        let worn_out = [(header::REASON, BROKER_DELIVERY_LIMIT), (header::LAST_FAILURE, "1970-01-01T00:01:00Z")];
        let worn_out = BTreeMap::from(worn_out.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(told(&["delivery_limit", "expired"]), worn_out);
        // Moved on by us, it says so still.
        let moved = Properties { headers: worn_out.clone(), ..Properties::default() };
        assert_eq!(incoming(Vec::new(), &outgoing(&moved)).properties.headers, worn_out);
        for deaths in [&["expired", "delivery_limit"][..], &["expired"], &[]] {
            assert_eq!(told(deaths), BTreeMap::new());
        }
    }

    #[test]
    fn a_redelivery_is_counted_where_the_broker_counts_none() {
        assert_eq!(earlier_deliveries(&BasicProperties::default(), false), 0);
        assert_eq!(earlier_deliveries(&BasicProperties::default(), true), 1);
    }

    #[test]
    fn a_property_that_is_too_long_is_cut_between_characters() {
        assert_eq!(short(&"é".repeat(200)).as_str(), "é".repeat(127));
    }
}
