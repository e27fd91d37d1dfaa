//! An account's endpoint: one reading of the text for whoever checks it and whoever calls it.

use url::Url;

/// Reads a host (`business.aliyuncs.com`, with or without a port) or an `http://` or `https://` URL of nothing but a
/// host. A bare host is called over https.
pub fn endpoint(text: &str) -> Result<Url, &'static str> {
    const SHAPE: &str = "must be a host such as business.aliyuncs.com, or an http:// or https:// URL of a host";
    const MORE: &str = "must name nothing but a host and a port: remove user, path, query and fragment";
    // The URL parser would drop white space silently.
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("holds white space or a control character: remove it");
    }
    let url = match text.contains("://") {
        true => Url::parse(text),
        false => Url::parse(&format!("https://{text}")),
    };
    let url = url.map_err(|_| SHAPE)?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Err(SHAPE);
    }
    let bare = url.username().is_empty()
        && url.password().is_none()
        && matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none();
    if bare { Ok(url) } else { Err(MORE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_called_over_https_and_a_url_as_it_says() {
        let cases = [
            ("business.aliyuncs.com", "https://business.aliyuncs.com/"),
            ("localhost:9470", "https://localhost:9470/"),
            ("https://business.ap-southeast-1.aliyuncs.com", "https://business.ap-southeast-1.aliyuncs.com/"),
            ("http://127.0.0.1:9470/", "http://127.0.0.1:9470/"),
            ("http://[::1]:9470", "http://[::1]:9470/"),
        ];
        for (text, expected) in cases {
            assert_eq!(endpoint(text).unwrap().as_str(), expected);
        }
    }

    #[test]
    fn an_endpoint_that_says_more_than_a_host_is_refused() {
        let refused = [
            "",
            "http://",
            "ftp://business.aliyuncs.com",
            "business.aliyuncs.com/path",
            "https://business.aliyuncs.com/?a=b",
            "https://business.aliyuncs.com?",
            "https://business.aliyuncs.com#x",
            "https://user@business.aliyuncs.com",
            "user:secret@business.aliyuncs.com",
            " business.aliyuncs.com",
            "business.aliyuncs.com\n",
            "business aliyuncs com",
            "https://business.aliyuncs.com:99999",
        ];
        for text in refused {
            let error = endpoint(text).expect_err(text);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
