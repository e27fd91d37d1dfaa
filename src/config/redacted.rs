//! A broker's URL as it may be shown: its password replaced.

/// The URL with `***` for its password. Goes by the text alone, so that a URL that is malformed shows none either.
pub fn redacted(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    // The last `@`: a password may hold others that somebody forgot to encode.
    match rest.rsplit_once('@').map(|(user, host)| (user.split_once(':'), host)) {
        Some((Some((name, _)), host)) => format!("{scheme}://{name}:***@{host}"),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let cases = [
            ("amqp://user:secret@host:5672/%2f", "amqp://user:***@host:5672/%2f"),
            ("amqps://user:sec@ret/#@host", "amqps://user:***@host"),
            ("amqp://:secret@host", "amqp://:***@host"),
            ("amqp://user:sec:ret@host", "amqp://user:***@host"),
        ];
        for (url, expected) in cases {
            assert_eq!(redacted(url), expected);
        }
    }

    #[test]
    fn a_url_without_a_password_is_shown_as_it_is() {
        for url in ["amqp://host:5672", "amqp://user@host", "sqlite:/var/lib/bulkrelease.db", "sqlite:a@b:c", ""] {
            assert_eq!(redacted(url), url);
        }
    }
}
