//! `/challenges/{slug}/{phase}/feed.atom`: each team's new best entry, the newest first.

use askama::Template;
use axum::{extract::State, http::HeaderMap, response::Response};
use chrono::{DateTime, SecondsFormat, Utc};

use super::{board, public, xml};
use crate::{
    leaderboard::RankedRow,
    web::{App, Error, error::Errors, extract::PhaseAt, view::fixed},
};

#[derive(Template)]
#[template(path = "share/feed.xml", escape = "html")]
struct Feed {
    id: String,
    title: String,
    /// Of the board.
    href: String,
    own: String,
    updated: String,
    entries: Vec<Entry>,
}

struct Entry {
    id: String,
    title: String,
    team: String,
    href: String,
    updated: String,
    summary: String,
}

/// Entries of a feed at most.
const MOST: usize = 50;

/// Follow a board: each team's best entry, the newest first
#[utoipa::path(get, path = "/challenges/{slug}/{phase}/feed.atom", tag = "share",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "Atom; an entry that is withdrawn or beaten by its team leaves it, and it is empty where the figures are not public", content_type = "application/atom+xml", body = String),
        (status = 404, description = "There is no such challenge or phase", body = Errors)))]
pub async fn show(
    State(app): State<App>,
    headers: HeaderMap,
    PhaseAt { challenge, phase }: PhaseAt,
) -> Result<Response, Error> {
    let url = app.url(&headers);
    let href = format!("{url}/challenges/{}/{}", challenge.slug, phase.slug);
    let board = board(&app, &phase).await?;
    // What stands is its team's best: a team's next best takes its place.
    let mut rows: Vec<&RankedRow> = board.iter().flat_map(|board| &board.ranked).collect();
    rows.sort_by_key(|row| std::cmp::Reverse((row.submitted_at, row.submission)));
    rows.truncate(MOST);
    let entry = |row: &&RankedRow| {
        let f = &row.figures;
        let ratio = f.runtime_ratio.map(|ratio| format!("{}× the baseline's runtime", fixed(ratio, 3)));
        let runtime = ratio.unwrap_or_else(|| format!("{} ms", fixed(f.runtime_ms, 1)));
        let params = fixed(f.params as f64 / 1e6, 3);
        Entry {
            id: row.submission.to_string(),
            title: xml(&format!("{}: {:.2} dB at {runtime}", row.team, f.psnr)),
            team: xml(&row.team),
            href: format!("{url}/submissions/{}", row.submission),
            updated: written(row.submitted_at),
            summary: format!("Rank {} now. PSNR {:.2} dB, {runtime}, {params} M parameters.", row.rank, f.psnr),
        }
    };
    let feed = Feed {
        id: phase.id.to_string(),
        title: xml(&format!("{} · {}: new best entries", challenge.title, phase.title)),
        own: format!("{href}/feed.atom"),
        href,
        updated: written(rows.first().map_or(DateTime::UNIX_EPOCH, |row| row.submitted_at)),
        entries: rows.iter().map(entry).collect(),
    };
    Ok(public("application/atom+xml; charset=utf-8", feed.render().map_err(anyhow::Error::from)?))
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}
