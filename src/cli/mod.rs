//! The command line: one file a subcommand, exit codes for all of them.
//!
//! 0 success, 1 the input is at fault, 2 wrong usage, 3 we are at fault. With `--json` stdout holds one JSON document and
//! nothing else, on failure `{"errors": [{"code", "message", "where", "hint"}, …]}`.

#![warn(clippy::print_stdout, clippy::print_stderr)]

pub mod admin;
pub mod check;
pub mod demo;
mod inputs;
pub mod login;
mod output;
pub mod profile;
pub mod score;
pub mod selftest;
pub mod serve;
pub mod store;
pub mod submit;
pub mod verify;
pub mod worker;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use self::output::{errln, outln};
use crate::{evaluation::runtime, problem::Problem};

/// What a command ends with: the team's problems, or our own error.
pub type Outcome = anyhow::Result<Result<(), Vec<Problem>>>;

#[derive(Debug, Parser)]
#[command(name = "upscore", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cost of a model: parameters, FLOPs, activations, and with --runtime its time and memory. Needs no server.
    Profile(profile::Args),
    /// Fidelity of a results zip against HR images. Needs no server.
    Score(score::Args),
    /// All that the server would do with a submission, before uploading. Needs no server.
    Check(check::Args),
    /// Send an entry in from a script, and wait for its result.
    Submit(submit::Args),
    /// Keep a server's token for `upscore submit`.
    Login(login::Args),
    /// Check the hash and signature of a downloaded record. Needs no server.
    Verify(verify::Args),
    /// Whether this machine can measure: the sandbox, the device, its outputs beside the CPU's.
    Selftest(selftest::Args),
    /// Run the web server.
    Serve(serve::Args),
    /// Take jobs from the queue and measure them.
    Worker(worker::Args),
    /// A running server with a worker, a challenge and entries, made on the spot.
    Demo(demo::Args),
    /// Challenges, accounts, teams and tokens from the shell.
    Admin(AdminArgs),
    /// The model's own process; started by an evaluation, never by hand.
    #[command(hide = true)]
    Runner,
}

/// Parses the command line and runs it.
pub fn main() -> ExitCode {
    // SAFETY: there is no other thread.
    unsafe { crate::evaluation::runtime::forbid_telemetry() };
    let cli = Cli::parse();
    let (json, outcome) = match cli.command {
        // Before any thread exists: the sandbox binds the thread that enters it.
        Command::Runner => return crate::evaluation::runner::main(),
        Command::Profile(args) => (args.json, profile::run(&args)),
        Command::Score(args) => (args.json, score::run(args)),
        Command::Check(args) => (args.json, check::run(&args)),
        Command::Submit(args) => (args.json, submit::run(&args)),
        Command::Login(args) => (false, login::run(&args)),
        Command::Verify(args) => (args.json, verify::run(&args)),
        Command::Selftest(args) => (args.json, selftest::run(&args)),
        Command::Serve(args) => (false, serve::run(&args)),
        Command::Worker(args) => (false, worker::run(&args)),
        Command::Demo(args) => (false, demo::run(&args)),
        Command::Admin(args) => (args.admin.json, administer(args)),
    };
    finish(json, outcome)
}

#[derive(Debug, clap::Args)]
struct AdminArgs {
    #[command(flatten)]
    admin: admin::Args,
    #[command(flatten)]
    store: store::Options,
}

fn administer(args: AdminArgs) -> Outcome {
    store::block_on(&args.store.log, async {
        let store = store::Store::open(&args.store, &crate::config::Limits::default()).await?;
        let outcome = admin::run(args.admin, &store.pool, &store.storage).await;
        store.close().await?;
        outcome
    })
}

fn finish(json: bool, outcome: Outcome) -> ExitCode {
    match outcome.and_then(|outcome| output::check().map(|()| outcome)) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(problems)) => {
            report(json, &problems);
            ExitCode::from(1)
        }
        Err(error) => {
            // What is known of it by name, as that the server is out of reach, keeps its name.
            let problem = error.downcast().unwrap_or_else(|error| Problem::new("internal", format!("{error:#}")));
            report(json, &[problem]);
            ExitCode::from(3)
        }
    }
}

fn report(json: bool, problems: &[Problem]) {
    if json {
        outln!("{}", serde_json::json!({ "errors": problems }));
        return;
    }
    for problem in problems {
        errln!("error: {problem}");
        if let Some(hint) = &problem.hint {
            errln!("  hint: {hint}");
        }
    }
}

/// `cpu` or `cuda:N`, as it was written.
fn device(text: &str) -> Result<String, String> {
    text.parse::<runtime::Device>().map(|_| text.to_owned())
}

/// A progress bar on stderr; none where that is no terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:<12} {wide_bar} {percent:>3} % {elapsed}");
    ProgressBar::new(1).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show(bar: &ProgressBar, step: &'static str, done: u32, total: u32) {
    bar.set_message(step);
    bar.set_length(u64::from(total));
    bar.set_position(u64::from(done));
}
