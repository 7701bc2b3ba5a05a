//! A batch of re-runs, old beside new: what moved by more than its interval, and what would become of the ranks.

use std::collections::HashMap;

use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use utoipa::ToSchema;

use crate::{
    audit::Actor,
    challenge::{phase::Phase, protocol::FlopsProfile},
    ids::{EvaluationId, RerunId, SubmissionId},
    leaderboard::{self, Board},
    queue::{
        State,
        rerun::{self, Decision, Moved, Rerun, RerunError},
    },
};

/// Memory moves by more than this share of itself only when something changed: allocators round.
const MEMORY: f64 = 0.01;

/// One figure, before and now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Figure {
    /// `psnr`, `ssim`, `runtime_ms`, `runtime_ratio`, `params`, `flops`, `activations`, `memory_mib`, `convs`.
    pub id: &'static str,
    /// `null`: not measured.
    pub old: Option<f64>,
    pub new: Option<f64>,
    /// 95 % intervals, of times.
    pub old_ci95: Option<[f64; 2]>,
    pub new_ci95: Option<[f64; 2]>,
    /// By more than chance: the intervals do not meet; a count or a fidelity differs at all; memory by more than 1 %.
    pub moved: bool,
}

/// One entry of a batch.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Row {
    pub submission: SubmissionId,
    pub team: String,
    /// Of the new evaluation.
    pub state: State,
    /// Empty until it is scored.
    pub figures: Vec<Figure>,
    pub old_verdict: Option<String>,
    pub new_verdict: Option<String>,
    /// What the new timing holds against the entry.
    pub implausible: Option<String>,
    /// On the board as it is; of an official batch as it was just before.
    pub rank: Option<u32>,
    /// On the board if the batch were official, or just after it became so; `null` where it is not ranked then.
    pub rank_then: Option<u32>,
    pub moved: bool,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Report {
    pub batch: Rerun,
    pub rows: Vec<Row>,
    /// Entries outside the batch whose rank would change, or did.
    pub others: Vec<Other>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Other {
    pub submission: SubmissionId,
    pub team: String,
    pub rank: Option<u32>,
    pub rank_then: Option<u32>,
}

/// The figures of one score that are compared.
struct Score {
    /// In the order of [`Figure::id`], each with its interval.
    figures: [(Option<f64>, Option<[f64; 2]>); 9],
    verdict: String,
    implausible: Option<String>,
}

const IDS: [&str; 9] =
    ["psnr", "ssim", "runtime_ms", "runtime_ratio", "params", "flops", "activations", "memory_mib", "convs"];

/// Decides about a batch, and of one that becomes official keeps what that does to the ranks. Call it in a transaction.
pub async fn decide(
    conn: &mut PgConnection,
    phase: &Phase,
    id: RerunId,
    decision: Decision,
    actor: &Actor,
    reason: &str,
) -> anyhow::Result<Result<bool, RerunError>> {
    let before = leaderboard::ranking(conn, phase).await?;
    match rerun::decide(conn, phase.challenge, id, decision, actor, reason).await {
        Ok(true) if decision == Decision::Official => {}
        other => return Ok(other),
    }
    let after = leaderboard::ranking(conn, phase).await?;
    let (mut before, after) = (ranks(&before), ranks(&after));
    let mut moved: Vec<Moved> = after
        .into_iter()
        .map(|(submission, (team, after))| {
            let before = before.remove(&submission).and_then(|(_, rank)| rank);
            Moved { submission, team, before, after }
        })
        .collect();
    // Another entry of the team stands in its place now.
    moved.extend(before.into_iter().map(|(submission, (team, before))| Moved {
        submission,
        team,
        before,
        after: None,
    }));
    moved.sort_by_key(|moved| (moved.after.unwrap_or(u32::MAX), moved.submission));
    rerun::keep_ranks(conn, id, &moved).await?;
    Ok(Ok(true))
}

/// What a batch would change; of one that is official, what it changed.
pub async fn report(conn: &mut PgConnection, phase: &Phase, batch: Rerun) -> anyhow::Result<Report> {
    let pairs = rerun::pairs(conn, batch.id).await?;
    let (ranks, ranks_then) = match (batch.decision, rerun::kept_ranks(conn, batch.id).await?) {
        (None, _) => {
            let now = leaderboard::ranking(conn, phase).await?;
            let mut tx = conn.begin().await?;
            rerun::suppose(&mut tx, batch.id).await?;
            let then = leaderboard::ranking(&mut tx, phase).await?;
            tx.rollback().await?;
            (ranks(&now), ranks(&then))
        }
        (Some(_), Some(moved)) => {
            let of = |rank: fn(&Moved) -> Option<u32>| {
                moved.iter().map(|one| (one.submission, (one.team.clone(), rank(one)))).collect()
            };
            (of(|one| one.before), of(|one| one.after))
        }
        (Some(_), None) => {
            let now = ranks(&leaderboard::ranking(conn, phase).await?);
            (now.clone(), now)
        }
    };
    let ids: Vec<_> = pairs.iter().flat_map(|pair| [Some(pair.new), pair.old]).flatten().collect();
    let mut scores = scores(conn, &ids, phase.protocol.rules.flops).await?;
    let rank = |of: &Ranks, id| of.get(&id).and_then(|(_, rank)| *rank);
    let mut rows: Vec<Row> = Vec::new();
    for pair in pairs {
        let new = scores.remove(&pair.new);
        let old = pair.old.and_then(|id| scores.remove(&id));
        let figures = match &new {
            Some(new) => compare(old.as_ref(), new),
            None => Vec::new(),
        };
        rows.push(Row {
            moved: figures.iter().any(|figure| figure.moved),
            figures,
            old_verdict: old.map(|score| score.verdict),
            implausible: new.as_ref().and_then(|score| score.implausible.clone()),
            new_verdict: new.map(|score| score.verdict),
            rank: rank(&ranks, pair.submission),
            rank_then: rank(&ranks_then, pair.submission),
            submission: pair.submission,
            team: pair.team,
            state: pair.state,
        });
    }
    let inside = |id: SubmissionId| rows.iter().any(|row| row.submission == id);
    let mut others: Vec<Other> = ranks_then
        .iter()
        .chain(ranks.iter().filter(|(id, _)| !ranks_then.contains_key(id)))
        .filter(|(id, _)| !inside(**id) && rank(&ranks, **id) != rank(&ranks_then, **id))
        .map(|(id, (team, _))| Other {
            submission: *id,
            team: team.clone(),
            rank: rank(&ranks, *id),
            rank_then: rank(&ranks_then, *id),
        })
        .collect();
    others.sort_by(|a, b| a.team.cmp(&b.team));
    rows.sort_by_key(|row| (row.rank_then.unwrap_or(u32::MAX), row.rank.unwrap_or(u32::MAX)));
    Ok(Report { batch, rows, others })
}

/// Team and rank of each entry that stands.
type Ranks = HashMap<SubmissionId, (String, Option<u32>)>;

fn ranks(board: &Board) -> Ranks {
    let ranked = board.ranked.iter().map(|r| (r.submission, (r.team.clone(), Some(r.rank))));
    ranked.chain(board.unranked.iter().map(|r| (r.submission, (r.team.clone(), None)))).collect()
}

async fn scores(
    conn: &mut PgConnection,
    ids: &[EvaluationId],
    profile: FlopsProfile,
) -> anyhow::Result<HashMap<EvaluationId, Score>> {
    let ids: Vec<_> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query!(
        r#"select evaluation_id as "id: EvaluationId", psnr, ssim, runtime_ms, runtime_ci_low, runtime_ci_high, ratio,
                  ratio_ci_low, ratio_ci_high, params, flops_kair, flops_fvcore, activations, memory_bytes, convs, verdict,
                  coalesce(timing_record #>> '{throughput,implausible}', timing_record #>> '{doubts,0,message}') as implausible
           from score where evaluation_id = any($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let scores = rows.into_iter().map(|r| {
        let flops = match profile {
            FlopsProfile::Kair => r.flops_kair,
            FlopsProfile::Fvcore => r.flops_fvcore,
        };
        let plain = |value: f64| (Some(value), None);
        let figures = [
            plain(r.psnr),
            plain(r.ssim),
            (Some(r.runtime_ms), Some([r.runtime_ci_low, r.runtime_ci_high])),
            (r.ratio, r.ratio_ci_low.zip(r.ratio_ci_high).map(|(low, high)| [low, high])),
            plain(r.params as f64),
            plain(flops as f64),
            plain(r.activations as f64),
            plain(r.memory_bytes as f64 / f64::from(1 << 20)),
            plain(r.convs as f64),
        ];
        (r.id, Score { figures, verdict: r.verdict, implausible: r.implausible })
    });
    Ok(scores.collect())
}

fn compare(old: Option<&Score>, new: &Score) -> Vec<Figure> {
    let figure = |(at, id): (usize, &'static str)| {
        let (now, now_ci) = new.figures[at];
        let (before, before_ci) = old.map_or((None, None), |old| old.figures[at]);
        let moved = match (before, now, before_ci, now_ci) {
            // Where there was nothing, nothing has moved.
            (None, _, _, _) => false,
            (_, _, Some([low, high]), Some([now_low, now_high])) => now_high < low || now_low > high,
            (Some(before), Some(now), _, _) if id == "memory_mib" => (now - before).abs() > MEMORY * before,
            (before, now, _, _) => before != now,
        };
        Figure { id, old: before, new: now, old_ci95: before_ci, new_ci95: now_ci, moved }
    };
    IDS.into_iter().enumerate().map(figure).collect()
}
