//! What to do about an account that the API refuses, in a line for each code.
//!
//! Source: the error pages of the RPC gateway and of RAM; the sites are two endpoints with accounts of their own.

/// A code or, with a `*` at the end, a prefix; and what to do. The first match counts.
const LISTED: &[(&str, &str)] = &[
    ("InvalidAccessKeyId*", "the access key is disabled, deleted or another site's: enable it, or give another one"),
    ("MissingAccessKeyId", "no access key was sent: look at the account's credentials"),
    ("SignatureDoesNotMatch", "the secret is not that of the access key: correct it"),
    ("IncompleteSignature", "the secret is not that of the access key: correct it"),
    ("InvalidTimeStamp*", "this machine's clock is wrong: set it, and keep it set (NTP)"),
    ("InvalidSecurityToken*", "the temporary key has expired or lost its token: renew it where it comes from"),
    ("MissingSecurityToken", "the temporary key has expired or lost its token: renew it where it comes from"),
    ("NoPermission*", "grant the key's user or role bss:ReleaseInstance, or take the Deny away that forbids it"),
    ("NotAuthorized*", "grant the key's user or role bss:ReleaseInstance, or take the Deny away that forbids it"),
    ("Forbidden*", "grant the key's user or role bss:ReleaseInstance, or take the Deny away that forbids it"),
    (
        "NotApplicable",
        "the account is of the other site: business.aliyuncs.com is China's, business.ap-southeast-1.aliyuncs.com the \
         international one",
    ),
    ("Invalid*", "this is not the endpoint of BssOpenApi: correct the account's endpoint"),
    ("Missing*", "this is not the endpoint of BssOpenApi: correct the account's endpoint"),
];

/// What to do about an account that is refused with this code, if that is known.
pub fn mend(code: &str) -> Option<&'static str> {
    let fits = |listed: &str| match listed.strip_suffix('*') {
        Some(prefix) => code.starts_with(prefix),
        None => code == listed,
    };
    LISTED.iter().find(|(listed, _)| fits(listed)).map(|(_, words)| *words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_told_what_to_do_about_it() {
        for (code, words) in [
            ("InvalidAccessKeyId.Inactive", "enable it"),
            ("InvalidTimeStamp.Expired", "clock"),
            ("Forbidden.RAM", "bss:ReleaseInstance"),
            ("NotApplicable", "other site"),
            ("InvalidAction.NotFound", "endpoint"),
        ] {
            assert!(mend(code).is_some_and(|said| said.contains(words)), "{code}");
        }
        assert_eq!(mend("SomethingNew"), None);
    }
}
