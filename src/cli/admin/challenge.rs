//! Challenges and their phases.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::{
    Args as ClapArgs, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser},
};
use sqlx::{Acquire, PgPool};

use super::{
    super::inputs::{self, Kind},
    Done, Made, file,
    organizer::{self, OrganizerCommand},
};
use crate::{
    audit::{self, Act, Actor},
    challenge::{
        self,
        bundle::Wish,
        create::{self, Created, NewChallenge, PhaseFiles},
        joining::{self, JoinPolicy, Joining},
        phase::{GateRule, QuotaLimits, Visibility},
        protocol::{Comparison, DeviceClass, Metric, PRESETS, Preset, ReproductionRule, Rule, Rules, STANDARD},
    },
    evaluation::RankedImages,
    problem::Problem,
    storage::Storage,
};

#[derive(Debug, Subcommand)]
pub enum ChallengeCommand {
    /// Makes the challenge what a file says, and prints what that changes; done again, it changes nothing.
    Apply {
        /// `challenge.toml`; the files that it names lie beside it.
        file: PathBuf,
        /// Say what would change, and change nothing.
        #[arg(long)]
        dry_run: bool,
        /// Queue the entries that the present rules or images of their phase have not measured.
        #[arg(long)]
        measure_again: bool,
        /// Why, for the audit log.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Writes a challenge as the file that would make it.
    Export {
        slug: String,
        /// Empty or new folder for `challenge.toml`, its texts and models; where none is given the file goes to stdout, whole.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Turns a competition bundle of Codabench (version 2) or CodaLab (1.5) into a challenge's file, and says of each field what
    /// became of it. Nothing in it is run, and no challenge is made yet: `apply` does that.
    Import {
        /// The zip with `competition.yaml`.
        bundle: PathBuf,
        /// Empty or new folder for `challenge.toml`, its texts and images, and `report.md`.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Of the challenge; from its title where not given.
        #[arg(long)]
        slug: Option<String>,
        /// Dataset of those phases for which the bundle has no images.
        #[arg(long, value_name = "NAME")]
        dataset: Option<String>,
    },
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
    /// Who runs a challenge beside the administrators.
    #[command(subcommand)]
    Organizer(OrganizerCommand),
}

#[derive(Debug, Subcommand)]
pub enum PhaseCommand {
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
pub struct PhaseArgs {
    /// Folder of the hidden HR PNGs.
    #[arg(long, value_name = "DIR")]
    hr: PathBuf,
    /// Folder of the LR PNGs; made by MATLAB-style bicubic where none is given.
    #[arg(long, value_name = "DIR")]
    lr: Option<PathBuf>,
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=16))]
    scale: u32,
    /// PSNR that an entry must reach, dB; `baseline`: the measured PSNR of --baseline-model, and nobody is ranked until it is
    /// measured; `none`: every entry is ranked. Where not given: the preset's for such a phase, else `baseline` with
    /// --baseline-model and `none` without.
    #[arg(long, value_name = "DB|baseline|none", value_parser = gate)]
    gate: Option<Gate>,
    /// Compare with the gate after rounding to so many decimals; exact where not given.
    #[arg(long, value_name = "DECIMALS", value_parser = clap::value_parser!(u8).range(0..=6))]
    gate_rounded: Option<u8>,
    /// The baseline's model, timed beside each entry.
    #[arg(long, value_name = "MODEL.onnx")]
    baseline_model: Option<PathBuf>,
    #[arg(long, default_value = "Baseline")]
    baseline_name: String,
    /// The rules of a real challenge, to start from; a phase called `validation` or `test` takes its gate too, unless --gate
    /// says another. AIM2020's rules where not given.
    #[arg(long, value_parser = PossibleValuesParser::new(PRESETS.map(preset_value)))]
    preset: Option<String>,
    /// Name of the rule set, without its version; the preset's where not given.
    #[arg(long)]
    protocol: Option<String>,
    /// Order the board by this figure alone; as the preset does where not given.
    #[arg(long, value_enum)]
    rank_by: Option<RankBy>,
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

#[derive(Debug, Clone, Copy, PartialEq)]
enum Gate {
    Psnr(f64),
    Rule(GateRule),
}

fn gate(words: &str) -> Result<Gate, String> {
    match words {
        "none" => Ok(Gate::Rule(GateRule::None)),
        "baseline" => Ok(Gate::Rule(GateRule::Baseline)),
        // As it was before there was a word for it.
        "0" => Ok(Gate::Rule(GateRule::None)),
        psnr => psnr.parse().map(Gate::Psnr).map_err(|_| "a gate is a PSNR in dB, baseline or none".into()),
    }
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

impl From<RankBy> for Metric {
    fn from(by: RankBy) -> Metric {
        match by {
            RankBy::Runtime => Metric::Runtime,
            RankBy::Params => Metric::Params,
            RankBy::Flops => Metric::Flops,
            RankBy::Activations => Metric::Activations,
            RankBy::Memory => Metric::Memory,
            RankBy::Psnr => Metric::Psnr,
            RankBy::Ssim => Metric::Ssim,
        }
    }
}

/// A preset with its line for the help.
fn preset_value(preset: Preset) -> PossibleValue {
    PossibleValue::new(preset.name).help(preset.description)
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Device {
    Cpu,
    Cuda,
}
pub async fn challenge(command: ChallengeCommand, pool: &PgPool, storage: &Storage) -> Done {
    match command {
        ChallengeCommand::Apply { file, dry_run, measure_again, reason } => {
            file::apply(pool, storage, &file, dry_run, measure_again, &reason).await
        }
        ChallengeCommand::Export { slug, out } => file::export(pool, storage, &slug, out.as_deref()).await,
        ChallengeCommand::Import { bundle, out, slug, dataset } => {
            file::import(&bundle, &out, Wish { slug: slug.as_deref(), dataset: dataset.as_deref() })
        }
        ChallengeCommand::Create { slug, title, description, phase, phase_title, files } => {
            if let Err(missing) = files.there() {
                return Ok(Err(missing));
            }
            let new = NewChallenge { slug, title, description };
            let files = files.files(&phase, phase_title.as_deref());
            created(create::challenge(pool, storage, &new, &files).await?, &new.slug, &phase)
        }
        ChallengeCommand::Joining { slug, approval, terms, max_members } => {
            set_joining(pool, slug, approval, terms, max_members).await
        }
        ChallengeCommand::Organizer(command) => organizer::run(command, pool).await,
    }
}

pub async fn phase(command: PhaseCommand, pool: &PgPool, storage: &Storage) -> Done {
    let PhaseCommand::Create { challenge, slug, title, files } = command;
    if let Err(missing) = files.there() {
        return Ok(Err(missing));
    }
    let files = files.files(&slug, title.as_deref());
    created(create::phase(pool, storage, &challenge, &files).await?, &challenge, &slug)
}

impl PhaseArgs {
    /// Whether every path that is named is one.
    fn there(&self) -> Result<(), Vec<Problem>> {
        let folders = std::iter::once(&self.hr).chain(&self.lr).map(|path| inputs::folder(path));
        let model = self.baseline_model.iter().map(|path| inputs::file(path, Kind::Model));
        let missing: Vec<_> = folders.chain(model).filter_map(Result::err).collect();
        if missing.is_empty() { Ok(()) } else { Err(missing) }
    }

    fn files(self, slug: &str, title: Option<&str>) -> PhaseFiles {
        let preset = self.preset.as_deref().and_then(Preset::named);
        let mut rules = preset.map_or_else(|| Rules::standard(self.scale), |preset| preset.rules(self.scale));
        if let Some(decimals) = self.gate_rounded {
            rules.gate = Comparison::Rounded { decimals };
        }
        if let Some(rank_by) = self.rank_by {
            rules.ranking.rule = Rule::Metric(rank_by.into());
        }
        rules.ranked_images = match self.rank_images {
            Some(RankImages::Model) => RankedImages::Model,
            None if self.hidden => RankedImages::Model,
            Some(RankImages::Uploaded) => RankedImages::Uploaded,
            None => rules.ranked_images,
        };
        rules.reproduction = match self.differing {
            Some(Differing::Unranked) => ReproductionRule::Required,
            Some(Differing::Held) => ReproductionRule::Held,
            None if self.hidden => ReproductionRule::Held,
            Some(Differing::Marked) => ReproductionRule::Shown,
            None => rules.reproduction,
        };
        rules.device = match self.device {
            Device::Cpu => DeviceClass::Cpu,
            Device::Cuda => DeviceClass::Cuda,
        };
        let (gate_psnr, gate_rule) = match self.gate {
            Some(Gate::Psnr(psnr)) => (Some(psnr), None),
            Some(Gate::Rule(rule)) => (None, Some(rule)),
            None => (preset.and_then(|p| p.gate(slug)), None),
        };
        PhaseFiles {
            slug: slug.to_owned(),
            title: title.unwrap_or(slug).to_owned(),
            hr: self.hr,
            lr: self.lr,
            protocol: self.protocol.unwrap_or_else(|| preset.map_or(STANDARD, |p| p.name).to_owned()),
            rules,
            opens_at: self.opens,
            closes_at: self.closes,
            limits: QuotaLimits {
                daily: self.daily,
                total: self.total,
                daily_attempts: self.attempts.unwrap_or(QuotaLimits::attempts_for(self.daily)),
            },
            visibility: if self.hidden { Visibility::Hidden } else { Visibility::Live },
            gate_psnr,
            gate_rule,
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
    let Created { images, protocol, baseline, .. } = &made;
    let waits = match baseline {
        Some(_) => " The baseline is queued: nobody is ranked until it is measured.",
        None => "",
    };
    let sentence = format!("Made {challenge}/{phase}: {images} images, protocol {protocol}.{waits}");
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
    let read = |path: PathBuf| {
        inputs::file(&path, Kind::Text)?;
        std::fs::read_to_string(&path).map_err(|error| inputs::unreadable(&path, &error))
    };
    let terms = match terms.map(read).transpose() {
        Ok(terms) => terms.unwrap_or_default(),
        Err(problem) => return Ok(Err(vec![problem])),
    };
    if terms.chars().count() > 100_000 {
        return Ok(Err(vec![Problem::new("terms_too_long", "terms have at most 100000 characters")]));
    }
    let policy = if approval { JoinPolicy::Approval } else { JoinPolicy::Open };
    let joining = Joining { policy, terms: terms.trim().to_owned(), max_members };
    let mut tx = conn.begin().await?;
    let before = joining::get(&mut tx, found.id).await?;
    joining::set(&mut tx, found.id, &joining).await?;
    let details = serde_json::json!({
        "policy": [before.policy, joining.policy], "max_members": [before.max_members, joining.max_members],
        "terms_sha256": [before.terms_sha256(), joining.terms_sha256()],
    });
    audit::note(&mut tx, &Actor::Shell, Act::of(found.id, "challenge.joining", &slug).with(details)).await?;
    tx.commit().await?;
    let sentence = format!("{slug} is joined {}.", if approval { "by approval" } else { "by everybody" });
    let sha256 = joining.terms_sha256();
    Ok(Ok(Made::new(sentence, serde_json::json!({ "slug": slug, "policy": policy, "terms_sha256": sha256 }))?))
}
