//! A protocol: one immutable version of a rule set, as `aim2020@1`. Every score names the one it was measured by.

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use utoipa::ToSchema;

use crate::{
    evaluation::{
        self, RankedImages, TimingSettings,
        fidelity::{Channel, Settings},
        model::Operators,
    },
    ids::ProtocolId,
};

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Protocol {
    pub id: ProtocolId,
    /// `aim2020@1`.
    pub name: String,
    pub rules: Rules,
}

/// All that decides how an entry is measured and ranked, except the figure of the gate, which belongs to the phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub fidelity: Settings,
    pub gate: Comparison,
    pub ranking: Ranking,
    pub reproduction: ReproductionRule,
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

fn is_uploaded(ranked: &RankedImages) -> bool {
    *ranked == RankedImages::Uploaded
}

/// What orders the entries that pass the gate; lower is better but for PSNR and SSIM. Equal values share a rank, and the
/// next rank leaves a gap (1, 1, 3); the one accepted earlier is listed first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Ranking {
    pub metric: Metric,
    /// Which entry of a team stands on the board.
    pub entry: EntryRule,
}

/// Which entry of a team stands on the board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EntryRule {
    /// The one that ranks best.
    Best,
    /// The one the team chose; where it chose none, the one that ranks best.
    Chosen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// Ratio to the baseline timed beside it; milliseconds where the phase has no baseline model.
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
    Psnr,
    Ssim,
}

impl Metric {
    pub const ALL: [Metric; 7] = [
        Metric::Runtime,
        Metric::Params,
        Metric::Flops,
        Metric::Activations,
        Metric::Memory,
        Metric::Psnr,
        Metric::Ssim,
    ];

    /// The word in JSON and in the ranked query.
    pub fn as_str(self) -> &'static str {
        match self {
            Metric::Runtime => "runtime",
            Metric::Params => "params",
            Metric::Flops => "flops",
            Metric::Activations => "activations",
            Metric::Memory => "memory",
            Metric::Psnr => "psnr",
            Metric::Ssim => "ssim",
        }
    }
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

impl Rules {
    /// AIM2020 Efficient SR: RGB with a border of the scale, PSNR compared as measured, ordered by runtime.
    pub fn aim2020(scale: u32) -> Rules {
        let limits = evaluation::Limits::default();
        Rules {
            fidelity: Settings { channel: Channel::Rgb, border: scale, scale },
            gate: Comparison::Exact,
            ranking: Ranking { metric: Metric::Runtime, entry: EntryRule::Best },
            // AIM2020 ranked the uploaded images; the verdict stands beside each entry.
            reproduction: ReproductionRule::Shown,
            ranked_images: RankedImages::Uploaded,
            operators: Operators::default(),
            timing: TimingSettings::default(),
            limits: Limits { memory_bytes: limits.memory_bytes, seconds: limits.time.as_secs() },
            flops: FlopsProfile::Kair,
            device: DeviceClass::Cpu,
        }
    }
}

/// The protocol of these rules: the version of `family` that says the same, else a new version.
pub async fn ensure(conn: &mut PgConnection, family: &str, rules: &Rules) -> sqlx::Result<Protocol> {
    // Two at once must not make the same version twice.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('protocol ' || $1))", family).execute(&mut *conn).await?;
    let same = sqlx::query!(
        r#"select id as "id: ProtocolId", name from protocol
           where split_part(name, '@', 1) = $1 and rules = $2 order by id desc limit 1"#,
        family,
        Json(rules) as _
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(row) = same {
        return Ok(Protocol { id: row.id, name: row.name, rules: rules.clone() });
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
        r#"select id as "id: ProtocolId", name, rules as "rules: Json<Rules>" from protocol where name = $1"#,
        name
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|r| Protocol { id: r.id, name: r.name, rules: r.rules.0 }))
}
