//! The one ranked query.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{BaselineRow, Board, Figures, Place, RankedRow, Ranks, Traits, UnrankedRow, gate};
use crate::{
    challenge::{
        phase::{self, Phase},
        protocol::{Metric, Ranking, ReproductionRule, Rule, Verification},
    },
    figures,
    ids::{SubmissionId, TeamId},
    scoring::{self, GateState, Missing, Standing},
    submission::OrganizerStatus,
};

/// The rules of all tracks as the query takes them, one row a figure: track 0 is the main one.
#[derive(Default)]
struct Terms {
    track: Vec<i32>,
    kind: Vec<String>,
    /// From 1, in the order of [`Metric::ALL`], which is that of the query's array of figures.
    metric: Vec<i32>,
    weight: Vec<f64>,
}

impl Terms {
    fn of(ranking: &Ranking) -> Terms {
        let mut terms = Terms::default();
        let rules = std::iter::once(&ranking.rule).chain(ranking.sub_tracks.iter().map(|t| &t.rule));
        for (track, rule) in (0..).zip(rules) {
            match rule {
                Rule::Metric(metric) => terms.push(track, rule, *metric, 1.0),
                Rule::RankSum(metrics) => metrics.iter().for_each(|m| terms.push(track, rule, *m, 1.0)),
                Rule::Score(parts) => parts.iter().for_each(|p| terms.push(track, rule, p.metric, p.weight)),
            }
        }
        terms
    }

    fn push(&mut self, track: i32, rule: &Rule, metric: Metric, weight: f64) {
        self.track.push(track);
        self.kind.push(kind(rule).into());
        self.metric.push((1..).zip(Metric::ALL).find(|(_, m)| *m == metric).map_or(1, |(at, _)| at));
        self.weight.push(weight);
    }
}

fn kind(rule: &Rule) -> &'static str {
    match rule {
        Rule::Metric(_) => "metric",
        Rule::RankSum(_) => "rank-sum",
        Rule::Score(_) => "score",
    }
}

/// Ranks a phase: of each team the entry that stands (the protocol's entry rule), by its newest scored evaluation that was
/// measured as the phase's present protocol measures, on its present images. Withdrawn and failed entries do not appear; the baseline has its own row
/// and takes no rank.
///
/// A sum of ranks depends on who else stands. There a team's entry is the one it chose, else its newest that passes the gate.
/// One entry of a team stands in all tracks, and the sub-tracks rank whom the main track ranks.
///
/// Where `phase.as_of` says so, by what was known then.
///
/// Scores are summed and compared as logarithms: exp(2x) leaves the range of a double at x > 354.89, and Postgres' exp()
/// refuses what is too large or too small.
pub async fn ranking(conn: &mut PgConnection, phase: &Phase) -> anyhow::Result<Board> {
    ranking_at(conn, phase, phase.as_of).await
}

