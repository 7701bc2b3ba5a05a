//! The study of a phase.

use axum::{Json, extract::State};

use super::super::{
    App, Error,
    error::Errors,
    extract::{PhaseAt, Viewer},
    sight::{seen_by, sees_board},
};
use crate::analysis::Study;

/// Read the study: rank correlations, Pareto fronts, stability of the ranks, images that decide
#[utoipa::path(get, path = "/challenges/{slug}/phases/{phase}/study", tag = "leaderboard",
    params(
        ("slug" = String, Path, description = "The challenge"),
        ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "Over the ranked entries, as the board stands now", body = Study),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The figures of this phase are not published", body = Errors),
        (status = 404, description = "There is no such challenge or phase", body = Errors)),
    security((), ("token" = [])))]
pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { phase, .. }: PhaseAt,
) -> Result<Json<Study>, Error> {
    if !sees_board(&viewer, &phase) {
        return Err(Error::NotPublished);
    }
    let phase = seen_by(&viewer, phase);
    let board = app.boards.of(&app.pool, &phase).await?;
    let study = app.studies.of(&app.pool, &phase, board).await?;
    Ok(Json(study.as_ref().clone()))
}
