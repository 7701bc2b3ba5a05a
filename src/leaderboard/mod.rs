//! The leaderboard of a phase: the one ranked query. Pages, API and exports all read [`Board`].

mod boards;
mod export;
mod gate;
mod query;
mod selection;
mod ties;
mod track;
mod what_if;

use std::collections::BTreeMap;

pub use boards::Boards;
pub use gate::{devices, gate, gate_view};
pub use query::{ranking, ranking_at};
pub use selection::{Column, Key, NAMES, Selected, Selection};
pub use track::MAIN;
pub use what_if::{Change, Preview, Stand, what_if};

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    challenge::protocol::{Comparison, FlopsProfile, Metric, Ranking, RankingForm},
    evaluation::{Measurement, RankedImages, Verdict},
    figures,
    ids::{SubmissionId, TeamId},
    scoring::Reason,
};

/// A phase's ranking at a moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Board {
    pub challenge: String,
    pub phase: String,
    /// `aim2020@1`: the rules that judge the entries here; each was measured by these, or by a version that measures alike.
    pub protocol: String,
    pub gate: Option<GateView>,
    /// What orders the board, or the weightiest part of it.
    pub metric: Metric,
    /// What orders the board, in full, and its sub-tracks.
    #[schema(value_type = RankingForm)]
    pub ranking: Ranking,
    /// Runtime orders as the ratio to the baseline; if not, as milliseconds.
    pub by_ratio: bool,
    /// The moment of which this is the board; `null`: now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<DateTime<Utc>>,
    /// The sub-track that `rank` and the order here are of; `null`: the main track.
    pub track: Option<String>,
    /// What was left out, or put into another order; `null`: this is the whole board, by rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selected: Option<Selected>,
    /// Columns of the tables for readers; `None`: all.
    #[serde(skip)]
    pub columns: Option<Vec<Column>>,
    /// Whether the teams are asked if they trained on extra data.
    pub asks_extra_data: bool,
    /// Whose images' PSNR and SSIM stand here.
    pub ranked_images: RankedImages,
    /// Which FLOP count `flops` is.
    pub flops_profile: FlopsProfile,
    /// `None`: the phase has no baseline.
    pub baseline: Option<BaselineRow>,
    pub ranked: Vec<RankedRow>,
    pub unranked: Vec<UnrankedRow>,
}

/// What entries are told apart by, beside their figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Traits {
    /// An organizer found that the entry is what its team says.
    pub verified: bool,
    /// Whether it was trained on images beyond the challenge's own, by its fact sheet; `null`: not asked, or not said.
    pub extra_data: Option<bool>,
    /// The machine that measured it.
    pub device: Option<String>,
}

/// The gate, to be printed from here everywhere.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct GateView {
    /// dB; `None`: the baseline that it follows is not measured yet.
    pub psnr: Option<f64>,
    pub comparison: Comparison,
    /// Whether it is the measured PSNR of the baseline entry and not a stated figure.
    pub follows_baseline: bool,
}

/// The figures of one entry; a count is at a 1×3×256×256 input.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Figures {
    /// dB, mean over images.
    pub psnr: f64,
    pub ssim: f64,
    pub params: u64,
    /// By the board's `flops_profile`.
    pub flops: u64,
    pub macs: u64,
    pub activations: u64,
    pub convs: u64,
    /// Peak of the forward pass, MiB.
    pub memory_mib: f64,
    /// Entry over baseline, by the same method.
    pub memory_ratio: Option<f64>,
    /// Median per image, ms.
    pub runtime_ms: f64,
    /// 95 % interval, ms.
    pub runtime_ci95_ms: [f64; 2],
    /// Entry over baseline, timed in the same process; below 1 is faster.
    pub runtime_ratio: Option<f64>,
    pub runtime_ratio_ci95: Option<[f64; 2]>,
    /// The machine never got quiet while it was timed.
    pub noisy: bool,
    /// Whether the uploaded model makes the uploaded images.
    pub reproduction: Verdict,
}

