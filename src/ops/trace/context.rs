//! W3C trace context, read from a message's headers and written into them. A job must never fail for its tracing: what is
//! malformed is as good as absent.

use std::collections::BTreeMap;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use crate::contract::header;

/// What W3C asks of whoever hands a `tracestate` on: so many bytes, so many members, and whole ones. Where it is too much the
/// long ones go first, then the last ones.
const STATE_BYTES: usize = 512;
const STATE_MEMBERS: usize = 32;
const LONG_MEMBER: usize = 128;

/// Names to values, as a message carries them.
pub type Headers = BTreeMap<String, String>;

/// The context that headers name; an empty one if they name none.
pub(super) fn read(headers: &Headers) -> Context {
    let nothing = Context::new();
    match headers.get(header::TRACEPARENT) {
        Some(text) if is_traceparent(text) => {
            let state = headers.get(header::TRACESTATE).map(|text| bounded_state(text));
            let reader = Reader { parent: text, state: state.as_deref() };
            TraceContextPropagator::new().extract_with_context(&nothing, &reader)
        }
        _ => nothing,
    }
}

/// Makes headers name a context, whatever they named before.
pub(super) fn write(context: &Context, headers: &mut Headers) {
    TraceContextPropagator::new().inject_context(context, &mut Writer(headers));
}

/// The headers of a job that is part of its caller's trace, where `TRACEPARENT` (and `TRACESTATE`) among these variables
/// say so: that is how OpenTelemetry hands a trace on to a command.
pub fn of_caller(variables: impl Iterator<Item = (String, String)>) -> Headers {
    let variables = variables.map(|(name, value)| (name.to_ascii_lowercase(), value));
    let given = variables.filter(|(name, _)| header::TRACE_CONTEXT.contains(&name.as_str())).collect();
    let mut headers = Headers::new();
    write(&read(&given), &mut headers);
    headers
}

/// The library reads numbers of any length. What is longer is of a later version, which may say more.
fn is_traceparent(text: &str) -> bool {
    let (fields, more) = text.split_at_checked(55).unwrap_or_default();
    let lengths = fields.split('-').map(str::len);
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte) || byte == b'-';
    let known = fields.starts_with("00");
    lengths.eq([2, 32, 16, 2]) && fields.bytes().all(hex) && (more.is_empty() || (more.starts_with('-') && !known))
}

/// As much of a `tracestate` as may be handed on.
fn bounded_state(text: &str) -> String {
    let members = || text.split(',').map(|member| member.trim_matches([' ', '\t'])).filter(|member| !member.is_empty());
    let joined = |members: &[&str]| members.iter().map(|member| member.len() + 1).sum::<usize>().saturating_sub(1);
    let mut kept: Vec<&str> = members().collect();
    if joined(&kept) > STATE_BYTES {
        kept.retain(|member| member.len() <= LONG_MEMBER);
    }
    kept.truncate(STATE_MEMBERS);
    while joined(&kept) > STATE_BYTES {
        kept.pop();
    }
    kept.join(",")
}

struct Reader<'a> {
    parent: &'a str,
    state: Option<&'a str>,
}

impl Extractor for Reader<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            header::TRACEPARENT => Some(self.parent),
            header::TRACESTATE => self.state,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        header::TRACE_CONTEXT.to_vec()
    }
}

struct Writer<'a>(&'a mut Headers);

