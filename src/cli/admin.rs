//! `upscore admin`: challenges, phases, accounts, teams and tokens from the shell.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool};

use super::Outcome;
use crate::{
    challenge::{
        self,
        create::{self, Created, NewChallenge, PhaseFiles},
        joining::{self, JoinPolicy, Joining},
        phase::{QuotaLimits, Visibility},
        protocol::{Comparison, DeviceClass, Metric, ReproductionRule, Rules},
    },
    evaluation::RankedImages,
    problem::Problem,
    record::Signer,
    storage::Storage,
    team::{
        self, Role, TeamError,
        account::{self, NewAccount},
        reset::{self, Maker},
        token::{self, Scope},
    },
};

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
    /// Challenges, each with its first phase.
    #[command(subcommand)]
    Challenge(ChallengeCommand),
    /// Further phases of a challenge.
    #[command(subcommand)]
    Phase(PhaseCommand),
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

#[derive(Debug, Subcommand)]
enum ChallengeCommand {
    /// Makes a challenge and its first phase from a folder of HR images.
    Create {
        /// Lower-case letters, digits and hyphens; in addresses.
        #[arg(long)]
        slug: String,
        #[arg(long)]
        title: String,
        /// Markdown.
        #[arg(long, default_value = "")]
        description: String,
        /// Slug of the first phase.
        #[arg(long, default_value = "validation")]
        phase: String,
        /// Title of the first phase; its slug where none is given.
        #[arg(long)]
        phase_title: Option<String>,
        #[command(flatten)]
        files: Box<PhaseArgs>,
    },
    /// Says who may join, by which terms, and how large a team may be; what is not given is set to its default.
    Joining {
        #[arg(long)]
        slug: String,
        /// An organizer lets each account in; open to everybody where not given.
        #[arg(long)]
        approval: bool,
        /// Markdown file of the terms that everybody accepts; none where not given.
        #[arg(long, value_name = "FILE.md")]
        terms: Option<PathBuf>,
        /// People in a team at most; no limit where not given.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
        max_members: Option<u32>,
    },
}

#[derive(Debug, Subcommand)]
enum PhaseCommand {
    /// Appends a phase to a challenge.
    Create {
        /// Slug of the challenge.
        #[arg(long)]
        challenge: String,
        #[arg(long)]
        slug: String,
        /// Its slug where none is given.
        #[arg(long)]
        title: Option<String>,
        #[command(flatten)]
        files: PhaseArgs,
    },
}