/// [`ranking`] by what was known at a time: the rules, scores, marks and withdrawals of then ([`phase::as_of`]). Names of teams
/// and fact sheets are those of now. `None`: now.
pub async fn ranking_at(conn: &mut PgConnection, phase: &Phase, at: Option<DateTime<Utc>>) -> anyhow::Result<Board> {
    // A board that stands still has no later ones.
    let at = match (at, phase.as_of) {
        (Some(at), Some(stop)) => Some(at.min(stop)),
        (at, stop) => at.or(stop),
    };
    let past = match at {
        Some(at) => Some(phase::as_of(conn, phase, at).await?),
        None => None,
    };
    let phase = past.as_ref().unwrap_or(phase);
    let rules = &phase.protocol.rules;
    let gate = gate::gate_at(conn, phase, at).await?;
    // A PSNR at or above it passes; infinity: none does.
    let threshold = match gate {
        GateState::None => f64::NEG_INFINITY,
        GateState::Pending => f64::INFINITY,
        GateState::At(gate) => gate.threshold(),
    };
    let terms = Terms::of(&rules.ranking);
    let rows = sqlx::query!(
        r#"with rule as (
               select * from unnest($10::int[], $11::text[], $12::int[], $13::float8[]) r(track, kind, metric, weight)),
           asks as materialized (
               select h.fact_sheet @> '[{"key": "extra_data", "type": "bool"}]' as asked
               from challenge h join phase f on f.challenge_id = h.id where f.id = $1),
           -- As they were at $15; none where it is null, for now.
           past as (
               select distinct on (submission_id) submission_id, chosen, organizer_status, organizer_public_reason, verified
               from submission_marks where $15::timestamptz is not null and at <= $15 order by submission_id, at desc),
           marked as (
               select s.id, s.team_id, s.created_at,
                      case when $15::timestamptz is null then s.chosen else coalesce(m.chosen, false) end as chosen,
                      case when $15::timestamptz is null then s.organizer_status else coalesce(m.organizer_status, 'none') end
                          as organizer_status,
                      case when $15::timestamptz is null then s.organizer_public_reason else m.organizer_public_reason end
                          as public_reason,
                      case when $15::timestamptz is null then s.verified_at is not null else coalesce(m.verified, false) end
                          as is_verified,
                      s.fact_sheet
               from submission s left join past m on m.submission_id = s.id
               where s.phase_id = $1 and (s.withdrawn_at is null or s.withdrawn_at > $15)
                 -- What the server made of a baseline is the baseline, or nothing.
                 and (s.id = $3 or not s.own_images)),
           entry as (
               select s.id, s.team_id, t.name, s.created_at, s.chosen and $6 as chosen, s.organizer_status,
                      s.public_reason, s.is_verified, e.id as evaluation_id, coalesce(s.id = $3, false) as baseline, c.psnr, c.ssim, c.params, c.macs,
                      c.activations, c.convs, case $7 when 'kair' then c.flops_kair else c.flops_fvcore end as flops,
                      c.memory_bytes, c.baseline_memory_bytes, c.runtime_noisy, c.runtime_ms, c.runtime_ci_low, c.runtime_ci_high, c.ratio, c.ratio_ci_low,
                      c.ratio_ci_high, c.verdict, c.max_abs, case when $8 then c.ratio else c.runtime_ms end as runtime,
                      not $14 or s.is_verified as verified,
                      not $14 or not exists (
                          select from challenge h, jsonb_array_elements(h.fact_sheet) f
                          where h.id = t.challenge_id and (f ->> 'required')::boolean and not s.fact_sheet ? (f ->> 'key'))
                          as told
               from marked s
               join team t on t.id = s.team_id
               cross join lateral
                   (select id from evaluation
                    where submission_id = s.id and state = 'scored' and official
                      and protocol_id in (select id from protocol where measuring_sha256 = $2)
                      and dataset_id = $16
                      and ($15::timestamptz is null or evaluation_counted_by(evaluation, $15))
                    order by number desc limit 1) e
               join score c on c.evaluation_id = e.id
               where (s.id = $3 or s.team_id is distinct from (select team_id from submission where id = $3))),
           figured as (
               select *, array[runtime, params, flops, activations, memory_bytes, -psnr, -ssim]::float8[] as x from entry),
           base as materialized (select max(x) as x from figured where baseline),
           related as (
               select f.*, case when f.baseline then '{1,1,1,1,1}' else array[
                      least(case when $8 then f.x[1] else f.x[1] / nullif(b.x[1], 0) end, 1e300),
                      f.x[2] / nullif(b.x[2], 0), f.x[3] / nullif(b.x[3], 0), f.x[4] / nullif(b.x[4], 0),
                      f.x[5] / nullif(b.x[5], 0)] end as rel
               from figured f cross join base b),
           keyed as (
               select *, case $5
                      when 'metric' then x[(select metric from rule where track = 0)]
                      when 'score' then
                          (select max(m) + ln(sum(exp(greatest(a - m, -700))))
                           from (select a, max(a) over () as m
                                 from (select ln(weight) + 2 * rel[metric] as a from rule where track = 0) a) a
                           having count(a) = count(*)) end as key
               from related),
           judged as (
               select *, complete and not baseline and organizer_status = 'none' and psnr >= $4
                         and not ($9 and verdict = 'differs') and verified and told as ranks
               from (select *, key is not null or ($5 = 'rank-sum'
                         and not exists (select from rule where track = 0 and x[metric] is null)) as complete
                     from keyed) k),
           standing as (
               select *, row_number() over (partition by team_id order by chosen desc, ranks desc,
                             case when ranks then key end nulls last,
                             case when ranks and $5 = 'rank-sum' then created_at end desc nulls last,
                             organizer_status = 'none' desc, psnr desc, created_at, id) as nth
               from judged),
           placed as (
               select *, array[case when x[1] is not null then
                          rank() over (partition by ranks order by x[1] nulls last) end,
                      rank() over (partition by ranks order by x[2]), rank() over (partition by ranks order by x[3]),
                      rank() over (partition by ranks order by x[4]), rank() over (partition by ranks order by x[5]),
                      rank() over (partition by ranks order by x[6]), rank() over (partition by ranks order by x[7])
                      ]::int[] as by
               from standing where nth = 1),
           valued as (
               select id, ranks, track,
                      case when count(a) = count(*) then
                          case min(kind) when 'rank-sum' then sum(a)
                                         when 'score' then max(m) + ln(sum(exp(greatest(a - m, -700))))
                                         else max(a) end end as value
               from (select p.id, p.ranks, r.track, r.kind, a.a, max(a.a) over (partition by p.id, r.track) as m
                     from placed p cross join rule r cross join lateral
                         (select case r.kind when 'rank-sum' then case when p.ranks then p.by[r.metric]::float8 end
                                             when 'score' then ln(r.weight) + 2 * p.rel[r.metric]
                                             else p.x[r.metric] end as a) a
                     where p.ranks or p.baseline) a
               group by id, ranks, track),
           tracked as (
               select id, array_agg(value order by track) as track_values, array_agg(place order by track) as places
               from (select *, case when value is not null then
                                rank() over (partition by ranks, track order by value nulls last) end as place
                     from valued) v
               group by id)
           select p.id as "id: SubmissionId", team_id as "team_id: TeamId", name, created_at,
                  organizer_status as "organizer_status!: OrganizerStatus", public_reason,
                  baseline as "baseline!", psnr, ssim, params, macs, activations, convs,
                  flops as "flops!", memory_bytes, baseline_memory_bytes, runtime_noisy, runtime_ms, runtime_ci_low,
                  runtime_ci_high, ratio, ratio_ci_low, ratio_ci_high, verdict, max_abs, complete as "complete!",
                  verified as "verified!", told as "told!", ranks as "ranks!", by as "by!: Vec<Option<i32>>",
                  rel as "rel!: Vec<Option<f64>>",
                  is_verified as "is_verified!",
                  (select c.provenance ->> 'device_name' from score c where c.evaluation_id = p.evaluation_id) as device,
                  (select a.asked from asks a) as "asks_extra!",
                  (select s.fact_sheet ->> 'extra_data' from submission s, asks a where s.id = p.id and a.asked) as extra,
                  coalesce(track_values, '{}') as "track_values!: Vec<Option<f64>>",
                  coalesce(places, '{}') as "places!: Vec<Option<i64>>"
           from placed p left join tracked k on k.id = p.id
           order by ranks desc, case when ranks then places[1] end nulls last, case when not ranks then -psnr end,
                    created_at, p.id"#,
        phase.id.0,
        phase.protocol.measuring_sha256,
        phase.baseline.submission.map(|id| id.0),
        threshold,
        kind(&rules.ranking.rule),
        rules.ranking.lets_choose(),
        rules.flops.as_str(),
        phase.baseline.model_sha256.is_some(),
        rules.reproduction == ReproductionRule::Required,
        &terms.track,
        &terms.kind,
        &terms.metric,
        &terms.weight,
        rules.verification == Verification::Required,
        at,
        phase.dataset.0
    )
    .fetch_all(conn)
    .await?;

    let (mut ranked, mut unranked, mut baseline) = (Vec::new(), Vec::new(), None);
    let mut asks_extra_data = false;
    for r in rows {
        asks_extra_data = r.asks_extra;
        let verdict = crate::queue::score::verdict(&r.verdict)?;
        let figures = Figures {
            psnr: figures::of_set(r.psnr),
            ssim: figures::of_set(r.ssim),
            params: r.params as u64,
            flops: r.flops as u64,
            macs: r.macs as u64,
            activations: r.activations as u64,
            convs: r.convs as u64,
            memory_mib: r.memory_bytes as f64 / MIB,
            memory_ratio: r.baseline_memory_bytes.filter(|&b| b > 0).map(|b| r.memory_bytes as f64 / b as f64),
            runtime_ms: r.runtime_ms,
            runtime_ci95_ms: [r.runtime_ci_low, r.runtime_ci_high],
            runtime_ratio: r.ratio,
            runtime_ratio_ci95: r.ratio_ci_low.zip(r.ratio_ci_high).map(|(low, high)| [low, high]),
            noisy: r.runtime_noisy,
            reproduction: verdict,
        };
        let mut places = places(&rules.ranking, &r.track_values, &r.places)?.into_iter();
        let main = places.next().flatten();
        if r.baseline {
            let tracks = rules.ranking.sub_tracks.iter().zip(places);
            let unranked = |place: Place| Place { rank: None, ..place };
            baseline = Some(Measured {
                figures,
                score: main.filter(|_| matches!(rules.ranking.rule, Rule::Score(_))).and_then(|p| p.value),
                tracks: tracks.filter_map(|(t, place)| Some((t.slug.clone(), unranked(place?)))).collect(),
            });
            continue;
        }
        let related = r.rel.iter().skip(1).all(Option::is_some);
        let standing = Standing {
            psnr: r.psnr,
            verdict,
            max_abs: u8::try_from(r.max_abs)?,
            organizer: r.organizer_status,
            public_reason: r.public_reason.as_deref(),
            verified: r.verified,
            told: r.told,
            missing: match (r.complete, &rules.ranking.rule) {
                (true, _) => None,
                (false, Rule::Score(_)) if !related => Some(Missing::Baseline),
                (false, _) => Some(Missing::Figure),
            },
        };
        let traits = Traits {
            verified: r.is_verified,
            extra_data: match r.extra.as_deref() {
                Some("yes") => Some(true),
                Some("no") => Some(false),
                _ => None,
            },
            device: r.device,
        };
        let (team, team_id, submission, submitted_at) = (r.name, r.team_id, r.id, r.created_at);
        match (r.ranks, main, scoring::reason(&standing, gate, rules.reproduction)) {
            (true, Some(Place { rank: Some(rank), value, ln }), None) => ranked.push(RankedRow {
                rank,
                rank_ci95: None,
                team,
                team_id,
                submission,
                submitted_at,
                figures,
                traits,
                ranks: ranks_of(&r.by),
                score: value.filter(|_| !matches!(rules.ranking.rule, Rule::Metric(_))),
                score_ln: ln,
                tracks: rules
                    .ranking
                    .sub_tracks
                    .iter()
                    .zip(places)
                    .map(|(track, place)| (track.slug.clone(), place.unwrap_or_default()))
                    .collect(),
            }),
            (false, _, Some(reason)) => {
                unranked.push(UnrankedRow { team, team_id, submission, submitted_at, figures, traits, reason });
            }
            (ranks, _, reason) => anyhow::bail!("the query ranks {submission}: {ranks}, scoring says {reason:?}"),
        }
    }
    let mut board = Board {
        challenge: phase.challenge_slug.clone(),
        phase: phase.slug.clone(),
        protocol: phase.protocol.name.clone(),
        gate: gate::view_of(gate, phase),
        metric: rules.ranking.rule.lead(),
        ranking: rules.ranking.clone(),
        by_ratio: phase.baseline.model_sha256.is_some(),
        at,
        track: None,
        selected: None,
        columns: None,
        asks_extra_data,
        ranked_images: rules.ranked_images,
        flops_profile: rules.flops,
        baseline: baseline_row(phase, baseline),
        ranked,
        unranked,
    };
    board.share_ranks();
    Ok(board)
}