impl Injector for Writer<'_> {
    /// An empty `tracestate` says nothing, and must not outlive the context that it belonged to.
    fn set(&mut self, key: &str, value: String) {
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TraceContextExt;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    fn headers(traceparent: &str, tracestate: &str) -> Headers {
        [(header::TRACEPARENT, traceparent), (header::TRACESTATE, tracestate)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    #[test]
    fn a_traceparent_names_its_trace_its_span_and_whether_it_is_sampled() {
        let cases = [
            (format!("00-{TRACE}-{SPAN}-01"), true),
            (format!("00-{TRACE}-{SPAN}-00"), false),
            // Flags of later days.
            (format!("00-{TRACE}-{SPAN}-ff"), true),
            // A later version, which may say more.
            (format!("01-{TRACE}-{SPAN}-01"), true),
            (format!("cc-{TRACE}-{SPAN}-01-what-the-future-brings"), true),
        ];
        for (text, sampled) in cases {
            let context = read(&headers(&text, "vendor=1,other=2"));
            let span = context.span().span_context().clone();
            assert_eq!(
                (span.trace_id().to_string(), span.span_id().to_string()),
                (TRACE.into(), SPAN.into()),
                "{text}"
            );
            assert_eq!((span.is_sampled(), span.is_remote()), (sampled, true), "{text}");
            assert_eq!(span.trace_state().header(), "vendor=1,other=2", "{text}");
        }
    }

    #[test]
    fn a_malformed_traceparent_is_as_good_as_none() {
        let cases = [
            String::new(),
            "00-ab-cd-01".to_owned(),
            "-".repeat(55),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("0-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}-{SPAN}-01-"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("01-{TRACE}-{SPAN}-01more"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}-0g"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-{}-01", SPAN.to_uppercase()),
            format!("00-+{}-{SPAN}-01", &TRACE[1..]),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}{SPAN}--01"),
            format!(" 00-{TRACE}-{SPAN}-01"),
            "é".repeat(28),
            "x".repeat(100_000),
        ];
        for text in cases {
            assert!(!read(&headers(&text, "vendor=1")).has_active_span(), "{text}");
        }
        assert!(!read(&Headers::new()).has_active_span());
    }

    #[test]
    fn a_malformed_tracestate_costs_itself_alone() {
        for text in ["", "novalue", "UPPER=1", "=1", ",,,", "\u{0}=\u{0}", "a=é"] {
            let context = read(&headers(&format!("00-{TRACE}-{SPAN}-01"), text));
            assert_eq!(context.span().span_context().trace_id().to_string(), TRACE, "{text}");
        }
    }

    #[test]
    fn a_tracestate_is_handed_on_in_whole_members_and_never_beyond_512_bytes() {
        let handed_on = |text: &str| {
            let context = read(&headers(&format!("00-{TRACE}-{SPAN}-01"), text));
            context.span().span_context().trace_state().header()
        };
        let member = |name: char, length: usize| format!("{name}={}", "v".repeat(length - 2));
        let (long, short, full) = (member('l', 129), member('s', 128), "abcd".chars().map(|name| member(name, 127)));
        let full = full.collect::<Vec<_>>().join(",");
        assert_eq!(full.len(), 511);
        let many = (0..40).map(|number| format!("m{number}=1")).collect::<Vec<_>>();
        let cases = [
            ("a=1, b=2 ,,\tc=3".to_owned(), "a=1,b=2,c=3".to_owned()),
            (full.clone(), full.clone()),
            // The long one goes, wherever it stands; without need it stays.
            (format!("{long},{full}"), full.clone()),
            (format!("{long},a=1"), format!("{long},a=1")),
            // Then the last ones.
            (format!("{full},{short},z=1"), full.clone()),
            (many.join(","), many[..32].join(",")),
            (member('x', 600), String::new()),
        ];
        for (text, expected) in cases {
            assert_eq!(handed_on(&text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_written_replaces_what_was_there() {
        let mut written = headers("nonsense", "old=1");
        write(&read(&headers(&format!("00-{TRACE}-{SPAN}-01"), "")), &mut written);
        assert_eq!(written, [(header::TRACEPARENT.to_owned(), format!("00-{TRACE}-{SPAN}-01"))].into());
    }

    #[test]
    fn a_command_hands_on_the_trace_of_its_caller_if_there_is_one() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let given = [
            variable("TRACEPARENT", &format!("00-{TRACE}-{SPAN}-01")),
            variable("TRACESTATE", "vendor=1"),
            variable("PATH", "/bin"),
        ];
        assert_eq!(of_caller(given.into_iter()), headers(&format!("00-{TRACE}-{SPAN}-01"), "vendor=1"));
        assert_eq!(of_caller([variable("TRACEPARENT", "nonsense")].into_iter()), Headers::new());
        assert_eq!(of_caller(std::iter::empty()), Headers::new());
    }
}
