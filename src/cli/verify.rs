//! `upscore verify`: whether a downloaded record is as the server signed it.

use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;
use serde_json::Value;

use super::{
    Outcome,
    inputs::{self, Kind},
    output::outln,
    submit::client::{Answer, Client},
};
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
    if let Err(problem) = inputs::file(&args.file, Kind::Record) {
        return Ok(Err(vec![problem]));
    }
    let mut document = Vec::new();
    let read = std::fs::File::open(&args.file)
        .and_then(|file| std::io::Read::read_to_end(&mut std::io::Read::take(file, MOST_BYTES), &mut document));
    if let Err(error) = read {
        return Ok(Err(vec![inputs::unreadable(&args.file, &error)]));
    }
    let verified = match record::verify(&document) {
        Ok(verified) => verified,
        Err(problem) => return Ok(Err(vec![problem.at(args.file.to_string_lossy())])),
    };
    let known = match (&args.key, &args.url) {
        (Some(key), _) => Some(key.trim().to_ascii_lowercase()),
        (None, Some(url)) => match ask(url)? {
            Ok(key) => Some(key),
            Err(problems) => return Ok(Err(problems)),
        },
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
        outln!("{}", serde_json::to_string(&report)?);
    } else {
        print(&verified, known.is_some());
    }
    Ok(Ok(()))
}

/// The server's key, from the server itself.
fn ask(url: &str) -> anyhow::Result<Result<String, Vec<Problem>>> {
    let client = match Client::new(url, None) {
        Ok(client) => client,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    Ok(match client.get("/api/v1/record-key")? {
        Answer::Done(answer) => Ok(answer["public_key"].as_str().context("the server gave no key")?.to_owned()),
        Answer::Refused(problems) => Err(problems),
    })
}

fn print(verified: &Verified, key_checked: bool) {
    let Verified { record, sha256, public_key } = verified;
    let subject = &record["subject"];
    let text = |value: &Value| match value {
        Value::String(text) => crate::problem::printable(text),
        other => other.to_string(),
    };
    outln!("the record is as it was signed");
    outln!("sha256       {sha256}");
    let note = if key_checked { "" } else { " (not compared with the server's: give --key or --url)" };
    outln!("signed by    {public_key}{note}");
    for (name, field) in [
        ("submission", "submission"),
        ("challenge", "challenge"),
        ("phase", "phase"),
        ("team", "team"),
        ("protocol", "protocol"),
        ("finished", "finished_at"),
    ] {
        outln!("{name:<12} {}", text(&subject[field]));
    }
    let measured = &record["measurement"];
    outln!("PSNR         {} dB", text(&measured["fidelity"]["psnr"]));
    outln!("params       {}", text(&measured["cost"]["params"]));
    outln!(
        "runtime      {} ms on {}",
        text(&measured["runtime"]["median_ms"]),
        text(&measured["provenance"]["device_name"])
    );
}
