//! The leaderboard of a phase: the one ranked query. Pages, API and exports all read [`Board`].

mod export;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    challenge::{
        phase::Phase,
        protocol::{Comparison, EntryRule, FlopsProfile, Metric, ReproductionRule},
    },
    evaluation::{Measurement, RankedImages, Verdict},
    ids::{SubmissionId, TeamId},
    scoring::{self, Gate, GateState, Reason, Standing},
    submission::OrganizerStatus,
};

/// A phase's ranking at a moment.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Board {
    pub challenge: String,
    pub phase: String,
    /// `aim2020@1`: the rules that every figure here was measured by.
    pub protocol: String,
    pub gate: Option<GateView>,
    /// What orders the board.
    pub metric: Metric,
    /// Whose images' PSNR and SSIM stand here.
    pub ranked_images: RankedImages,
    /// Which FLOP count `flops` is.
    pub flops_profile: FlopsProfile,
    /// `None`: the phase has no baseline.
    pub baseline: Option<BaselineRow>,
    pub ranked: Vec<RankedRow>,
    pub unranked: Vec<UnrankedRow>,
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
            psnr: fidelity.psnr,
            ssim: fidelity.ssim,
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
    /// Of the baseline entry. (`psnr` stands above, so that it is there without one.)
    #[serde(flatten, serialize_with = "figures_but_psnr")]
    #[schema(inline)]
    pub figures: Option<Figures>,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RankedRow {
    /// Equal values share a rank and leave a gap: 1, 1, 3.
    pub rank: u32,
    pub team: String,
    pub team_id: TeamId,
    pub submission: SubmissionId,
    pub submitted_at: DateTime<Utc>,
    #[serde(flatten)]
    pub figures: Figures,
    pub ranks: Ranks,
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

/// Where the gate of a phase stands now.
pub async fn gate(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<GateState> {
    let comparison = phase.protocol.rules.gate;
    let figure = match (phase.gate.stated, phase.gate.follows) {
        (Some(figure), _) => Some(figure),
        (None, None) => return Ok(GateState::None),
        (None, Some(baseline)) => {
            sqlx::query_scalar!(
                "select c.psnr from evaluation e join score c on c.evaluation_id = e.id
                 where e.submission_id = $1 and e.protocol_id = $2 and e.state = 'scored' and e.official
                 order by e.number desc limit 1",
                baseline.0,
                phase.protocol.id.0
            )
            .fetch_optional(conn)
            .await?
        }
    };
    Ok(figure.map_or(GateState::Pending, |figure| GateState::At(Gate { figure, comparison })))
}

/// The gate of a phase as pages print it.
pub async fn gate_view(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<Option<GateView>> {
    Ok(view_of(gate(conn, phase).await?, phase))
}

fn view_of(gate: GateState, phase: &Phase) -> Option<GateView> {
    let psnr = match gate {
        GateState::None => return None,
        GateState::Pending => None,
        GateState::At(gate) => Some(gate.figure),
    };
    let follows_baseline = phase.gate.stated.is_none();
    Some(GateView { psnr, comparison: phase.protocol.rules.gate, follows_baseline })
}

/// The machines that measured the phase's present scores, by name: more than one, and only ratios compare.
pub async fn devices(conn: &mut PgConnection, phase: &Phase) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select distinct c.provenance ->> 'device_name' as "name!"
           from score c join evaluation e on e.id = c.evaluation_id join submission s on s.id = e.submission_id
           where s.phase_id = $1 and e.protocol_id = $2 and e.official and s.withdrawn_at is null order by 1"#,
        phase.id.0,
        phase.protocol.id.0
    )
    .fetch_all(conn)
    .await
}

/// Ranks a phase: of each team the entry that stands (the protocol's entry rule), measured by the phase's present
/// protocol, the newest scored evaluation of it. Withdrawn and failed entries do not appear; the baseline has its own row
/// and takes no rank.
pub async fn ranking(conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Board> {
    let rules = &phase.protocol.rules;
    let gate = gate(conn, phase).await?;
    // A PSNR at or above it passes; infinity: none does.
    let threshold = match gate {
        GateState::None => f64::NEG_INFINITY,
        GateState::Pending => f64::INFINITY,
        GateState::At(gate) => gate.threshold(),
    };
    let rows = sqlx::query!(
        r#"with entry as (
               select s.id, s.team_id, t.name, s.created_at, s.chosen and $6 as chosen, s.organizer_status,
                      s.organizer_reason, s.id = $3 as baseline, c.psnr, c.ssim, c.params, c.macs, c.activations,
                      c.convs, case $7 when 'kair' then c.flops_kair else c.flops_fvcore end as flops,
                      c.memory_bytes, c.baseline_memory_bytes, c.runtime_noisy, c.runtime_ms, c.runtime_ci_low, c.runtime_ci_high, c.ratio, c.ratio_ci_low,
                      c.ratio_ci_high, c.verdict, c.max_abs, case when $8 then c.ratio else c.runtime_ms end as runtime
               from submission s
               join team t on t.id = s.team_id
               cross join lateral
                   (select id from evaluation
                    where submission_id = s.id and state = 'scored' and protocol_id = $2 and official
                    order by number desc limit 1) e
               join score c on c.evaluation_id = e.id
               where s.phase_id = $1 and s.withdrawn_at is null
                 and (s.id = $3 or s.team_id is distinct from (select team_id from submission where id = $3))),
           keyed as (
               select *, case $5 when 'runtime' then runtime when 'params' then params when 'flops' then flops
                             when 'activations' then activations when 'memory' then memory_bytes
                             when 'psnr' then -psnr when 'ssim' then -ssim end as key
               from entry),
           judged as (
               select *, not coalesce(baseline, false) and organizer_status = 'none' and psnr >= $4
                         and not ($9 and verdict = 'differs') and key is not null as ranks
               from keyed),
           standing as (
               select *, row_number() over (partition by team_id order by chosen desc, ranks desc,
                             case when ranks then key end nulls last, organizer_status = 'none' desc, psnr desc,
                             created_at, id) as nth
               from judged)
           select id as "id: SubmissionId", team_id as "team_id: TeamId", name, created_at,
                  organizer_status as "organizer_status: OrganizerStatus", organizer_reason,
                  coalesce(baseline, false) as "baseline!", psnr, ssim, params, macs, activations, convs,
                  flops as "flops!", memory_bytes, baseline_memory_bytes, runtime_noisy, runtime_ms, runtime_ci_low,
                  runtime_ci_high, ratio, ratio_ci_low, ratio_ci_high, verdict, max_abs, key, ranks as "ranks!",
                  rank() over (partition by ranks order by key nulls last) as "rank!",
                  case when runtime is not null then
                      rank() over (partition by ranks order by runtime nulls last) end as by_runtime,
                  rank() over (partition by ranks order by params) as "by_params!",
                  rank() over (partition by ranks order by flops) as "by_flops!",
                  rank() over (partition by ranks order by activations) as "by_activations!",
                  rank() over (partition by ranks order by memory_bytes) as "by_memory!",
                  rank() over (partition by ranks order by psnr desc) as "by_psnr!",
                  rank() over (partition by ranks order by ssim desc) as "by_ssim!"
           from standing where nth = 1
           order by ranks desc, case when ranks then key end nulls last, case when not ranks then -psnr end,
                    created_at, id"#,
        phase.id.0,
        phase.protocol.id.0,
        phase.baseline.submission.map(|id| id.0),
        threshold,
        rules.ranking.metric.as_str(),
        rules.ranking.entry == EntryRule::Chosen,
        rules.flops.as_str(),
        phase.baseline.model_sha256.is_some(),
        rules.reproduction == ReproductionRule::Required
    )
    .fetch_all(conn)
    .await?;

    let (mut ranked, mut unranked, mut baseline) = (Vec::new(), Vec::new(), None);
    for r in rows {
        let verdict = crate::queue::score::verdict(&r.verdict)?;
        let figures = Figures {
            psnr: r.psnr,
            ssim: r.ssim,
            params: r.params as u64,
            flops: r.flops as u64,
            macs: r.macs as u64,
            activations: r.activations as u64,
            convs: r.convs as u64,
            memory_mib: r.memory_bytes as f64 / f64::from(1 << 20),
            memory_ratio: r.baseline_memory_bytes.filter(|&b| b > 0).map(|b| r.memory_bytes as f64 / b as f64),
            runtime_ms: r.runtime_ms,
            runtime_ci95_ms: [r.runtime_ci_low, r.runtime_ci_high],
            runtime_ratio: r.ratio,
            runtime_ratio_ci95: r.ratio_ci_low.zip(r.ratio_ci_high).map(|(low, high)| [low, high]),
            noisy: r.runtime_noisy,
            reproduction: verdict,
        };
        if r.baseline {
            baseline = Some(figures);
            continue;
        }
        let standing = Standing {
            psnr: r.psnr,
            verdict,
            max_abs: u8::try_from(r.max_abs)?,
            organizer: r.organizer_status,
            organizer_reason: r.organizer_reason.as_deref(),
            has_figure: r.key.is_some(),
        };
        let (team, team_id, submission, submitted_at) = (r.name, r.team_id, r.id, r.created_at);
        let some = |n: i64| u32::try_from(n).ok();
        match (r.ranks, scoring::reason(&standing, gate, rules.reproduction)) {
            (true, None) => ranked.push(RankedRow {
                rank: u32::try_from(r.rank)?,
                team,
                team_id,
                submission,
                submitted_at,
                figures,
                ranks: Ranks {
                    runtime: r.by_runtime.and_then(some),
                    params: some(r.by_params),
                    flops: some(r.by_flops),
                    activations: some(r.by_activations),
                    memory: some(r.by_memory),
                    psnr: some(r.by_psnr),
                    ssim: some(r.by_ssim),
                },
            }),
            (false, Some(reason)) => {
                unranked.push(UnrankedRow { team, team_id, submission, submitted_at, figures, reason });
            }
            (ranks, reason) => anyhow::bail!("the query ranks {submission}: {ranks}, scoring says {reason:?}"),
        }
    }
    Ok(Board {
        challenge: phase.challenge_slug.clone(),
        phase: phase.slug.clone(),
        protocol: phase.protocol.name.clone(),
        gate: view_of(gate, phase),
        metric: rules.ranking.metric,
        ranked_images: rules.ranked_images,
        flops_profile: rules.flops,
        baseline: baseline_row(phase, baseline),
        ranked,
        unranked,
    })
}

/// A phase has a baseline as soon as it states one: a model, an entry or a figure.
fn baseline_row(phase: &Phase, figures: Option<Figures>) -> Option<BaselineRow> {
    let b = &phase.baseline;
    if b.submission.is_none() && b.model_sha256.is_none() && phase.gate.stated.is_none() {
        return None;
    }
    Some(BaselineRow {
        team: b.name.clone(),
        submission: figures.and(b.submission),
        psnr: figures.map(|f| f.psnr).or(phase.gate.stated),
        figures,
    })
}
