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
use super::{
    Outcome,
    inputs::{self, Kind},
    login,
    output::{errln, out, outln},
};
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
    #[arg(long, value_name = "KEY", value_parser = key)]
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
    if name.is_empty() || name.contains(['"', '\r', '\n']) {
        return Err("a fact's name is not empty, and has no quotes and line ends".into());
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn key(text: &str) -> Result<String, String> {
    match text.len() {
        1..=200 if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(text.to_owned()),
        _ => Err("a key has 1 to 200 letters, digits and signs, none of them blank".into()),
    }
}

pub fn run(args: &Args) -> Outcome {
    // Read here, so that a broken model or a missing data file shows before minutes of upload.
    let model = inputs::file(&args.model, Kind::Model).map_err(|problem| vec![problem]);
    let (mut problems, merged) = match model.and_then(|()| model::load(&args.model, true)) {
        // What came through a pipe cannot be read again.
        Ok(model) => (Vec::new(), (model.merged || !args.model.is_file()).then(|| model.bytes.to_vec())),
        Err(found) => (found, None),
    };
    problems.extend(inputs::file(&args.results, Kind::Results).err());
    if !problems.is_empty() {
        return Ok(Err(problems));
    }
    let (url, token) = match login::resolve(args.url.as_deref(), args.token.as_deref())? {
        Ok(both) => both,
        Err(problems) => return Ok(Err(problems)),
    };
    let client = match Client::new(&url, Some(&token)) {
        Ok(client) => client,
        Err(problem) => return Ok(Err(vec![problem])),
    };
    if let Err(problems) = destination(args, &client)? {
        return Ok(Err(problems));
    }
    let receipt = match upload(args, &client, merged)? {
        Answer::Done(receipt) => receipt,
        Answer::Refused(problems) => return Ok(Err(problems)),
    };
    let id = receipt["id"].as_str().context("the receipt has no id")?.to_owned();
    let page = format!("{}{}", client.base(), receipt["url"].as_str().unwrap_or_default());
    if !args.wait {
        match args.json {
            true => outln!("{receipt}"),
            false => outln!("Accepted: {page}"),
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

/// Whether the entry has somewhere to go, asked before minutes of upload. Codes: `challenge_not_found`, `phase_not_found`,
/// `phase_not_open`, `no_team`, and the server's own.
///
/// Not whether the phase has closed and the quota is used up: an entry that was sent before is still told of.
fn destination(args: &Args, client: &Client) -> Outcome {
    let challenge = match client.get_patiently(&format!("/api/v1/challenges/{}", segment(&args.challenge)))? {
        Answer::Done(challenge) => challenge,
        Answer::Refused(problems) => {
            let at = |problem: Problem| match &*problem.code {
                "challenge_not_found" => problem.at(&args.challenge).hint(format!("See {}", client.base())),
                _ => problem,
            };
            return Ok(Err(problems.into_iter().map(at).collect()));
        }
    };
    let phases = challenge["phases"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(phase) = phases.iter().find(|phase| phase["slug"] == args.phase.as_str()) else {
        let known: Vec<_> = phases.iter().filter_map(|phase| phase["slug"].as_str()).collect();
        let problem = Problem::new("phase_not_found", "The challenge has no such phase.").at(&args.phase);
        return Ok(Err(vec![problem.hint(format!("Its phases: {}.", known.join(", ")))]));
    };
    if challenge["team"].is_null() {
        let problem = Problem::new("no_team", "You are in no team of this challenge.").at(&args.challenge);
        let page = format!("{}/challenges/{}", client.base(), segment(&args.challenge));
        return Ok(Err(vec![problem.hint(format!("Join it first: {page}"))]));
    }
    if phase["state"] == "upcoming" {
        let opens = phase["opens_at"].as_str().unwrap_or("a time that is not set");
        let message = format!("This phase opens at {opens}.");
        return Ok(Err(vec![Problem::new("phase_not_open", message).at(&args.phase)]));
    }
    Ok(Ok(()))
}

/// A part of a path, whatever is in it.
fn segment(text: &str) -> impl std::fmt::Display {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'_');
    percent_encoding::utf8_percent_encode(text, PLAIN)
}

/// A word on stderr, so that stdout holds the result alone.
fn say(args: &Args, words: &str) {
    if !args.json {
        errln!("{words}");
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
    let path = format!("/api/v1/challenges/{}/phases/{}/submissions", segment(&args.challenge), segment(&args.phase));
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
                true => outln!("{submission}"),
                false => out!("{}", report::table(submission)),
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