#[derive(Debug, ClapArgs)]
struct PhaseArgs {
    /// Folder of the hidden HR PNGs.
    #[arg(long, value_name = "DIR")]
    hr: PathBuf,
    /// Folder of the LR PNGs; made by MATLAB-style bicubic where none is given.
    #[arg(long, value_name = "DIR")]
    lr: Option<PathBuf>,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// PSNR that an entry must reach, dB.
    #[arg(long, value_name = "DB")]
    gate: Option<f64>,
    /// Compare with the gate after rounding to so many decimals; exact where not given.
    #[arg(long, value_name = "DECIMALS", value_parser = clap::value_parser!(u8).range(0..=6))]
    gate_rounded: Option<u8>,
    /// The baseline's model, timed beside each entry.
    #[arg(long, value_name = "MODEL.onnx")]
    baseline_model: Option<PathBuf>,
    #[arg(long, default_value = "Baseline")]
    baseline_name: String,
    /// Name of the rule set, without its version.
    #[arg(long, default_value = "aim2020")]
    protocol: String,
    /// What orders the board.
    #[arg(long, value_enum, default_value_t = RankBy::Runtime)]
    rank_by: RankBy,
    /// Which workers measure.
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
    /// Opens at, as 2026-11-24T12:00:00Z; at once where not given.
    #[arg(long)]
    opens: Option<DateTime<Utc>>,
    /// Closes at; never where not given.
    #[arg(long)]
    closes: Option<DateTime<Utc>>,
    /// Completed evaluations a team and UTC day.
    #[arg(long, default_value_t = QuotaLimits::default().daily)]
    daily: u32,
    /// Completed evaluations a team in the whole phase.
    #[arg(long)]
    total: Option<u32>,
    /// Failed runs a team and UTC day; four times the evaluations where not given, at least 20.
    #[arg(long)]
    attempts: Option<u32>,
    /// Keep figures from participants until they are published.
    #[arg(long)]
    hidden: bool,
    /// Whose images' PSNR and SSIM count; with --hidden those that the model makes here, else the uploaded ones.
    #[arg(long, value_enum)]
    rank_images: Option<RankImages>,
    /// What becomes of an entry whose model does not make its images; with --hidden it is held, else only marked.
    #[arg(long, value_enum)]
    differing: Option<Differing>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RankImages {
    Uploaded,
    Model,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Differing {
    Unranked,
    Held,
    Marked,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RankBy {
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
    Psnr,
    Ssim,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Device {
    Cpu,
    Cuda,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Makes an account.
    Create {
        #[arg(long)]
        name: String,
        #[arg(long)]
        email: Option<String>,
        /// Read a password from the first line of stdin; without it the account signs in by token only.
        #[arg(long)]
        password_stdin: bool,
        /// May run challenges.
        #[arg(long)]
        organizer: bool,
    },
    /// Prints a link that sets a new password, once, within 24 hours.
    ResetLink {
        /// Login name.
        #[arg(long)]
        name: String,
        /// The address that participants use.
        #[arg(long, env = "UPSCORE_PUBLIC_URL", default_value = "http://127.0.0.1:8080", value_name = "URL")]
        public_url: String,
    },
    /// Shuts an account out: none of its sessions and tokens works any more. Its entries stay.
    Disable {
        /// Login name.
        #[arg(long)]
        name: String,
    },
    /// Lets an account in again.
    Enable {
        /// Login name.
        #[arg(long)]
        name: String,
    },
}

#[derive(Debug, Subcommand)]
enum TeamCommand {
    /// Makes a team; the first member owns it.
    Create {
        /// Slug of the challenge.
        #[arg(long)]
        challenge: String,
        #[arg(long)]
        name: String,
        /// Login name; may be repeated.
        #[arg(long = "member", required = true)]
        members: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum TokenCommand {
    /// Makes a token and prints it: the only time that it is shown.
    Create {
        /// Login name.
        #[arg(long)]
        account: String,
        #[arg(long, default_value = "command line")]
        name: String,
        #[arg(long, value_enum, default_value_t = Scope::Submit)]
        scope: Scope,
        /// Days until it expires; never where not given.
        #[arg(long)]
        days: Option<u32>,
    },
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
        Command::Challenge(ChallengeCommand::Create { slug, title, description, phase, phase_title, files }) => {
            let new = NewChallenge { slug, title, description };
            let files = files.files(&phase, phase_title.as_deref());
            created(create::challenge(pool, storage, &new, &files).await?, &new.slug, &phase)
        }
        Command::Challenge(ChallengeCommand::Joining { slug, approval, terms, max_members }) => {
            set_joining(pool, slug, approval, terms, max_members).await
        }
        Command::Phase(PhaseCommand::Create { challenge, slug, title, files }) => {
            let files = files.files(&slug, title.as_deref());
            created(create::phase(pool, storage, &challenge, &files).await?, &challenge, &slug)
        }
        Command::Account(command) => account_command(command, pool).await,
        Command::Team(command) => team_command(command, pool).await,
        Command::Token(command) => token_command(command, pool).await,
        Command::RecordKey => {
            let signer = Signer::open(&storage.record_key())?;
            let key = signer.public_key();
            let document = serde_json::json!({ "algorithm": "ed25519", "public_key": key });
            Ok(Ok(Made { document, sentence: key.to_owned() }))
        }
    }?;
    Ok(made.map(|made| match args.json {
        true => println!("{}", made.document),
        false => println!("{}", made.sentence),
    }))
}

impl PhaseArgs {
    fn files(self, slug: &str, title: Option<&str>) -> PhaseFiles {
        let mut rules = Rules::aim2020(self.scale);
        rules.gate = self.gate_rounded.map_or(Comparison::Exact, |decimals| Comparison::Rounded { decimals });
        rules.ranking.metric = match self.rank_by {
            RankBy::Runtime => Metric::Runtime,
            RankBy::Params => Metric::Params,
            RankBy::Flops => Metric::Flops,
            RankBy::Activations => Metric::Activations,
            RankBy::Memory => Metric::Memory,
            RankBy::Psnr => Metric::Psnr,
            RankBy::Ssim => Metric::Ssim,
        };
        rules.ranked_images = match self.rank_images {
            Some(RankImages::Model) => RankedImages::Model,
            None if self.hidden => RankedImages::Model,
            Some(RankImages::Uploaded) | None => RankedImages::Uploaded,
        };
        rules.reproduction = match self.differing {
            Some(Differing::Unranked) => ReproductionRule::Required,
            Some(Differing::Held) => ReproductionRule::Held,
            None if self.hidden => ReproductionRule::Held,
            Some(Differing::Marked) | None => ReproductionRule::Shown,
        };
        rules.device = match self.device {
            Device::Cpu => DeviceClass::Cpu,
            Device::Cuda => DeviceClass::Cuda,
        };
        PhaseFiles {
            slug: slug.to_owned(),
            title: title.unwrap_or(slug).to_owned(),
            hr: self.hr,
            lr: self.lr,
            protocol: self.protocol,
            rules,
            opens_at: self.opens,
            closes_at: self.closes,
            limits: QuotaLimits {
                daily: self.daily,
                total: self.total,
                daily_attempts: self
                    .attempts
                    .unwrap_or(self.daily.saturating_mul(4).max(QuotaLimits::default().daily_attempts)),
            },
            visibility: if self.hidden { Visibility::Hidden } else { Visibility::Live },
            gate_psnr: self.gate,
            baseline_name: self.baseline_name,
            baseline_model: self.baseline_model,
        }
    }
}

fn created(made: Result<Created, Vec<Problem>>, challenge: &str, phase: &str) -> Done {
    let made = match made {
        Ok(made) => made,
        Err(problems) => return Ok(Err(problems)),
    };
    let Created { images, protocol, .. } = &made;
    let sentence = format!("Made {challenge}/{phase}: {images} images, protocol {protocol}.");
    Ok(Ok(Made::new(sentence, &made)?))
}

async fn set_joining(
    pool: &PgPool,
    slug: String,
    approval: bool,
    terms: Option<PathBuf>,
    max_members: Option<u32>,
) -> Done {
    let mut conn = pool.acquire().await?;
    let Some(found) = challenge::by_slug(&mut conn, &slug).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(slug)]));
    };
    let terms = match terms.map(|path| std::fs::read_to_string(&path).map_err(|error| (path, error))).transpose() {
        Ok(terms) => terms.unwrap_or_default(),
        Err((path, error)) => {
            return Ok(Err(vec![Problem::new("terms_unreadable", error.to_string()).at(path.display().to_string())]));
        }
    };
    if terms.chars().count() > 100_000 {
        return Ok(Err(vec![Problem::new("terms_too_long", "terms have at most 100000 characters")]));
    }
    let policy = if approval { JoinPolicy::Approval } else { JoinPolicy::Open };
    let joining = Joining { policy, terms: terms.trim().to_owned(), max_members };
    joining::set(&mut conn, found.id, &joining).await?;
    let sentence = format!("{slug} is joined {}.", if approval { "by approval" } else { "by everybody" });
    let sha256 = joining.terms_sha256();
    Ok(Ok(Made::new(sentence, serde_json::json!({ "slug": slug, "policy": policy, "terms_sha256": sha256 }))?))
}

async fn account_command(command: AccountCommand, pool: &PgPool) -> Done {
    let mut conn = pool.acquire().await?;
    match command {
        AccountCommand::Create { name, email, password_stdin, organizer } => {
            let password = if password_stdin { Some(first_line()?) } else { None };
            let new = NewAccount { name: name.clone(), email, password, is_organizer: organizer };
            let id = match account::create(&mut conn, new).await {
                Ok(id) => id,
                Err(error) => return refused(error.code(), error),
            };
            Ok(Ok(Made::new(format!("Made account {name}."), serde_json::json!({ "id": id, "name": name }))?))
        }
        AccountCommand::ResetLink { name, public_url } => {
            let Some(account) = account::by_name(&mut conn, &name).await? else { return no_account(name) };
            let secret = reset::create(&mut conn, account.id, Maker::Shell).await?;
            let link = format!("{}/reset?key={}", public_url.trim_end_matches('/'), secret.expose());
            Ok(Ok(Made::new(link.clone(), serde_json::json!({ "name": account.name, "link": link }))?))
        }
        AccountCommand::Disable { name } => set_disabled(&mut conn, name, true).await,
        AccountCommand::Enable { name } => set_disabled(&mut conn, name, false).await,
    }
}

async fn set_disabled(conn: &mut PgConnection, name: String, disabled: bool) -> Done {
    let Some(account) = account::by_name(conn, &name).await? else { return no_account(name) };
    account::set_disabled(conn, account.id, disabled).await?;
    let sentence = format!("{} is {}.", account.name, if disabled { "shut out" } else { "let in" });
    Ok(Ok(Made::new(sentence, serde_json::json!({ "name": account.name, "disabled": disabled }))?))
}

fn no_account(name: String) -> Done {
    Ok(Err(vec![Problem::new("account_not_found", "there is no such account").at(name)]))
}

async fn team_command(command: TeamCommand, pool: &PgPool) -> Done {
    let TeamCommand::Create { challenge, name, members } = command;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let Some(found) = challenge::by_slug(&mut tx, &challenge).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(challenge)]));
    };
    let mut accounts = Vec::new();
    for member in members {
        match account::by_name(&mut tx, &member).await? {
            Some(account) => accounts.push(account.id),
            None => return no_account(member),
        }
    }
    let made: Result<_, TeamError> = async {
        let id = team::create(&mut tx, found.id, &name, accounts[0]).await?;
        for member in &accounts[1..] {
            team::join(&mut tx, id, *member, Role::Member).await?;
        }
        Ok(id)
    }
    .await;
    match made {
        Ok(id) => {
            tx.commit().await?;
            let document = serde_json::json!({ "id": id, "name": name, "challenge": challenge });
            Ok(Ok(Made::new(format!("Made team {name} in {challenge}."), document)?))
        }
        Err(error) => refused(error.code(), error),
    }
}

async fn token_command(command: TokenCommand, pool: &PgPool) -> Done {
    let TokenCommand::Create { account, name, scope, days } = command;
    let mut conn = pool.acquire().await?;
    let Some(owner) = account::by_name(&mut conn, &account).await? else {
        return no_account(account);
    };
    let (id, secret) = match token::make(&mut conn, owner.id, &name, scope, days).await {
        Ok(made) => made,
        Err(error) => return refused(error.code(), error),
    };
    let document = serde_json::json!({ "id": id, "token": secret.expose(), "account": account, "scope": scope });
    Ok(Ok(Made::new(secret.expose().to_owned(), document)?))
}

/// A situation is the input's fault; the rest is ours.
fn refused(code: Option<&'static str>, error: impl std::error::Error + Send + Sync + 'static) -> Done {
    match code {
        Some(code) => Ok(Err(vec![Problem::new(code, error.to_string())])),
        None => Err(error.into()),
    }
}

fn first_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}
