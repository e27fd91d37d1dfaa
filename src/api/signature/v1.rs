//! RPC HMAC-SHA1, as older clients sign: the parameters of query and form body alike, and no header. What is
//! signed this way today is the exchange of credentials.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::encoding::encode_into;
use super::{Parameter, SignatureFault, canonical_query};

/// The parameter that carries the signature, and is not signed.
const SIGNATURE: &str = "Signature";

/// The value of `Signature` for these parameters.
pub fn sign(method: &str, parameters: &[Parameter<'_>], secret: &str) -> String {
    let signature = mac(method, parameters, secret).finalize().into_bytes();
    BASE64_STANDARD.encode(signature)
}

/// Whether the holder of `secret` signed these parameters.
pub fn verify(method: &str, parameters: &[Parameter<'_>], secret: &str) -> Result<(), SignatureFault> {
    for (name, expected) in [("SignatureMethod", "HMAC-SHA1"), ("SignatureVersion", "1.0")] {
        if only(parameters, name)? != expected {
            return Err(SignatureFault::Incomplete(format!("{name} must be {expected}")));
        }
    }
    let signature = BASE64_STANDARD.decode(only(parameters, SIGNATURE)?).map_err(|_| SignatureFault::Mismatch)?;
    mac(method, parameters, secret).verify_slice(&signature).map_err(|_| SignatureFault::Mismatch)
}

fn mac(method: &str, parameters: &[Parameter<'_>], secret: &str) -> Hmac<Sha1> {
    Hmac::<Sha1>::new_from_slice(format!("{secret}&").as_bytes())
        .expect("HMAC takes a key of any length")
        .chain_update(string_to_sign(method, parameters))
}

/// The text that is signed.
pub fn string_to_sign(method: &str, parameters: &[Parameter<'_>]) -> String {
    let query = canonical_query(parameters.iter().filter(|(name, _)| name != SIGNATURE));
    let mut text = String::with_capacity(query.len() * 5 / 4);
    text.extend([method, "&%2F&"]);
    encode_into(&mut text, &query);
    text
}

/// The value of a parameter that must be there exactly once.
fn only<'a>(parameters: &'a [Parameter<'_>], name: &str) -> Result<&'a str, SignatureFault> {
    let mut found = parameters.iter().filter(|(other, _)| other == name);
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(value),
        _ => Err(SignatureFault::Incomplete(format!("the parameter {name} must be there exactly once"))),
    }
}
