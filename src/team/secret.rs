//! Secrets that we hand out: 256 random bits, of which only the SHA-256 is stored.

use sha2::{Digest, Sha256};

use crate::storage::hex;

/// A secret, to be shown or set once and never stored.
pub struct Secret(String);

/// So that none gets into a log by way of whatever holds it.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl Secret {
    /// `prefix` and 64 hexadecimal digits of the system's randomness.
    pub fn new(prefix: &str) -> Secret {
        let bits: [u8; 32] = rand::random();
        Secret(format!("{prefix}{}", hex(&bits)))
    }

    pub fn expose(&self) -> &str {
        &self.0
    }

    pub fn sha256(&self) -> String {
        digest(&self.0)
    }
}

/// What is stored and looked up. The secret has 256 bits of its own, so that a plain hash cannot be guessed back.
pub fn digest(secret: &str) -> String {
    hex(&Sha256::digest(secret.as_bytes()))
}
