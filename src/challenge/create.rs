//! Making a challenge, or one more phase of it, from files.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool};

use super::{
    baseline, dataset, images,
    phase::{self, GateRule, NewPhase, QuotaLimits, Visibility},
    protocol::{self, Rules},
    vet::{self, Stated},
};
use crate::{
    audit::{self, Act, Actor},
    db,
    evaluation::model,
    ids::{ChallengeId, PhaseId, SubmissionId},
    problem::Problem,
    storage::{BlobHash, Storage},
};

/// What a new challenge is called.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// Lower-case letters, digits and hyphens; in addresses.
    pub slug: String,
    pub title: String,
    /// Markdown.
    pub description: String,
}

/// A phase and the files it is made of.
#[derive(Debug, Clone)]
pub struct PhaseFiles {
    pub slug: String,
    pub title: String,
    /// Folder of hidden PNGs.
    pub hr: PathBuf,
    /// Folder of LR PNGs; `None`: made by MATLAB-style bicubic.
    pub lr: Option<PathBuf>,
    /// Name of the rule set, without its version.
    pub protocol: String,
    pub rules: Rules,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    pub limits: QuotaLimits,
    pub visibility: Visibility,
    /// dB.
    pub gate_psnr: Option<f64>,
    /// Only where no figure is stated.
    pub gate_rule: Option<GateRule>,
    pub baseline_name: String,
    /// `.onnx`, timed interleaved with each entry.
    pub baseline_model: Option<PathBuf>,
}

