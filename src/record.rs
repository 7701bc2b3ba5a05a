//! A result as a document that stands alone: canonical JSON, its SHA-256, and the server's Ed25519 signature.
//!
//! The file is one line, and each of its bytes counts:
//!
//! ```text
//! {"record":RECORD,"sha256":"HEX","signature":{"algorithm":"ed25519","public_key":"HEX","value":"HEX"}}
//! ```
//!
//! `RECORD` is JSON without spaces, keys in order. Hash and signature are of its bytes exactly as they stand in the file, so
//! that no program needs to write JSON the way this one does to check them.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use anyhow::{Context, ensure};
use chrono::{DateTime, Utc};
use ring::{
    rand::{SecureRandom, SystemRandom},
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    evaluation::{Measurement, sha256},
    ids::{EvaluationId, SubmissionId},
    problem::Problem,
    storage::hex,
};

/// Name and version of the record's form.
pub const FORMAT: &str = "upscore-record@1";
/// How every document begins.
const START: &str = "{\"record\":";
/// Bytes of the private key's file: the seed.
const SEED: usize = 32;
/// Bytes of a signature.
const SIGNATURE: usize = 64;

/// What a record says beside the measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Subject {
    pub submission: SubmissionId,
    pub evaluation: EvaluationId,
    /// 1 for the first evaluation of the submission, 2 for its first re-run …
    pub number: i32,
    pub challenge: String,
    pub phase: String,
    pub team: String,
    /// `aim2020@1`.
    pub protocol: String,
    pub submitted_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
}

/// How much of a result a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of it: for its team and the organizers.
    Full,
    /// Without the single images, the files' hashes and the model's nodes: for everybody who sees the board.
    Public,
}

/// The record's JSON, before it is signed.
pub fn compose(subject: &Subject, measurement: &Measurement, scope: Scope) -> anyhow::Result<String> {
    let mut measured = serde_json::to_value(measurement)?;
    if scope == Scope::Public {
        let kept_back = [("fidelity", "images"), ("reproduction", "images")]
            .into_iter()
            .chain(["model_sha256", "results_sha256", "size_gates"].map(|field| ("provenance", field)));
        for (part, field) in kept_back {
            let part = measured.get_mut(part).and_then(Value::as_object_mut);
            part.with_context(|| format!("a measurement without {field}"))?.remove(field);
        }
    }
    let record = serde_json::json!({
        "format": FORMAT,
        "scope": match scope { Scope::Full => "full", Scope::Public => "public" },
        "subject": subject,
        "measurement": measured,
    });
    let mut text = String::new();
    canonical(&record, &mut text)?;
    Ok(text)
}

/// Keys in the order of their bytes, no spaces.
fn canonical(value: &Value, out: &mut String) -> serde_json::Result<()> {
    let separate = |i: usize, out: &mut String| {
        if i > 0 {
            out.push(',');
        }
    };
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(name, _)| name.as_str());
            out.push('{');
            for (i, (name, value)) in fields.into_iter().enumerate() {
                separate(i, out);
                out.push_str(&serde_json::to_string(name)?);
                out.push(':');
                canonical(value, out)?;
            }
            out.push('}');
        }
        Value::Array(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                separate(i, out);
                canonical(value, out)?;
            }
            out.push(']');
        }
        plain => out.push_str(&serde_json::to_string(plain)?),
    }
    Ok(())
}

/// The server's key.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: String,
}

impl Signer {
    /// The key in `file`, made where there is none, readable by its owner only.
    pub fn open(file: &Path) -> anyhow::Result<Signer> {
        let seed = match fs::read(file) {
            Ok(seed) => seed,
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(file)?,
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        ensure!(seed.len() == SEED, "{} is no key: {} bytes instead of {SEED}", file.display(), seed.len());
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed)
            .map_err(|error| anyhow::anyhow!("{} is no key: {error}", file.display()))?;
        let public = hex(pair.public_key().as_ref());
        Ok(Signer { pair, public })
    }

    /// 64 hexadecimal digits.
    pub fn public_key(&self) -> &str {
        &self.public
    }

    /// A signature of words that are to come back through somebody's browser as they were given. (No record begins like them.)
    pub fn seal(&self, words: &str) -> String {
        hex(self.pair.sign(sealed(words).as_bytes()).as_ref())
    }

