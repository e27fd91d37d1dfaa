//! What each error code of the API means. Data that the settings extend: the vendor's full list is not public.
//!
//! Source: the error pages of BssOpenApi and of the RPC gateway. Classification goes by `Code`, never by HTTP status:
//! throttling arrives as 400.

use std::collections::BTreeMap;

use crate::config::ErrorClass;

/// A code or, with a `*` at the end, a prefix; and its class. The longest match wins.
const LISTED: &[(&str, ErrorClass)] = &[
    ("Throttling*", ErrorClass::Throttled),
    ("Rejected.Throttling", ErrorClass::Throttled),
    ("ServiceUnavailable", ErrorClass::Transient),
    ("SYSTEM.CONCURRENT_OPERATE", ErrorClass::Transient),
    ("InternalError", ErrorClass::Unknown),
    // A request with this nonce was seen before: an earlier copy may have landed.
    ("SignatureNonceUsed", ErrorClass::Unknown),
    ("InvalidTimeStamp*", ErrorClass::Account),
    ("SignatureDoesNotMatch", ErrorClass::Account),
    ("IncompleteSignature", ErrorClass::Account),
    ("InvalidAccessKeyId*", ErrorClass::Account),
    ("InvalidSecurityToken*", ErrorClass::Account),
    ("NotAuthorized*", ErrorClass::Account),
    ("NoPermission*", ErrorClass::Account),
    ("Forbidden*", ErrorClass::Account),
    ("NotApplicable", ErrorClass::Account),
    ("MissingSecurityToken", ErrorClass::Account),
    ("MissingAccessKeyId", ErrorClass::Account),
    // Our own request line is wrong, or the endpoint: no job is to blame.
    ("MissingAction", ErrorClass::Account),
    ("MissingVersion", ErrorClass::Account),
    ("MissingTimestamp", ErrorClass::Account),
    ("InvalidVersion", ErrorClass::Account),
    ("InvalidAction*", ErrorClass::Account),
    ("InvalidFormat", ErrorClass::Account),
    ("InvalidApi.NotFound", ErrorClass::Account),
    ("InvalidProduct.NotFound", ErrorClass::Account),
    ("Missing*", ErrorClass::Request),
    ("Invalid*", ErrorClass::Request),
    ("ProductCodeMissing", ErrorClass::Request),
    ("ProductNotSupported", ErrorClass::Request),
    ("UnsupportedOperation", ErrorClass::Request),
    ("UnsupportedParameter", ErrorClass::Request),
    ("IdempotentParameterMismatch", ErrorClass::Request),
    ("InvalidOwner", ErrorClass::Instance),
    ("ResourceStatusError", ErrorClass::Instance),
    ("InvalidInstanceId*", ErrorClass::Instance),
    ("InvalidInstanceId.NotFound", ErrorClass::Gone),
    ("ResourceNotExists", ErrorClass::Gone),
    ("RESOURCE_NOT_FOUND", ErrorClass::Gone),
];

/// The table in force for an account.
#[derive(Debug, Clone)]
pub struct ErrorTable {
    exact: BTreeMap<String, ErrorClass>,
    /// Longest first.
    prefixes: Vec<(String, ErrorClass)>,
}

impl ErrorTable {
    /// The listed codes, with an account's own on top.
    pub fn new(own: &BTreeMap<String, ErrorClass>) -> Self {
        let listed = LISTED.iter().map(|(code, class)| ((*code).to_owned(), *class));
        let entries: BTreeMap<String, ErrorClass> = listed.chain(own.iter().map(|(c, k)| (c.clone(), *k))).collect();
        let mut table = Self { exact: BTreeMap::new(), prefixes: Vec::new() };
        for (code, class) in entries {
            match code.strip_suffix('*') {
                Some(prefix) => table.prefixes.push((prefix.to_owned(), class)),
                None => drop(table.exact.insert(code, class)),
            }
        }
        table.prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        table
    }

    /// The class of a code, if any line lists it.
    pub fn class(&self, code: &str) -> Option<ErrorClass> {
        let prefixed =
            || self.prefixes.iter().find(|(prefix, _)| code.starts_with(prefix.as_str())).map(|(_, class)| *class);
        self.exact.get(code).copied().or_else(prefixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_line_that_matches_decides() {
        let table = ErrorTable::new(&BTreeMap::new());
        let cases = [
            ("Throttling", Some(ErrorClass::Throttled)),
            ("Throttling.User", Some(ErrorClass::Throttled)),
            ("InvalidInstanceId.NotFound", Some(ErrorClass::Gone)),
            ("InvalidInstanceIds", Some(ErrorClass::Instance)),
            ("InvalidInstanceId.Malformed", Some(ErrorClass::Instance)),
            ("InvalidOwner", Some(ErrorClass::Instance)),
            ("InvalidRegion", Some(ErrorClass::Request)),
            ("Invalid_Product_Code", Some(ErrorClass::Request)),
            ("InvalidTimeStamp.Expired", Some(ErrorClass::Account)),
            ("InvalidApi.NotFound", Some(ErrorClass::Account)),
            ("MissingParameter", Some(ErrorClass::Request)),
            ("Forbidden.RAM", Some(ErrorClass::Account)),
            ("Forbidden", Some(ErrorClass::Account)),
            ("MissingSecurityToken", Some(ErrorClass::Account)),
            ("MissingTimestamp", Some(ErrorClass::Account)),
            ("InvalidVersion", Some(ErrorClass::Account)),
            ("InvalidAction.NotFound", Some(ErrorClass::Account)),
            ("SomethingNew", None),
        ];
        for (code, class) in cases {
            assert_eq!(table.class(code), class, "{code}");
        }
    }

    #[test]
    fn the_settings_extend_and_override_the_table() {
        let own = BTreeMap::from([
            ("SomethingNew".to_owned(), ErrorClass::Request),
            ("Order.*".to_owned(), ErrorClass::Transient),
            ("InvalidOwner".to_owned(), ErrorClass::Request),
        ]);
        let table = ErrorTable::new(&own);
        assert_eq!(table.class("SomethingNew"), Some(ErrorClass::Request));
        assert_eq!(table.class("Order.Locked"), Some(ErrorClass::Transient));
        assert_eq!(table.class("InvalidOwner"), Some(ErrorClass::Request));
    }
}