impl PhaseFiles {
    /// An open phase of the images in `hr`, by AIM2020's rules, without a gate.
    pub fn new(slug: &str, title: &str, hr: impl Into<PathBuf>, scale: u32) -> PhaseFiles {
        PhaseFiles {
            slug: slug.into(),
            title: title.into(),
            hr: hr.into(),
            lr: None,
            protocol: "aim2020".into(),
            rules: Rules::aim2020(scale),
            opens_at: None,
            closes_at: None,
            limits: QuotaLimits::default(),
            visibility: Visibility::Live,
            gate_psnr: None,
            gate_rule: None,
            baseline_name: "Baseline".into(),
            baseline_model: None,
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct Created {
    pub challenge: ChallengeId,
    pub phase: PhaseId,
    /// `aim2020@1`
    pub protocol: String,
    pub images: usize,
    /// The baseline's entry, where the gate waits for it.
    pub baseline: Option<SubmissionId>,
}

/// Makes a challenge with its first phase; all of it or nothing.
pub async fn challenge(
    pool: &PgPool,
    storage: &Storage,
    new: &NewChallenge,
    files: &PhaseFiles,
) -> anyhow::Result<Result<Created, Vec<Problem>>> {
    let prepared = match prepare(storage, files).await? {
        Ok(prepared) => prepared,
        Err(problems) => return Ok(Err(problems)),
    };
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let made = async {
        let id = super::insert(&mut tx, &new.slug, &new.title, &new.description).await?;
        let created = insert(&mut tx, id, &new.slug, files, prepared).await?;
        audit::note(&mut tx, &Actor::Shell, Act::of(id, "challenge.create", &new.slug)).await?;
        Ok(created)
    };
    match made.await {
        Ok(created) => {
            tx.commit().await?;
            Ok(Ok(created))
        }
        Err(error) => problem(error).map(|problem| Err(vec![problem])),
    }
}

/// Appends a phase to a challenge.
pub async fn phase(
    pool: &PgPool,
    storage: &Storage,
    challenge: &str,
    files: &PhaseFiles,
) -> anyhow::Result<Result<Created, Vec<Problem>>> {
    let Some(found) = super::by_slug(&mut *pool.acquire().await?, challenge).await? else {
        return Ok(Err(vec![Problem::new("challenge_not_found", "there is no such challenge").at(challenge)]));
    };
    let prepared = match prepare(storage, files).await? {
        Ok(prepared) => prepared,
        Err(problems) => return Ok(Err(problems)),
    };
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    match insert(&mut tx, found.id, challenge, files, prepared).await {
        Ok(created) => {
            audit::note(&mut tx, &Actor::Shell, Act::of(found.id, "phase.create", &files.slug)).await?;
            tx.commit().await?;
            Ok(Ok(created))
        }
        Err(error) => problem(error).map(|problem| Err(vec![problem])),
    }
}

/// What is on disk before any row is written; without a row it is harmless.
struct Prepared {
    images: Vec<dataset::Image>,
    baseline: Option<(BlobHash, u64)>,
}

async fn prepare(storage: &Storage, files: &PhaseFiles) -> anyhow::Result<Result<Prepared, Vec<Problem>>> {
    let mut problems = vet::phase(Stated {
        slug: &files.slug,
        title: &files.title,
        opens_at: files.opens_at,
        closes_at: files.closes_at,
        frozen_at: None,
        visibility: files.visibility,
        limits: files.limits,
        protocol: &files.protocol,
        rules: &files.rules,
        gate_psnr: files.gate_psnr,
        gate_rule: files.gate_rule,
        baseline_name: &files.baseline_name,
        // The images are not read yet.
        smallest: None,
    });
    let baseline = match files.baseline_model.clone() {
        None => None,
        Some(path) => match tokio::task::spawn_blocking(move || model::load(&path, true)).await? {
            Ok(model) => Some((storage.put(&model.bytes).await?, model.bytes.len() as u64)),
            Err(found) => {
                problems.extend(found);
                None
            }
        },
    };
    let scale = files.rules.fidelity.scale;
    let images = match images::ingest(storage, &files.hr, files.lr.as_deref(), scale).await? {
        Ok(images) => images,
        Err(found) => {
            problems.extend(found);
            Vec::new()
        }
    };
    if let (true, Some(side)) = (problems.is_empty(), images.iter().flat_map(|image| image.hr_size).min()) {
        problems.extend(files.rules.vet(Some(side)));
    }
    Ok(if problems.is_empty() { Ok(Prepared { images, baseline }) } else { Err(problems) })
}

async fn insert(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    challenge_slug: &str,
    files: &PhaseFiles,
    prepared: Prepared,
) -> sqlx::Result<Created> {
    let name = format!("{challenge_slug}/{}", files.slug);
    let dataset = dataset::ensure(conn, &name, files.rules.fidelity.scale, &prepared.images).await?;
    let protocol = protocol::ensure(conn, &files.protocol, &files.rules).await?;
    let new = NewPhase {
        challenge,
        slug: files.slug.clone(),
        title: files.title.clone(),
        dataset,
        protocol: protocol.id,
        opens_at: files.opens_at,
        closes_at: files.closes_at,
        limits: files.limits,
        visibility: files.visibility,
        frozen_at: None,
        gate_psnr: files.gate_psnr,
        gate_rule: files.gate_rule,
        baseline_name: files.baseline_name.clone(),
        baseline_model: prepared.baseline,
    };
    let phase = phase::insert(conn, &new).await?;
    let baseline = baseline::ensure(conn, phase).await?;
    Ok(Created { challenge, phase, protocol: protocol.name, images: prepared.images.len(), baseline })
}

/// What a broken constraint says to whoever filled in the form.
pub(super) fn problem(error: sqlx::Error) -> anyhow::Result<Problem> {
    let (code, message) = match db::broken_constraint(&error) {
        Some("challenge_slug_key") => ("slug_taken", "there is a challenge with this slug"),
        Some("phase_challenge_id_slug_key") => ("slug_taken", "the challenge has a phase with this slug"),
        Some("challenge_slug_reserved" | "phase_slug_reserved") => {
            ("slug_reserved", "this word stands in the organizers' addresses: take another slug")
        }
        Some("challenge_slug_check" | "phase_slug_check") => ("bad_slug", super::BAD_SLUG),
        Some("challenge_title_check" | "phase_title_check") => ("bad_title", "a title has 1 to 200 characters"),
        Some("challenge_title_visible" | "phase_title_visible") => {
            ("bad_title", "a title holds no control characters and nothing that is not seen")
        }
        Some("phase_gate_psnr_check") => ("bad_gate", "a gate is 0 to 100 dB"),
        Some("phase_baseline_name_check") => ("bad_baseline_name", "a baseline's name has 1 to 100 characters"),
        Some("protocol_name_check") => ("bad_protocol", "a protocol's name has lower-case letters, digits, . and -"),
        Some("dataset_scale_check") => ("bad_scale", "a scale is 1 to 16"),
        Some("phase_daily_quota_check" | "phase_total_quota_check") => ("bad_quota", "a quota is at least 1"),
        Some("phase_frozen_before_it_closes") => ("bad_times", "a board stands still before the phase closes"),
        Some("phase_opens_before_it_closes") => ("bad_times", "a phase opens before it closes"),
        Some("phase_attempts_cover_quota") => ("bad_quota", "a phase allows no fewer attempts than evaluations a day"),
        _ => return Err(error.into()),
    };
    Ok(Problem::new(code, message))
}
