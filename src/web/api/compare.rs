//! Entries of a board side by side.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use sqlx::PgConnection;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    App, Error,
    error::Errors,
    extract::{PhaseAt, Viewer},
    sight::{seen_by, sees_board, sees_images},
};
use crate::{
    analysis::{self, Paired},
    challenge::phase::Phase,
    evaluation::OperatorCost,
    figures,
    ids::SubmissionId,
    leaderboard::{Board, Figures, Ranks},
    queue::{self, Evaluation, State as RunState},
    submission,
};

/// Entries on one page at most.
pub const MOST: usize = 4;

#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Chosen {
    /// The entry that the others are compared with.
    #[serde(default, deserialize_with = "chosen")]
    pub a: Option<SubmissionId>,
    #[serde(default, deserialize_with = "chosen")]
    pub b: Option<SubmissionId>,
    #[serde(default, deserialize_with = "chosen")]
    pub c: Option<SubmissionId>,
    #[serde(default, deserialize_with = "chosen")]
    pub d: Option<SubmissionId>,
}

/// A form sends a field in which nothing was chosen as an empty one.
fn chosen<'de, D: Deserializer<'de>>(from: D) -> Result<Option<SubmissionId>, D::Error> {
    match String::deserialize(from)?.as_str() {
        "" => Ok(None),
        id => id.parse().map(Some).map_err(D::Error::custom),
    }
}

/// Entries side by side; the first is what the others are compared with.
#[derive(Debug, Serialize, ToSchema)]
pub struct Comparison {
    /// `aim2020@1`.
    pub protocol: String,
    pub entries: Vec<Compared>,
    /// By name, PSNR of each entry in dB; `null` while the phase is open, as each image's figure would tell of the hidden HR.
    pub images: Option<Vec<ComparedImage>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Compared {
    pub team: String,
    pub submission: SubmissionId,
    /// `null`: not ranked, or the baseline.
    pub rank: Option<u32>,
    pub baseline: bool,
    #[serde(flatten)]
    pub figures: Figures,
    #[serde(skip)]
    pub ranks: Option<Ranks>,
    /// Per kind of operator, dearest first.
    pub operators: Vec<OperatorCost>,
    /// Against the first entry, image by image; `null` for itself and where `images` is.
    pub against_first: Option<Paired>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ComparedImage {
    pub name: String,
    /// dB, in the order of the entries; `null`: not measured.
    pub psnr: Vec<Option<f64>>,
}

/// Compare entries of a board: figures, cost by operator, and image by image once the phase is closed
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/compare", tag = "leaderboard",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        Chosen),
    responses(
        (status = 200, description = "In the order that was asked for", body = Comparison),
        (status = 400, description = "A parameter is malformed, or names no two entries of this board", body = Errors),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The figures of this phase are not published", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { phase, .. }: PhaseAt,
    chosen: Result<Query<Chosen>, QueryRejection>,
) -> Result<Json<Comparison>, Error> {
    let bad = || Error::BadQuery("`a`, `b`, `c` and `d` are ids of two to four entries on this board.".into());
    let Query(chosen) = chosen.map_err(|_| bad())?;
    if !sees_board(&viewer, &phase) {
        return Err(Error::NotPublished);
    }
    let phase = seen_by(&viewer, phase);
    let board = app.boards.of(&app.pool, &phase).await?;
    let mut conn = app.db().await?;
    let made = compare(&mut conn, &phase, &board, &chosen, sees_images(&viewer, &phase)).await?;
    made.filter(|made| made.entries.len() > 1).map(Json).ok_or_else(bad)
}

/// What page and API show; `None`: an id that is not on the board.
pub async fn compare(
    conn: &mut PgConnection,
    phase: &Phase,
    board: &Board,
    chosen: &Chosen,
    images: bool,
) -> Result<Option<Comparison>, Error> {
    let mut ids: Vec<SubmissionId> = [chosen.a, chosen.b, chosen.c, chosen.d].into_iter().flatten().collect();
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(*id));
    let mut entries = Vec::with_capacity(ids.len());
    for id in &ids {
        let Some(mut entry) = on_board(board, *id) else { return Ok(None) };
        let evaluations = submission::evaluations(conn, *id).await?;
        let counted = |e: &&Evaluation| phase.as_of.is_none_or(|until| e.counts_since.is_some_and(|at| at <= until));
        let scored = evaluations.iter().filter(counted).find(|e| e.state == RunState::Scored).map(|e| e.id);
        if let Some(id) = scored
            && let Some(measured) = queue::score::get(conn, id).await?
        {
            entry.operators = measured.cost.operators;
        }
        entries.push(entry);
    }
    let images = match images {
        true => Some(table(conn, phase, board, &ids, &mut entries).await?),
        false => None,
    };
    Ok(Some(Comparison { protocol: board.protocol.clone(), entries, images }))
}

async fn table(
    conn: &mut PgConnection,
    phase: &Phase,
    board: &Board,
    ids: &[SubmissionId],
    entries: &mut [Compared],
) -> Result<Vec<ComparedImage>, Error> {
    let mut found = analysis::images_of(conn, phase, board).await?;
    // What is compared is what is told.
    found.psnr.values_mut().flatten().for_each(|psnr| *psnr = figures::psnr_of_image(*psnr));
    let of = |id: &SubmissionId| found.psnr.get(id).filter(|psnr| psnr.len() == found.names.len());
    for (entry, id) in entries.iter_mut().zip(ids).skip(1) {
        entry.against_first =
            of(id).zip(ids.first().and_then(of)).and_then(|(this, first)| analysis::paired(this, first));
    }
    let rows = found.names.iter().enumerate().map(|(i, name)| ComparedImage {
        name: name.clone(),
        psnr: ids.iter().map(|id| of(id).and_then(|psnr| psnr.get(i).copied())).collect(),
    });
    Ok(rows.collect())
}

fn on_board(board: &Board, id: SubmissionId) -> Option<Compared> {
    let entry = |team: &str, rank, ranks, baseline, figures| Compared {
        team: team.to_owned(),
        submission: id,
        rank,
        ranks,
        baseline,
        figures,
        operators: Vec::new(),
        against_first: None,
    };
    if let Some(row) = board.ranked.iter().find(|r| r.submission == id) {
        return Some(entry(&row.team, Some(row.rank), Some(row.ranks), false, row.figures));
    }
    if let Some(row) = board.unranked.iter().find(|r| r.submission == id) {
        return Some(entry(&row.team, None, None, false, row.figures));
    }
    let baseline = board.baseline.as_ref().filter(|b| b.submission == Some(id))?;
    Some(entry(&baseline.team, None, None, true, baseline.figures?))
}
