//! The percent-encoding that both signatures are computed over. It differs from what travels: clients write a space as
//! `+`, or leave `*!()` as they are, so whoever verifies decodes first and encodes again.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// A decoded parameter: its name and its value.
pub type Parameter<'a> = (Cow<'a, str>, Cow<'a, str>);

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The parameters of a query or a form as it travels.
pub fn decode(wire: &[u8]) -> impl Iterator<Item = Parameter<'_>> {
    url::form_urlencoded::parse(wire)
}

/// The parameters sorted by name, encoded and joined; it is a valid query too.
pub fn canonical_query<'a>(parameters: impl IntoIterator<Item = &'a Parameter<'a>>) -> String {
    let mut sorted: Vec<_> = parameters.into_iter().collect();
    sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut query =
        String::with_capacity(sorted.iter().map(|(name, value)| name.len() + value.len() * 3 / 2 + 2).sum());
    for (name, value) in sorted {
        if !query.is_empty() {
            query.push('&');
        }
        encode_into(&mut query, name);
        query.push('=');
        encode_into(&mut query, value);
    }
    query
}

pub(super) fn encode_into(target: &mut String, text: &str) {
    target.extend(utf8_percent_encode(text, RESERVED));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_sorted_by_name_and_encoded_byte_by_byte() {
        let parameters = [("b", "x y+*~"), ("a", ""), ("B", "实,/")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(canonical_query(&parameters), "B=%E5%AE%9E%2C%2F&a=&b=x%20y%2B%2A~");
    }

    #[test]
    fn a_plus_on_the_wire_is_a_space_and_an_encoded_plus_a_plus() {
        assert_eq!(
            decode(b"k=a+b%20c%2Bd&e=&f").collect::<Vec<_>>(),
            [("k".into(), "a b c+d".into()), ("e".into(), "".into()), ("f".into(), "".into())]
        );
    }
}