    /// Whether these words were given out under this seal.
    pub fn has_sealed(&self, words: &str, seal: &str) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.pair.public_key().as_ref());
        key.verify(sealed(words).as_bytes(), &unhex(seal)).is_ok()
    }

    /// The whole document round a record.
    pub fn sign(&self, record: &str) -> String {
        assemble(record, &self.public, &hex(self.pair.sign(record.as_bytes()).as_ref()))
    }
}

/// Of hexadecimal digits; what is none is left out.
fn unhex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.filter_map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn sealed(words: &str) -> String {
    format!("upscore seal\n{words}")
}

/// Writes a new key so that two processes that do it at once end up with the same one.
fn make(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut seed = vec![0u8; SEED];
    SystemRandom::new().fill(&mut seed).map_err(|_| anyhow::anyhow!("the system gives no random numbers"))?;
    let folder = file.parent().context("a key without a folder")?;
    fs::create_dir_all(folder)?;
    // Made with mode 0600.
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    draft.write_all(&seed)?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(file) {
        Ok(_) => {
            fs::File::open(folder)?.sync_all()?;
            Ok(seed)
        }
        Err(taken) if taken.error.kind() == io::ErrorKind::AlreadyExists => Ok(fs::read(file)?),
        Err(other) => Err(other.error).with_context(|| format!("writing {}", file.display())),
    }
}

fn assemble(record: &str, public_key: &str, signature: &str) -> String {
    let hash = sha256(record.as_bytes());
    format!(
        "{{\"record\":{record},\"sha256\":\"{hash}\",\"signature\":{{\"algorithm\":\"ed25519\",\
         \"public_key\":\"{public_key}\",\"value\":\"{signature}\"}}}}\n"
    )
}

/// A document whose hash and signature are right.
#[derive(Debug)]
pub struct Verified {
    pub record: Value,
    pub sha256: String,
    /// Who signed it, 64 hexadecimal digits. Whether that is the server is for the reader to know.
    pub public_key: String,
}

/// Checks every byte of a document.
pub fn verify(document: &[u8]) -> Result<Verified, Problem> {
    let malformed = |what: &str| {
        Problem::new("record_malformed", format!("not a record as a server gives it: {what}"))
            .hint("Download it again; a file that an editor or formatter wrote anew no longer verifies.")
    };
    let text = std::str::from_utf8(document).map_err(|_| malformed("it is not text"))?;
    // What follows the record is as long in every document.
    let tail = assemble("", &"0".repeat(2 * SEED), &"0".repeat(2 * SIGNATURE)).len() - START.len();
    let cut = text.len().checked_sub(tail).filter(|&at| at >= START.len() && text.is_char_boundary(at));
    let (head, tail) = text.split_at(cut.ok_or_else(|| malformed("it is too short"))?);
    let record = head.strip_prefix(START).ok_or_else(|| malformed("it does not begin like one"))?;
    let field = |name: &str, digits: usize| {
        let at = tail.find(&format!("\"{name}\":\""))? + name.len() + 4;
        tail.get(at..at + digits)
            .filter(|value| value.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)))
    };
    let values = (|| Some((field("sha256", 64)?, field("public_key", 2 * SEED)?, field("value", 2 * SIGNATURE)?)))();
    let (hash, public_key, signature) = values.ok_or_else(|| malformed("hash, key or signature is missing"))?;
    if sha256(record.as_bytes()) != hash {
        return Err(Problem::new("record_hash", "the record is not the one that was hashed: it was changed"));
    }
    if assemble(record, public_key, signature) != text {
        return Err(malformed("its parts are not in their places"));
    }
    UnparsedPublicKey::new(&ED25519, unhex(public_key))
        .verify(record.as_bytes(), &unhex(signature))
        .map_err(|_| Problem::new("record_signature", "the signature is not by this key, or of another record"))?;
    let parsed: Value = serde_json::from_str(record).map_err(|error| malformed(&format!("it is no JSON: {error}")))?;
    if parsed["format"] != FORMAT {
        return Err(malformed(&format!("its format is {}, known is {FORMAT}", parsed["format"])));
    }
    Ok(Verified { record: parsed, sha256: hash.to_owned(), public_key: public_key.to_owned() })
}
