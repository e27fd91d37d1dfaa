//! The fingerprint of a failure: the same for failures that differ only in ids, numbers and times.

use sha2::{Digest, Sha256};

/// Twelve hexadecimal digits over the code, the product and the message without whatever varies from call to call.
pub fn fingerprint(code: &str, product: &str, message: &str) -> String {
    let fixed: Vec<&str> = message
        .split_whitespace()
        .map(|word| if word.bytes().any(|b| b.is_ascii_digit()) { "#" } else { word })
        .collect();
    let digest = Sha256::digest(format!("{code}\n{product}\n{}", fixed.join(" ")).as_bytes());
    hex::encode(&digest[..6])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_differ_only_in_ids_share_a_fingerprint() {
        let first = fingerprint("InvalidOwner", "ecs", "The instance i-bp1 is not yours.");
        assert_eq!(first, fingerprint("InvalidOwner", "ecs", "The instance i-bp2  is not yours."));
        assert_ne!(first, fingerprint("InvalidOwner", "rds", "The instance i-bp1 is not yours."));
        assert_ne!(first, fingerprint("InvalidOwner", "ecs", "The instance i-bp1 is locked."));
    }
}
