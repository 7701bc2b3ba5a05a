//! `upscore verify`: whether a downloaded record is as the server signed it.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::Outcome;
use crate::{
    problem::Problem,
    record::{self, Verified},
};

/// A record of a hundred images and ten thousand timed runs has about a megabyte.
const MOST_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The record, as downloaded.
    file: PathBuf,
    /// The server's public key, 64 hexadecimal digits: as `/api/v1/record-key` and `upscore admin record-key` tell it.
    #[arg(long, conflicts_with = "url")]
    key: Option<String>,
    /// The server, to ask it for its key.
    #[arg(long)]
    url: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// The document that `--json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    verified: bool,
    sha256: &'a str,
    public_key: &'a str,
    /// The key was compared with one from elsewhere; without, anybody may have signed.
    key_checked: bool,
    record: &'a Value,
}

pub fn run(args: &Args) -> Outcome {
    let unreadable = |error: std::io::Error| {
        Problem::new("record_malformed", format!("the file cannot be read: {error}")).at(args.file.to_string_lossy())
    };
    let mut document = Vec::new();
    let read = std::fs::File::open(&args.file)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_BYTES), &mut document));
    if let Err(error) = read {
        return Ok(Err(vec![unreadable(error)]));
    }
    let verified = match record::verify(&document) {
        Ok(verified) => verified,
        Err(problem) => return Ok(Err(vec![problem.at(args.file.to_string_lossy())])),
    };
    let known = match (&args.key, &args.url) {
        (Some(key), _) => Some(key.trim().to_ascii_lowercase()),
        (None, Some(url)) => Some(ask(url)?),
        (None, None) => None,
    };
    if let Some(known) = &known
        && *known != verified.public_key
    {
        let message = format!("signed by the key {}, not by {}", verified.public_key, crate::problem::printable(known));
        return Ok(Err(vec![Problem::new("record_key", message)]));
    }
    if args.json {
        let report = Report {
            verified: true,
            sha256: &verified.sha256,
            public_key: &verified.public_key,
            key_checked: known.is_some(),
            record: &verified.record,
        };
        println!("{}", serde_json::to_string(&report)?);
    } else {
        print(&verified, known.is_some());
    }
    Ok(Ok(()))
}

/// The server's key, from the server itself.
fn ask(url: &str) -> anyhow::Result<String> {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).max_redirects(0);
    let agent: ureq::Agent = config.build().into();
    let address = format!("{}/api/v1/record-key", url.trim_end_matches('/'));
    let mut answer = agent.get(&address).call().with_context(|| format!("asking {address}"))?;
    let answer: Value = answer.body_mut().read_json().with_context(|| format!("the answer of {address}"))?;
    Ok(answer["public_key"].as_str().with_context(|| format!("{address} gave no key"))?.to_owned())
}

fn print(verified: &Verified, key_checked: bool) {
    let Verified { record, sha256, public_key } = verified;
    let subject = &record["subject"];
    let text = |value: &Value| match value {
        Value::String(text) => crate::problem::printable(text),
        other => other.to_string(),
    };
    println!("the record is as it was signed");
    println!("sha256       {sha256}");
    let note = if key_checked { "" } else { " (not compared with the server's: give --key or --url)" };
    println!("signed by    {public_key}{note}");
    for (name, field) in [
        ("submission", "submission"),
        ("challenge", "challenge"),
        ("phase", "phase"),
        ("team", "team"),
        ("protocol", "protocol"),
        ("finished", "finished_at"),
    ] {
        println!("{name:<12} {}", text(&subject[field]));
    }
    let measured = &record["measurement"];
    println!("PSNR         {} dB", text(&measured["fidelity"]["psnr"]));
    println!("params       {}", text(&measured["cost"]["params"]));
    println!(
        "runtime      {} ms on {}",
        text(&measured["runtime"]["median_ms"]),
        text(&measured["provenance"]["device_name"])
    );
}