const MIB: f64 = (1u64 << 20) as f64;

/// Of the main track and then of each sub-track; empty for an entry that is not ranked.
fn places(ranking: &Ranking, values: &[Option<f64>], places: &[Option<i64>]) -> anyhow::Result<Vec<Option<Place>>> {
    let rules = std::iter::once(&ranking.rule).chain(ranking.sub_tracks.iter().map(|t| &t.rule));
    let place = |((rule, value), place): ((&Rule, &Option<f64>), &Option<i64>)| -> anyhow::Result<Option<Place>> {
        let Some(value) = *value else { return Ok(None) };
        let (value, ln) = match rule {
            Rule::Metric(Metric::Memory) => (value / MIB, None),
            Rule::Metric(Metric::Psnr | Metric::Ssim) => (figures::of_set(-value), None),
            Rule::Metric(_) | Rule::RankSum(_) => (value, None),
            Rule::Score(_) => (value.exp(), Some(value)),
        };
        let rank = place.map(u32::try_from).transpose()?;
        Ok(Some(Place { rank, value: Some(value).filter(|v| v.is_finite()), ln }))
    };
    rules.zip(values).zip(places).map(place).collect()
}

fn ranks_of(by: &[Option<i32>]) -> Ranks {
    let of = |metric: Metric| {
        let at = Metric::ALL.iter().position(|m| *m == metric)?;
        by.get(at).copied().flatten().and_then(|rank| u32::try_from(rank).ok())
    };
    Ranks {
        runtime: of(Metric::Runtime),
        params: of(Metric::Params),
        flops: of(Metric::Flops),
        activations: of(Metric::Activations),
        memory: of(Metric::Memory),
        psnr: of(Metric::Psnr),
        ssim: of(Metric::Ssim),
    }
}

/// What the baseline entry measures.
struct Measured {
    figures: Figures,
    score: Option<f64>,
    tracks: BTreeMap<String, Place>,
}

/// A phase has a baseline as soon as it states one: a model, an entry or a figure.
fn baseline_row(phase: &Phase, measured: Option<Measured>) -> Option<BaselineRow> {
    let b = &phase.baseline;
    if b.submission.is_none() && b.model_sha256.is_none() && phase.gate.stated.is_none() {
        return None;
    }
    let figures = measured.as_ref().map(|m| m.figures);
    Some(BaselineRow {
        team: b.name.clone(),
        submission: figures.and(b.submission),
        psnr: figures.map(|f| f.psnr).or(phase.gate.stated),
        score: measured.as_ref().and_then(|m| m.score),
        tracks: measured.map(|m| m.tracks).unwrap_or_default(),
        figures,
    })
}
