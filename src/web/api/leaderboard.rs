//! The board, in four formats of the same query.

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::header,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::super::{
    App, Error,
    error::Errors,
    extract::{PhaseAt, Viewer},
    sight::sees_board,
};
use crate::leaderboard::{self, Board};

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
}

/// Read the leaderboard: ranked entries, and the others with the reason
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/leaderboard", tag = "leaderboard",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase"),
        Asked),
    responses(
        (status = 200, description = "The board; CSV, Markdown and LaTeX hold the same figures",
            content((Board = "application/json"), (String = "text/csv"), (String = "text/markdown"),
                (String = "application/x-tex"))),
        (status = 400, description = "There is no such format", body = Errors),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The figures of this phase are not published", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { challenge, phase }: PhaseAt,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(Asked { format }) = asked.map_err(|_| Error::BadQuery("`format` is json, csv, md or tex.".into()))?;
    if !sees_board(&viewer, &phase) {
        return Err(Error::NotPublished);
    }
    let board = leaderboard::ranking(&mut *app.db().await?, &phase).await?;
    let (kind, ending, text) = match format {
        Format::Json => return Ok(Json(board).into_response()),
        Format::Csv => ("text/csv; charset=utf-8", "csv", board.to_csv()),
        Format::Md => ("text/markdown; charset=utf-8", "md", board.to_markdown()),
        Format::Tex => ("application/x-tex; charset=utf-8", "tex", board.to_latex()),
    };
    let name = format!("inline; filename=\"{}-{}.{ending}\"", challenge.slug, phase.slug);
    Ok(([(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, name)], text).into_response())
}
