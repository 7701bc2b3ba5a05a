//! `upscore admin`: challenges, phases, accounts, teams and tokens from the shell.

mod account;
mod challenge;
mod dataset;
mod file;
mod organizer;
mod rerun;

use clap::{Args as ClapArgs, Subcommand};
use serde::Serialize;
use sqlx::PgPool;

use self::{
    account::{AccountCommand, TeamCommand, TokenCommand},
    challenge::{ChallengeCommand, PhaseCommand},
    dataset::DatasetCommand,
    rerun::RerunCommand,
};
use super::{Outcome, output::outln};
use crate::{problem::Problem, record::Signer, storage::Storage};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// One JSON document on stdout.
    #[arg(long, global = true)]
    pub json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Challenges: from one file, or each with its first phase.
    #[command(subcommand)]
    Challenge(ChallengeCommand),
    /// Further phases of a challenge.
    #[command(subcommand)]
    Phase(PhaseCommand),
    /// Images that phases are measured on.
    #[command(subcommand)]
    Dataset(DatasetCommand),
    /// Measuring entries again, and what becomes of it.
    #[command(subcommand)]
    Rerun(RerunCommand),
    /// People.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Teams, one a person and challenge.
    #[command(subcommand)]
    Team(TeamCommand),
    /// Keys for scripts.
    #[command(subcommand)]
    Token(TokenCommand),
    /// Prints the public key that this server's records are signed with; made here if it was not used yet.
    RecordKey,
}

/// What a command made: a sentence, or with `--json` the document.
struct Made {
    sentence: String,
    document: serde_json::Value,
}

impl Made {
    fn new(sentence: String, document: impl Serialize) -> anyhow::Result<Made> {
        Ok(Made { sentence, document: serde_json::to_value(document)? })
    }
}

type Done = anyhow::Result<Result<Made, Vec<Problem>>>;

/// Runs a command against a migrated database.
pub async fn run(args: Args, pool: &PgPool, storage: &Storage) -> Outcome {
    let made = match args.command {
        Command::Challenge(command) => challenge::challenge(command, pool, storage).await,
        Command::Phase(command) => challenge::phase(command, pool, storage).await,
        Command::Dataset(command) => dataset::dataset(command, pool, storage).await,
        Command::Rerun(command) => rerun::run(command, pool).await,
        Command::Account(command) => account::account_command(command, pool).await,
        Command::Team(command) => account::team_command(command, pool).await,
        Command::Token(command) => account::token_command(command, pool).await,
        Command::RecordKey => {
            let signer = Signer::open(&storage.record_key())?;
            let key = signer.public_key();
            let document = serde_json::json!({ "algorithm": "ed25519", "public_key": key });
            Ok(Ok(Made { document, sentence: key.to_owned() }))
        }
    }?;
    Ok(made.map(|made| match args.json {
        true => outln!("{}", made.document),
        false => outln!("{}", made.sentence),
    }))
}
