//! All that an organizer states of a challenge, as a value: as it is to be, or as the database has it.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::{
    challenge::{
        Challenge,
        dataset::{self, Image, full_name},
        joining::{self, Joining},
        page::{self, Page},
        phase::{self, GateRule, GateSource, Phase, QuotaLimits, Visibility},
        protocol::Rules,
    },
    ids::{ChallengeId, DatasetId, PhaseId, ProtocolId},
    storage::BlobHash,
    submission::fact_sheet::{self, Field},
};

#[derive(Debug, Clone)]
pub struct Setup {
    pub slug: String,
    pub title: String,
    /// Markdown.
    pub description: String,
    pub pages: Vec<Page>,
    pub joining: Joining,
    /// `None`: as it is.
    pub fact_sheet: Option<Vec<Field>>,
    /// In their order.
    pub phases: Vec<PhaseSetup>,
}

#[derive(Debug, Clone)]
pub struct PhaseSetup {
    pub slug: String,
    pub title: String,
    pub opens_at: Option<DateTime<Utc>>,
    pub closes_at: Option<DateTime<Utc>>,
    pub limits: QuotaLimits,
    pub visibility: Visibility,
    pub frozen_at: Option<DateTime<Utc>>,
    pub dataset: DatasetChoice,
    /// Name of the rule set, without its version.
    pub protocol: String,
    pub rules: Rules,
    /// dB.
    pub gate_psnr: Option<f64>,
    /// Only where no figure is stated.
    pub gate_rule: Option<GateRule>,
    pub baseline_name: String,
    pub baseline_model: Option<(BlobHash, u64)>,
}

impl PhaseSetup {
    /// What entries are compared with, in a phase that has a baseline's entry or none.
    pub fn gate(&self, has_entry: bool) -> GateSource {
        GateSource::of(self.gate_psnr, self.gate_rule, has_entry || self.baseline_model.is_some(), None)
    }
}

/// The images of a phase.
#[derive(Debug, Clone)]
pub struct DatasetChoice {
    /// Without the version.
    pub name: String,
    pub scale: u32,
    pub count: usize,
    /// See [`dataset::sha256_of`].
    pub sha256: String,
    pub images: Images,
}

#[derive(Debug, Clone)]
pub enum Images {
    /// A version that is there.
    Stored { id: DatasetId, version: i32 },
    /// Stored files that no version has yet.
    New(Vec<Image>),
}

impl DatasetChoice {
    /// `div2k-valid@2`, or `a new version of div2k-valid`.
    pub fn words(&self) -> String {
        match &self.images {
            Images::Stored { version, .. } => full_name(&self.name, *version),
            Images::New(_) => format!("a new version of {}", self.name),
        }
    }

    /// The shortest side of its HR images, pixels.
    pub async fn smallest_side(&self, conn: &mut PgConnection) -> sqlx::Result<Option<u32>> {
        match &self.images {
            Images::Stored { id, .. } => dataset::smallest_side(conn, *id).await,
            Images::New(images) => Ok(images.iter().flat_map(|image| image.hr_size).min()),
        }
    }

    pub fn stored(about: dataset::Summary) -> DatasetChoice {
        DatasetChoice {
            name: about.name,
            scale: about.scale,
            count: usize::try_from(about.images).unwrap_or(0),
            sha256: about.sha256,
            images: Images::Stored { id: about.id, version: about.version },
        }
    }
}

/// A challenge as the database has it.
#[derive(Debug, Clone)]
pub struct Current {
    pub id: ChallengeId,
    pub setup: Setup,
    /// Of `setup.phases`, one each.
    pub phases: Vec<CurrentPhase>,
}

/// What an organizer does not state of a phase.
#[derive(Debug, Clone)]
pub struct CurrentPhase {
    pub id: PhaseId,
    /// `aim2020@1`.
    pub protocol: String,
    pub protocol_id: ProtocolId,
    /// Submissions, withdrawn ones too.
    pub submissions: i64,
    /// Whether it has a baseline's entry.
    pub has_baseline_entry: bool,
    pub published_at: Option<DateTime<Utc>>,
}

impl Current {
    pub async fn load(conn: &mut PgConnection, challenge: &Challenge) -> sqlx::Result<Current> {
        let mut setups = Vec::new();
        let mut phases = Vec::new();
        for phase in phase::of_challenge(conn, challenge.id).await? {
            let submissions = phase::submissions(conn, phase.id).await?;
            let about = dataset::summary(conn, phase.dataset).await?.ok_or(sqlx::Error::RowNotFound)?;
            let (setup, current) = of_phase(phase, about, submissions);
            setups.push(setup);
            phases.push(current);
        }
        let setup = Setup {
            slug: challenge.slug.clone(),
            title: challenge.title.clone(),
            description: challenge.description.clone(),
            pages: page::list(conn, challenge.id).await?,
            joining: joining::get(conn, challenge.id).await?,
            fact_sheet: Some(fact_sheet::fields(conn, challenge.id).await?),
            phases: setups,
        };
        Ok(Current { id: challenge.id, setup, phases })
    }

    /// The phase of a slug, as stated and beyond.
    pub fn phase(&self, slug: &str) -> Option<(&PhaseSetup, &CurrentPhase)> {
        self.setup.phases.iter().zip(&self.phases).find(|(setup, _)| setup.slug == slug)
    }
}

fn of_phase(phase: Phase, about: dataset::Summary, submissions: i64) -> (PhaseSetup, CurrentPhase) {
    let Phase {
        id,
        challenge: _,
        challenge_slug: _,
        slug,
        title,
        position: _,
        dataset: _,
        protocol,
        opens_at,
        closes_at,
        state: _,
        limits,
        visibility,
        frozen_at,
        published_at,
        shows_all: _,
        as_of: _,
        gate,
        baseline,
        board_version: _,
    } = phase;
    let family = protocol.name.split('@').next().unwrap_or_default().to_owned();
    let current = CurrentPhase {
        id,
        protocol: protocol.name,
        protocol_id: protocol.id,
        submissions,
        has_baseline_entry: baseline.submission.is_some(),
        published_at,
    };
    let setup = PhaseSetup {
        slug,
        title,
        opens_at,
        closes_at,
        limits,
        visibility,
        frozen_at,
        dataset: DatasetChoice::stored(about),
        protocol: family,
        rules: protocol.rules,
        gate_psnr: gate.stated,
        gate_rule: gate.rule,
        baseline_name: baseline.name,
        baseline_model: baseline.model_sha256.zip(baseline.model_bytes),
    };
    (setup, current)
}
