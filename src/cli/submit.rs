//! `upscore submit`: sends an entry in from a script and, where asked, waits for its result.
//!
//! The files go up in pieces: a lost connection and a server that restarts are waited for, and a run that was broken off goes
//! on where it stopped when it is started again.
//!
//! Exit code: 0 accepted, with `--wait` scored; 1 refused, failed or cancelled; 3 the server is at fault or out of reach.

pub mod client;
mod report;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use self::client::{Answer, Client, Source, Target};
use super::{Outcome, login};
use crate::{evaluation::model, problem::Problem};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server, as `https://sr.example.org`; that of `upscore login` where none is given.
    #[arg(long, env = "UPSCORE_URL", value_name = "URL")]
    url: Option<String>,
    /// A token that may submit; that of `upscore login` where none is given. Better in the variable than on the command
    /// line, where others on the machine see it.
    #[arg(long, env = "UPSCORE_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
    /// Slug of the challenge.
    #[arg(long)]
    challenge: String,
    /// Slug of the phase.
    #[arg(long)]
    phase: String,
    /// The model: an .onnx file, whose data file is found beside it, or a zip of both.
    #[arg(long, value_name = "MODEL.onnx")]
    model: PathBuf,
    /// The zip of the SR images.
    #[arg(long, value_name = "RESULTS.zip")]
    results: PathBuf,
    /// A field of the fact sheet, as method=RFDN; may be repeated.
    #[arg(long = "fact", value_name = "NAME=TEXT", value_parser = fact)]
    facts: Vec<(String, String)>,
    /// A name for this upload: a repetition with the same name gives the first submission again.
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Wait until it is scored or has failed.
    #[arg(long)]
    wait: bool,
    /// One JSON document on stdout: the receipt, with --wait the submission.
    #[arg(long)]
    pub json: bool,
}

/// Between looks at a submission that waits or runs.
const POLL: Duration = Duration::from_millis(700);
/// How long the server may be away while we wait.
const PATIENCE: Duration = Duration::from_secs(120);

fn fact(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a fact is NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn run(args: &Args) -> Outcome {
    let mut problems = Vec::new();
    // Read here, so that a broken model or a missing data file shows before minutes of upload.
    let merged = match model::load(&args.model, true) {
        Ok(model) => model.merged.then_some(model.bytes),
        Err(found) => {
            problems = found;
            None
        }
    };
    if !args.results.is_file() {
        problems.push(Problem::new("file_not_found", "There is no such file.").at(args.results.to_string_lossy()));
    }
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    let (url, token) = match login::resolve(args.url.as_deref(), args.token.as_deref())? {
        Ok(both) => both,
        Err(problems) => return Ok(Err(problems)),
    };
    let client = Client::new(&url, &token);
    let receipt = match upload(args, &client, merged)? {
        Answer::Done(receipt) => receipt,
        Answer::Refused(problems) => return Ok(Err(problems)),
    };
    let id = receipt["id"].as_str().context("the receipt has no id")?.to_owned();
    let page = format!("{}{}", client.base(), receipt["url"].as_str().unwrap_or_default());
    if !args.wait {
        match args.json {
            true => println!("{receipt}"),
            false => println!("Accepted: {page}"),
        }
        return Ok(Ok(()));
    }
    say(args, &format!("Accepted: {page}"));
    let submission = match wait(args, &client, &id)? {
        Answer::Done(submission) => submission,
        Answer::Refused(problems) => return Ok(Err(problems)),
    };
    finish(args, &submission)
}

/// A word on stderr, so that stdout holds the result alone.
fn say(args: &Args, words: &str) {
    if !args.json {
        eprintln!("{words}");
    }
}

fn upload(args: &Args, client: &Client, merged: Option<Vec<u8>>) -> anyhow::Result<Answer> {
    let target = Target { challenge: &args.challenge, phase: &args.phase };
    // The model first: it is small, and refused sooner.
    let mut sources = [Source::new("model", &args.model, merged)?, Source::new("results", &args.results, None)?];
    let bar = match args.json {
        true => ProgressBar::hidden(),
        false => ProgressBar::new(sources.iter().map(|source| source.length).sum()),
    };
    bar.set_style(ProgressStyle::with_template(
        "Uploading {bytes} of {total_bytes} {wide_bar} {bytes_per_sec}, {eta} left",
    )?);
    let mut fields = args.facts.clone();
    for source in &mut sources {
        match client.upload(target, source, &bar)? {
            Ok(id) => fields.push((format!("{}_upload", source.part), id)),
            Err(problems) => {
                bar.finish_and_clear();
                return Ok(Answer::Refused(problems));
            }
        }
    }
    bar.finish_and_clear();
    say(args, "Uploaded; the server looks at the files.");
    let path = format!("/api/v1/challenges/{}/phases/{}/submissions", args.challenge, args.phase);
    client.submit(&path, &fields, args.idempotency_key.as_deref())
}

/// Looks at the submission until it is final; a server that is away for a moment is waited for.
fn wait(args: &Args, client: &Client, id: &str) -> anyhow::Result<Answer> {
    let path = format!("/api/v1/submissions/{id}");
    let bar = if args.json { ProgressBar::hidden() } else { ProgressBar::new_spinner() };
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut last_word = Instant::now();
    loop {
        match client.get(&path) {
            Ok(Answer::Done(submission)) => {
                last_word = Instant::now();
                if matches!(submission["state"].as_str(), Some("scored" | "failed" | "cancelled")) {
                    bar.finish_and_clear();
                    return Ok(Answer::Done(submission));
                }
                bar.set_message(report::progress(&submission));
            }
            Ok(refused) => return Ok(refused),
            Err(error) if last_word.elapsed() < PATIENCE => bar.set_message(format!("{error:#}; trying again")),
            Err(error) => return Err(error),
        }
        std::thread::sleep(POLL);
    }
}

fn finish(args: &Args, submission: &Value) -> Outcome {
    let state = submission["state"].as_str().unwrap_or_default();
    let problems: Vec<Problem> = serde_json::from_value(submission["errors"].clone()).unwrap_or_default();
    match state {
        "scored" => {
            match args.json {
                true => println!("{submission}"),
                false => print!("{}", report::table(submission)),
            }
            Ok(Ok(()))
        }
        // The server says whose a failure is by its code; these are its own.
        "failed" if problems.iter().any(|p| matches!(&*p.code, "worker_crashed" | "evaluation_error")) => {
            bail!("{}", problems.first().map_or_else(|| "the evaluation failed".into(), ToString::to_string))
        }
        "failed" => Ok(Err(problems)),
        _ => Ok(Err(vec![Problem::new("cancelled", "The evaluation was cancelled.")])),
    }
}
