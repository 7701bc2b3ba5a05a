//! Passwords: argon2id, and no more of it at once than the memory bears.

use std::time::Duration;

use anyhow::Context;
use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use tokio::sync::{Semaphore, SemaphorePermit};

/// Argon2id takes 19 MiB a time: so many at once at most, so that a flood of sign-ins does not take the memory.
static HASHING: Semaphore = Semaphore::const_new(4);
/// How long one waits for its turn before it is told that we are busy.
const PATIENCE: Duration = Duration::from_secs(15);

/// Checked in place of an unknown account's, so that the time tells nothing about which names exist.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$9ZDHlhTmR3nBHG6BmGdoRDVoYdLbeVbWcLuZVdCQ8Xc";

/// Characters of a password.
pub const LENGTH: std::ops::RangeInclusive<usize> = 8..=256;

/// What checking one password cost. Argon2's time follows from these alone, so that equal work is equal time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
    /// Bytes of the hash.
    pub output: usize,
}

/// Too many passwords are being checked.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being checked")]
pub struct Busy;

/// Nobody may have a password that a guesser tries first: the commonest, and the account's own name or address.
pub fn is_guessable(password: &str, name: &str, email: Option<&str>) -> bool {
    let plain = password.to_lowercase();
    let of_account = |word: &str| !word.is_empty() && plain.trim_matches(|c: char| !c.is_alphabetic()) == word;
    let mut letters = plain.chars();
    let first = letters.next();
    letters.all(|c| Some(c) == first)
        || COMMON.contains(&plain.as_str())
        || plain == name.to_lowercase()
        || of_account(name.to_lowercase().trim_matches(|c: char| !c.is_alphabetic()))
        || email.is_some_and(|email| plain == email.to_lowercase())
}

/// Of those of at least 8 characters, the first that lists of leaked passwords name; counted tries stop the rest.
const COMMON: &[&str] = &[
    "12345678",
    "123456789",
    "1234567890",
    "12345678910",
    "123123123",
    "987654321",
    "87654321",
    "11223344",
    "1q2w3e4r",
    "1q2w3e4r5t",
    "1qaz2wsx",
    "1qaz2wsx3edc",
    "q1w2e3r4",
    "q1w2e3r4t5",
    "qwertyui",
    "qwertyuiop",
    "qwerty12",
    "qwerty123",
    "qwerty1234",
    "qwer1234",
    "asdfghjkl",
    "asdf1234",
    "zxcvbnm1",
    "password",
    "password1",
    "password12",
    "password123",
    "password1234",
    "passw0rd",
    "p@ssw0rd",
    "p@ssword",
    "pa55word",
    "passwort",
    "motdepasse",
    "iloveyou",
    "iloveyou1",
    "sunshine",
    "princess",
    "football",
    "baseball",
    "superman",
    "trustno1",
    "starwars",
    "whatever",
    "computer",
    "michelle",
    "jennifer",
    "abcd1234",
    "abc12345",
    "abcdefgh",
    "a1b2c3d4",
    "aa123456",
    "aaaa1111",
    "letmein1",
    "welcome1",
    "welcome123",
    "admin123",
    "administrator",
    "changeme",
    "changeme1",
    "secret123",
    "test1234",
    "testtest",
    "woaini1314",
    "5201314520",
    "0123456789",
    "147258369",
    "741852963",
    "789456123",
    "159753456",
    "upscore1",
];

pub async fn hash(password: String) -> anyhow::Result<String> {
    let _permit = turn().await?;
    tokio::task::spawn_blocking(move || {
        let hash = Argon2::default().hash_password(password.as_bytes());
        hash.map(|h| h.to_string()).map_err(|e| anyhow::anyhow!("hashing a password: {e}"))
    })
    .await?
}

/// Whether `password` is the one that was stored, and what it cost to find out: without a stored one nothing matches, for
/// the same work.
pub async fn verify(password: String, stored: Option<String>) -> anyhow::Result<(bool, Work)> {
    let _permit = turn().await?;
    tokio::task::spawn_blocking(move || {
        let known = stored.is_some();
        let stored = stored.unwrap_or_else(|| DUMMY.to_owned());
        let hash = PasswordHash::new(&stored).map_err(|e| anyhow::anyhow!("{e}")).context("a stored password hash")?;
        let params = Params::try_from(&hash).map_err(|e| anyhow::anyhow!("{e}")).context("a stored password hash")?;
        let work = Work {
            memory_kib: params.m_cost(),
            passes: params.t_cost(),
            lanes: params.p_cost(),
            output: hash.hash.as_ref().map_or(0, |h| h.as_bytes().len()),
        };
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let matches = argon2.verify_password(password.as_bytes(), &hash).is_ok();
        Ok((known && matches, work))
    })
    .await?
}

async fn turn() -> anyhow::Result<SemaphorePermit<'static>> {
    Ok(tokio::time::timeout(PATIENCE, HASHING.acquire()).await.map_err(|_| Busy)??)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guesser_tries_first_is_refused() {
        for bad in ["password", "PassWord123", "aaaaaaaaaaaa", "ann.example", "ann@example.org", "Ann.Example99"] {
            assert!(is_guessable(bad, "Ann.Example", Some("ann@example.org")), "{bad}");
        }
        for good in ["correct horse", "annular eclipse", "9wq4-tfz0"] {
            assert!(!is_guessable(good, "Ann", None), "{good}");
        }
    }
}
