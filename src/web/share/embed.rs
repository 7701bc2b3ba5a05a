//! `/challenges/{slug}/{phase}/embed`: the head of a board, for a frame in somebody's page.

use askama::Template;
use axum::{
    Extension,
    extract::{Query, State, rejection::QueryRejection},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{Framable, board, public};
use crate::web::{
    App, Error,
    error::Errors,
    extract::PhaseAt,
    metrics::{self, Cell},
};

#[derive(Template)]
#[template(path = "share/embed.html")]
struct Embed {
    title: String,
    /// Of the board itself.
    href: String,
    protocol: String,
    heads: Vec<(&'static str, &'static str, String)>,
    rows: Vec<Row>,
    /// Ranked entries beyond the rows.
    more: usize,
    /// Its figures are public.
    shown: bool,
}

struct Row {
    rank: u32,
    team: String,
    cells: Vec<Cell>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Slug of a sub-track; the main track where not given.
    track: Option<String>,
    /// Entries that are listed: 10 where not given, at most 100.
    #[serde(default = "usual")]
    rows: usize,
}

fn usual() -> usize {
    10
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { track: None, rows: usual() }
    }
}

const MOST: usize = 100;

/// Any site may frame it; it holds no form and no script.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors *; form-action 'none'";

/// The figures that a small table has.
const COLUMNS: [&str; 5] = ["score", "psnr", "runtime_ratio", "params", "flops"];

/// Show the first rows of a board in a frame of another site
#[utoipa::path(get, path = "/challenges/{slug}/{phase}/embed", tag = "share",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase"), Asked),
    responses(
        (status = 200, description = "A page without script, forms or cookies that any site may frame", content_type = "text/html", body = String),
        (status = 404, description = "There is no such challenge or phase", body = Errors)))]
pub async fn show(
    State(app): State<App>,
    PhaseAt { challenge, phase }: PhaseAt,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, Error> {
    let Asked { track, rows } = asked.map(|Query(asked)| asked).unwrap_or_default();
    let board = board(&app, &phase).await?;
    let tracked = board.as_deref().zip(track.as_deref()).and_then(|(board, slug)| board.clone().on_track(slug));
    let board = tracked.as_ref().or(board.as_deref());
    let shown = |id: &str| COLUMNS.contains(&id);
    let mut page = Embed {
        title: format!("{} · {}", challenge.title, phase.title),
        href: format!("/challenges/{}/{}", challenge.slug, phase.slug),
        protocol: phase.protocol.name.clone(),
        heads: Vec::new(),
        rows: Vec::new(),
        more: 0,
        shown: board.is_some(),
    };
    if let Some(board) = board {
        if let Some(track) = &board.track {
            page.href += &format!("?track={track}");
        }
        let against = board.by_ratio;
        let score = metrics::score_column(board.rule(), against);
        let has_score = score.is_some();
        let definitions = score.into_iter().chain(metrics::definitions(&phase.protocol.rules));
        page.heads = definitions.filter(|d| shown(d.id)).map(|d| (d.name, d.unit, d.text)).collect();
        let row = |r: &crate::leaderboard::RankedRow| {
            let score = has_score.then(|| metrics::score_cell(board.score_of(r)));
            let cells = score.into_iter().chain(metrics::cells(&r.figures, Some(&r.ranks), against));
            Row { rank: r.rank, team: r.team.clone(), cells: cells.filter(|cell| shown(cell.id)).collect() }
        };
        let most = rows.clamp(1, MOST);
        page.rows = board.ranked.iter().take(most).map(row).collect();
        page.more = board.ranked.len().saturating_sub(most);
    }
    let html = page.render().map_err(anyhow::Error::from)?;
    let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))];
    Ok((Extension(Framable), policy, public("text/html; charset=utf-8", html)).into_response())
}