impl Figures {
    /// Of one measurement, by a FLOP profile.
    pub fn of(m: &Measurement, flops: FlopsProfile) -> Figures {
        let Measurement { fidelity, reproduction, cost, runtime, memory, provenance: _ } = m;
        Figures {
            psnr: figures::of_set(fidelity.psnr),
            ssim: figures::of_set(fidelity.ssim),
            params: cost.params,
            flops: match flops {
                FlopsProfile::Kair => cost.flops.kair,
                FlopsProfile::Fvcore => cost.flops.fvcore,
            },
            macs: cost.macs,
            activations: cost.activations,
            convs: cost.convs,
            memory_mib: memory.peak_bytes as f64 / f64::from(1 << 20),
            memory_ratio: memory.ratio(),
            runtime_ms: runtime.median_ms,
            runtime_ci95_ms: runtime.ci95_ms,
            runtime_ratio: runtime.baseline.as_ref().map(|b| b.ratio),
            runtime_ratio_ci95: runtime.baseline.as_ref().map(|b| b.ratio_ci95),
            noisy: runtime.record.noisy,
            reproduction: reproduction.verdict,
        }
    }
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BaselineRow {
    /// The baseline's name, as `MSRResNet`.
    pub team: String,
    pub submission: Option<SubmissionId>,
    /// dB: measured where there is a baseline entry, else the stated figure.
    pub psnr: Option<f64>,
    /// Where a weighted score orders the board: e² times the sum of its weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// In each sub-track that is ordered by one figure or a score, by slug.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tracks: BTreeMap<String, Place>,
    /// Of the baseline entry. (`psnr` stands above, so that it is there without one.)
    #[serde(flatten, serialize_with = "figures_but_psnr")]
    #[schema(inline)]
    pub figures: Option<Figures>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RankedRow {
    /// Equal values share a rank and leave a gap: 1, 1, 3. Where the protocol's `ties` are by `interval`, runtimes that are
    /// not told apart do too.
    pub rank: u32,
    /// The best and the worst rank that the 95 % interval of its runtime leaves open: all but the entries that are clearly
    /// faster or slower, whose intervals do not overlap its own. `null`: runtime does not order this track.
    pub rank_ci95: Option<[u32; 2]>,
    pub team: String,
    pub team_id: TeamId,
    pub submission: SubmissionId,
    pub submitted_at: DateTime<Utc>,
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(flatten)]
    pub traits: Traits,
    pub ranks: Ranks,
    /// The sum of ranks or the weighted score that orders the main track, lowest first; `null` where one figure does, and
    /// where a score is beyond the range of a double.
    pub score: Option<f64>,
    /// Natural logarithm of a weighted score: orders the board also where `score` is beyond range.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score_ln: Option<f64>,
    /// Where it stands in each sub-track, by slug.
    pub tracks: BTreeMap<String, Place>,
}

/// Where an entry stands in one sub-track.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, ToSchema)]
pub struct Place {
    /// Equal values share a rank; `null`: a figure that the sub-track asks for was not measured.
    pub rank: Option<u32>,
    /// The figure, the sum of ranks or the weighted score; `null` also where a score is beyond the range of a double.
    pub value: Option<f64>,
    /// Natural logarithm of a weighted score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ln: Option<f64>,
}

/// The rank of each value among the ranked entries, by unrounded values; a missing value has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ranks {
    pub runtime: Option<u32>,
    pub params: Option<u32>,
    pub flops: Option<u32>,
    pub activations: Option<u32>,
    pub memory: Option<u32>,
    pub psnr: Option<u32>,
    pub ssim: Option<u32>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct UnrankedRow {
    pub team: String,
    pub team_id: TeamId,
    pub submission: SubmissionId,
    pub submitted_at: DateTime<Utc>,
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(flatten)]
    pub traits: Traits,
    pub reason: Reason,
}

fn figures_but_psnr<S: serde::Serializer>(figures: &Option<Figures>, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::{Error, SerializeMap};
    let mut map = s.serialize_map(None)?;
    if let Some(figures) = figures {
        let value = serde_json::to_value(figures).map_err(S::Error::custom)?;
        for (name, value) in value.as_object().into_iter().flatten().filter(|(name, _)| *name != "psnr") {
            map.serialize_entry(name, value)?;
        }
    }
    map.end()
}
