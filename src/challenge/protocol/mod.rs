//! A protocol: one immutable version of a rule set, as `aim2020@1`. Every score names the one it was measured by.

pub mod preset;
mod ranking;
pub mod vet;

pub use preset::{PRESETS, Preset, STANDARD};
pub use ranking::{EntryRule, Metric, Ranking, RankingForm, Rule, SubTrack, SubTrackForm, Term, Ties, listed};

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use crate::{
    evaluation::{self, RankedImages, TimingSettings, fidelity::Settings, model::Operators},
    ids::ProtocolId,
};

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Protocol {
    pub id: ProtocolId,
    /// `aim2020@1`.
    pub name: String,
    pub rules: Rules,
    /// Of the part of the rules by which an entry is measured: fidelity, ranked images, operators, timing, limits, device.
    /// Scores count under every protocol with the same one.
    pub measuring_sha256: String,
}

/// All that decides how an entry is measured and ranked, except the figure of the gate, which belongs to the phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub fidelity: Settings,
    pub gate: Comparison,
    #[schema(value_type = RankingForm)]
    pub ranking: Ranking,
    pub reproduction: ReproductionRule,
    /// Whether an entry must be verified to be ranked. (Absent in versions of before: not needed.)
    #[serde(default, skip_serializing_if = "is_not_needed")]
    pub verification: Verification,
    /// Whose PSNR and SSIM gate and rank. (Absent in versions of before: the uploaded images'.)
    #[serde(default, skip_serializing_if = "is_uploaded")]
    pub ranked_images: RankedImages,
    /// What a model may be made of. (Absent in versions of before: all that could be counted.)
    #[serde(default)]
    pub operators: Operators,
    pub timing: TimingSettings,
    pub limits: Limits,
    /// Which of the two FLOP counts is shown and ranked.
    pub flops: FlopsProfile,
    pub device: DeviceClass,
    /// The one kind of it that measures, by the name that `upscore selftest` prints: `NVIDIA H100 80GB HBM3`. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device_name: Option<String>,
}

impl Rules {
    /// Whether an entry that was measured by these rules counts under `other`: they differ at most in how entries are judged.
    /// The same as [`Protocol::measuring_sha256`], which the database makes.
    pub fn measure_as(&self, other: &Rules) -> bool {
        let Rules {
            fidelity,
            operators,
            timing,
            limits,
            device,
            device_name,
            ranked_images,
            gate: _,
            ranking: _,
            reproduction: _,
            verification: _,
            flops: _,
        } = self;
        let on = (device, device_name) == (&other.device, &other.device_name);
        on && (fidelity, operators, timing, limits, ranked_images)
            == (&other.fidelity, &other.operators, &other.timing, &other.limits, &other.ranked_images)
    }
}

/// How a PSNR is compared with the gate. Rules of real challenges left this open, and entries fell between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Comparison {
    /// The measured value as it is: 28.999 is below 29.00.
    Exact,
    /// Both rounded to so many decimals, halves up: with 2, 28.995 reaches 29.00.
    Rounded { decimals: u8 },
}

/// What becomes of an entry whose model does not make its images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReproductionRule {
    /// It is not ranked: its cost is not the cost of its images.
    Required,
    /// It is held for an organizer's decision, and not ranked until then.
    Held,
    /// The verdict is shown, and the entry is ranked.
    Shown,
}

/// Whether an entry is ranked before its organizers have looked at it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verification {
    /// It is ranked as it is measured.
    #[default]
    NotNeeded,
    /// It is ranked once an organizer has verified it and its fact sheet says all that is required, as in AIM2020.
    Required,
}

fn is_not_needed(verification: &Verification) -> bool {
    *verification == Verification::NotNeeded
}

fn is_uploaded(ranked: &RankedImages) -> bool {
    *ranked == RankedImages::Uploaded
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FlopsProfile {
    /// AIM2020, NTIRE2022, NTIRE2023.
    Kair,
    /// NTIRE2024 on.
    Fvcore,
}

impl FlopsProfile {
    pub fn as_str(self) -> &'static str {
        match self {
            FlopsProfile::Kair => "kair",
            FlopsProfile::Fvcore => "fvcore",
        }
    }
}

/// Which workers may measure: no board mixes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum DeviceClass {
    Cpu,
    Cuda,
}

impl DeviceClass {
    pub fn as_str(self) -> &'static str {
        match self {
            DeviceClass::Cpu => "cpu",
            DeviceClass::Cuda => "cuda",
        }
    }

    /// Of a device as `cpu` or `cuda:0`.
    pub fn of(device: &str) -> Option<DeviceClass> {
        match device.split_once(':').map_or(device, |(class, _)| class) {
            "cpu" => Some(DeviceClass::Cpu),
            "cuda" => Some(DeviceClass::Cuda),
            _ => None,
        }
    }
}

/// What one evaluation may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Bytes.
    pub memory_bytes: u64,
    /// Wall clock, seconds.
    pub seconds: u64,
}

impl From<Limits> for evaluation::Limits {
    fn from(limits: Limits) -> Self {
        evaluation::Limits { memory_bytes: limits.memory_bytes, time: std::time::Duration::from_secs(limits.seconds) }
    }
}

/// The protocol of these rules: the version of `family` that says the same, else a new version.
pub async fn ensure(conn: &mut PgConnection, family: &str, rules: &Rules) -> sqlx::Result<Protocol> {
    // Two at once must not make the same version twice.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('protocol ' || $1))", family).execute(&mut *conn).await?;
    let same = sqlx::query!(
        r#"select id as "id: ProtocolId", name, measuring_sha256 from protocol
           where split_part(name, '@', 1) = $1 and rules = $2 order by id desc limit 1"#,
        family,
        Json(rules) as _
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = same {
        return Ok(Protocol {
            id: row.id,
            name: row.name,
            rules: rules.clone(),
            measuring_sha256: row.measuring_sha256,
        });
    }
    let row = sqlx::query!(
        r#"insert into protocol (id, name, rules)
           select $1, $2 || '@' || coalesce(max(split_part(name, '@', 2)::int), 0) + 1, $3
           from protocol where split_part(name, '@', 1) = $2 returning name"#,
        ProtocolId::new().0,
        family,
        Json(rules) as _
    )
    .fetch_one(&mut *conn)
    .await?;
    get(conn, &row.name).await?.ok_or(sqlx::Error::RowNotFound)
}

/// By name, as `aim2020@1`.
pub async fn get(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<Protocol>> {
    let row = sqlx::query!(
        r#"select id as "id: ProtocolId", name, rules as "rules: Json<Rules>", measuring_sha256 from protocol
           where name = $1"#,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| Protocol { id: r.id, name: r.name, rules: r.rules.0, measuring_sha256: r.measuring_sha256 }))
}
