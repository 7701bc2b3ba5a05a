//! `/challenges/{slug}/{phase}/teams/{id}/badge.svg`: where a team stands, for its readme.

use askama::Template;
use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{board, public, short};
use crate::{
    ids::TeamId,
    leaderboard::Board,
    team,
    web::{App, Error, error::Errors, extract::PhaseAt, view::fixed},
};

#[derive(Template)]
#[template(path = "share/badge.svg", escape = "html")]
struct Badge {
    label: String,
    value: String,
    class: &'static str,
    /// Pixels, of the two halves.
    widths: [usize; 2],
}

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Slug of a sub-track; the main track where not given.
    track: Option<String>,
}

/// Characters of the challenge's title.
const LABEL: usize = 36;

/// Show where a team stands, as a picture for its readme
#[utoipa::path(get, path = "/challenges/{slug}/{phase}/teams/{id}/badge.svg", tag = "share",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase"),
        ("id" = String, Path, description = "The team"), Asked),
    responses(
        (status = 200, description = "Rank, PSNR and the ratio of runtime; it says so where there is no entry or the figures are not public", content_type = "image/svg+xml", body = String),
        (status = 404, description = "There is no such challenge, phase or team", body = Errors)))]
pub async fn show(
    State(app): State<App>,
    PhaseAt { challenge, phase }: PhaseAt,
    Path(address): Path<(String, String, String)>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let id: TeamId = address.2.parse().map_err(|_| Error::PageNotFound)?;
    let team = team::get(&mut *app.db().await?, id).await?.filter(|team| team.challenge == challenge.id);
    let Some(team) = team else { return Err(Error::PageNotFound) };
    let track = asked.ok().and_then(|Query(asked)| asked.track);
    let (value, class) = match board(&app, &phase).await? {
        Some(board) => standing(&board, team.id, track.as_deref()),
        None => ("not published yet".into(), "none"),
    };
    let label = short(&challenge.title, LABEL);
    // Verdana's 11 px on average; `textLength` makes it so.
    let width = |text: &str| text.chars().count() * 13 / 2 + 12;
    let badge = Badge { widths: [width(&label), width(&value)], label, value, class };
    let svg = badge.render().map_err(anyhow::Error::from)?;
    Ok(public("image/svg+xml", svg))
}

fn standing(board: &Board, team: TeamId, track: Option<&str>) -> (String, &'static str) {
    let tracked = track.and_then(|slug| board.clone().on_track(slug));
    let board = tracked.as_ref().unwrap_or(board);
    if let Some(row) = board.ranked.iter().find(|row| row.team_id == team) {
        let ratio = row.figures.runtime_ratio.map(|ratio| format!(" · {}× runtime", fixed(ratio, 2)));
        let value = format!("#{} · {:.2} dB{}", row.rank, row.figures.psnr, ratio.unwrap_or_default());
        return (value, if row.rank == 1 { "first" } else { "ranked" });
    }
    if board.unranked.iter().any(|row| row.team_id == team) {
        return ("not ranked".into(), "none");
    }
    ("no entry yet".into(), "none")
}
