//! ACS3-HMAC-SHA256: what it covers, signing it, verifying it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Parameter, SignatureFault, canonical_query};

/// The word that opens the `Authorization` header.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// The header that carries the body's hash.
pub const CONTENT_HASH: &str = "x-acs-content-sha256";

/// The hash of a body, as [`CONTENT_HASH`] carries it.
pub fn content_hash(body: &[u8]) -> String {
    hex::encode(Sha256::digest(body))
}

/// A request to be signed or verified. Header names are in lower case, as HTTP libraries keep them.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Of the query only: a form body is covered by its hash.
    pub parameters: &'a [Parameter<'a>],
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a [u8],
}

impl Request<'_> {
    /// The value of the `Authorization` header. Every header given is signed; [`CONTENT_HASH`] must be among them.
    pub fn authorization(&self, access_key_id: &str, secret: &str) -> String {
        let mut headers = self.headers.to_vec();
        headers.sort_unstable();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let canonical = self.canonical(&headers, &names, &content_hash(self.body));
        let signature = hex::encode(keyed(secret, &canonical).finalize().into_bytes());
        format!("{ALGORITHM} Credential={access_key_id},SignedHeaders={names},Signature={signature}")
    }

    /// Whether the holder of `secret` signed this request, and all of it that matters.
    pub fn verify(&self, authorization: &Authorization<'_>, secret: &str) -> Result<(), SignatureFault> {
        let names: Vec<&str> = authorization.signed_headers.split(';').collect();
        if !names.is_sorted_by(|one, next| one < next) {
            return Err(SignatureFault::Incomplete("SignedHeaders is not a sorted list of different names".to_owned()));
        }
        let must_be_signed = |name: &str| name == "host" || name.starts_with("x-acs-");
        if let Some((name, _)) = self.headers.iter().find(|(name, _)| must_be_signed(name) && !names.contains(name)) {
            return Err(SignatureFault::Incomplete(format!("the header {name} is not signed")));
        }
        let headers = names.iter().map(|name| self.header(name)).collect::<Result<Vec<_>, _>>()?;
        self.header("host")?;
        let hash = content_hash(self.body);
        if trimmed(self.header(CONTENT_HASH)?.1) != hash {
            return Err(SignatureFault::Body);
        }
        let signature = hex::decode(authorization.signature).map_err(|_| SignatureFault::Mismatch)?;
        let canonical = self.canonical(&headers, authorization.signed_headers, &hash);
        keyed(secret, &canonical).verify_slice(&signature).map_err(|_| SignatureFault::Mismatch)
    }

    /// The text whose hash is signed. `headers` are the signed ones in the order of `names`.
    fn canonical(&self, headers: &[(&str, &str)], names: &str, content_hash: &str) -> String {
        let mut text = format!("{}\n/\n{}\n", self.method, canonical_query(self.parameters));
        for (name, value) in headers {
            text.extend([name, ":", trimmed(value), "\n"]);
        }
        text.extend(["\n", names, "\n", content_hash]);
        text
    }

    fn header(&self, name: &str) -> Result<(&str, &str), SignatureFault> {
        let mut found = self.headers.iter().filter(|(other, _)| *other == name);
        match (found.next(), found.next()) {
            (Some(header), None) => Ok(*header),
            (None, _) => Err(SignatureFault::Incomplete(format!("the header {name} is missing"))),
            (Some(_), Some(_)) => Err(SignatureFault::Incomplete(format!("the header {name} is there twice"))),
        }
    }
}

/// Without the blanks that HTTP allows around a header's value. Any other white space is part of the value, as whoever
/// remembers nonces takes it to be.
fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// What an `Authorization` header of this kind says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorization<'a> {
    pub access_key_id: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header's value; `None` if it is of another kind, or lacks a part.
    pub fn parse(value: &'a str) -> Option<Self> {
        let (access_key_id, rest) =
            value.strip_prefix(ALGORITHM)?.trim_start().strip_prefix("Credential=")?.split_once(",SignedHeaders=")?;
        let (signed_headers, signature) = rest.split_once(",Signature=")?;
        Some(Self { access_key_id, signed_headers, signature })
    }

    /// Whether this header is among the signed ones.
    pub fn covers(&self, header: &str) -> bool {
        self.signed_headers.split(';').any(|name| name == header)
    }
}

fn keyed(secret: &str, canonical: &str) -> Hmac<Sha256> {
    let to_sign = format!("{ALGORITHM}\n{}", hex::encode(Sha256::digest(canonical)));
    Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length").chain_update(to_sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(names: &str, headers: &[(&str, &str)]) -> SignatureFault {
        let request = Request { method: "POST", parameters: &[], headers, body: b"" };
        request.verify(&Authorization { access_key_id: "id", signed_headers: names, signature: "" }, "s").unwrap_err()
    }

    #[test]
    fn only_the_blanks_of_http_around_a_value_are_no_part_of_it() {
        let hash = content_hash(b"");
        let headers = |nonce| [("host", "h"), (CONTENT_HASH, hash.as_str()), ("x-acs-signature-nonce", nonce)];
        let signed = headers("n");
        let sound = Request { method: "POST", parameters: &[], headers: &signed, body: b"" };
        let authorization = sound.authorization("id", "s");
        let authorization = Authorization::parse(&authorization).unwrap();
        for (nonce, expected) in [
            (" n\t", Ok(())),
            ("n\u{a0}", Err(SignatureFault::Mismatch)),
            ("\u{2003}n", Err(SignatureFault::Mismatch)),
            ("n\u{c}", Err(SignatureFault::Mismatch)),
        ] {
            let changed = headers(nonce);
            assert_eq!(Request { headers: &changed, ..sound }.verify(&authorization, "s"), expected, "{nonce:?}");
        }
    }

    #[test]
    fn host_and_every_x_acs_header_must_be_signed_once() {
        let hash = content_hash(b"");
        let sound = [("host", "h"), (CONTENT_HASH, hash.as_str())];
        let more = |name| [sound[0], sound[1], (name, "v")];
        assert_eq!(verdict("host;x-acs-content-sha256", &sound), SignatureFault::Mismatch);
        for (names, headers) in [
            ("x-acs-content-sha256", sound.as_slice()),
            ("host", &sound),
            ("x-acs-content-sha256;host", &sound),
            ("host;host;x-acs-content-sha256", &sound),
            ("host;x-acs-content-sha256", &sound[..1]),
            ("host;x-acs-content-sha256", &sound[1..]),
            ("x-acs-content-sha256", &sound[1..]),
            ("host;x-acs-content-sha256", &more("x-acs-date")),
            ("host;x-acs-content-sha256", &more("host")),
            ("accept;host;x-acs-content-sha256", &sound),
        ] {
            assert!(matches!(verdict(names, headers), SignatureFault::Incomplete(_)), "{names} {headers:?}");
        }
    }
}
