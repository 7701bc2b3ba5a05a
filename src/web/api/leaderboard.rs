//! The board, in four formats of the same query.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderName, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::super::{
    App, Error,
    error::Errors,
    extract::{ClientAddress, PhaseAt, Viewer},
    sight::{seen_by, sees_board_at},
};
use crate::leaderboard::{Board, MAIN, NAMES, Selection};

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Csv,
    Md,
    Tex,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// `json` (the default), `csv`, `md` or `tex`.
    #[serde(default)]
    #[param(inline)]
    format: Format,
    /// Slug of a sub-track to rank by; the main track where not given.
    track: Option<String>,
    /// The order: `rank` (the default), `team`, or a figure's field as `runtime_ratio`. Ranked entries stay before the others.
    sort: Option<String>,
    /// `asc` or `desc`; the best first where not given.
    dir: Option<String>,
    /// `yes`: only entries that an organizer verified; `no`: only the others.
    verified: Option<String>,
    /// `yes`: only entries trained on extra data, by their fact sheet; `no`: only those without.
    extra: Option<String>,
    /// Only entries measured on the machine of this name.
    device: Option<String>,
    /// Only entries of which the team's name holds this, or whose id begins with it.
    q: Option<String>,
    /// Fields with commas, as `psnr,runtime_ratio`: the columns of Markdown and LaTeX. JSON and CSV always hold all.
    cols: Option<String>,
    /// The board as it stood then: a date or a time in UTC, as `2026-11-20T12:00Z`; now where not given. The rules, scores, marks
    /// and withdrawals are those of then; names of teams and fact sheets those of now.
    at: Option<String>,
}

impl Asked {
    fn selection(self) -> Result<Selection, Error> {
        let Asked { format: _, track, sort, dir, verified, extra, device, q, cols, at } = self;
        let mut selection = Selection::default();
        for (name, value) in NAMES.into_iter().zip([track, sort, dir, verified, extra, device, q, cols, at]) {
            selection.set(name, value.as_deref().unwrap_or_default()).map_err(Error::BadQuery)?;
        }
        // What is to come is not known: it is the board of now.
        selection.at.take_if(|at| *at >= Utc::now());
        Ok(selection)
    }
}

/// In every format, as CSV has no place for it.
const BOARD_SHA256: HeaderName = HeaderName::from_static("upscore-board-sha256");

/// The board, and what tells whether two copies are of the same one.
#[derive(Serialize, ToSchema)]
struct Document {
    #[serde(flatten)]
    board: Board,
    /// SHA-256 of this document without `hash`, with sorted keys and no white space. The other formats carry it too: in a
    /// comment, in the last line, and all in the header `Upscore-Board-Sha256`.
    hash: String,
}

/// Read the leaderboard: ranked entries, and the others with the reason
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/leaderboard", tag = "leaderboard",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        Asked),
    responses(
        (status = 200, description = "The board; CSV, Markdown and LaTeX hold the same figures",
            content((Document = "application/json"), (String = "text/csv"), (String = "text/markdown"),
                (String = "application/x-tex"))),
        (status = 400, description = "There is no such format, track, order or column", body = Errors),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The figures of this phase are not published, or were not at that time", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors),
        (status = 429, description = "Too many boards of the past are asked for at once", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    from: ClientAddress,
    PhaseAt { challenge, phase }: PhaseAt,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(asked) = asked.map_err(|_| Error::BadQuery("`format` is json, csv, md or tex.".into()))?;
    let format = asked.format;
    let mut selection = asked.selection()?;
    let phase = seen_by(&viewer, phase);
    // Of later there is nothing to see.
    selection.at.take_if(|at| phase.as_of.is_some_and(|stop| *at >= stop));
    if !sees_board_at(&viewer, &phase, selection.at) {
        return Err(Error::NotPublished);
    }
    let board = match selection.at {
        Some(at) => {
            let _pass = app.doors.past_board(from)?;
            app.boards.at(&app.pool, &phase, at).await?
        }
        None => app.boards.of(&app.pool, &phase).await?,
    };
    let board = match &selection.track {
        Some(slug) => {
            let known: String = board.ranking.sub_tracks.iter().map(|t| format!(", {}", t.slug)).collect();
            let unknown = || Error::BadQuery(format!("`track` is {MAIN}{known}."));
            Board::clone(&board).on_track(slug).ok_or_else(unknown)?
        }
        None => Board::clone(&board),
    };
    let board = board.select(&selection);
    let hash = board.sha256()?;
    let hashed = [(BOARD_SHA256, hash.clone())];
    let track = board.track.as_deref().map(|slug| format!("-{slug}")).unwrap_or_default();
    let (kind, ending, text) = match format {
        Format::Json => return Ok((hashed, Json(Document { board, hash })).into_response()),
        Format::Csv => ("text/csv; charset=utf-8", "csv", board.to_csv()),
        Format::Md => ("text/markdown; charset=utf-8", "md", board.to_markdown()?),
        Format::Tex => ("application/x-tex; charset=utf-8", "tex", board.to_latex(Utc::now())?),
    };
    let name = format!("inline; filename=\"{}-{}{track}.{ending}\"", challenge.slug, phase.slug);
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)], hashed, text).into_response())
}
