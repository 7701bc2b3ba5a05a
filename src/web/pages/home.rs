//! `/`: the challenges as cards.

use askama::Template;
use axum::{extract::State, response::Response};
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        error::render,
        extract::Viewer,
        metrics,
        sight::sees_board,
        view::{Page, When},
    },
    phase::{current, until},
};
use crate::{
    challenge::{
        self, Challenge,
        phase::{self, Phase, PhaseState},
    },
    leaderboard, team,
};

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    page: Page,
    current: Vec<Card>,
    past: Vec<Card>,
}

struct Card {
    slug: String,
    title: String,
    scale: Option<u32>,
    teams: i64,
    phase: Option<CardPhase>,
}

struct CardPhase {
    slug: String,
    title: String,
    state: PhaseState,
    until: Option<When>,
    until_word: &'static str,
    ranked: usize,
    gate: Option<String>,
    best: Option<Best>,
}

struct Best {
    team: String,
    psnr: String,
    cost: String,
}

impl CardPhase {
    fn is_open(&self) -> bool {
        self.state == PhaseState::Open
    }
}

pub async fn show(State(app): State<App>, viewer: Viewer) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let mut cards = Vec::new();
    for challenge in challenge::list(&mut conn).await? {
        cards.push(card(&mut conn, &viewer, challenge).await?);
    }
    let is_past = |card: &Card| card.phase.as_ref().is_some_and(|p| p.state == PhaseState::Closed);
    let (past, current) = cards.into_iter().partition(is_past);
    Ok(render(&Home { page: Page::of("Challenges", &viewer), current, past }))
}

async fn card(conn: &mut PgConnection, viewer: &Viewer, challenge: Challenge) -> Result<Card, Error> {
    let phases = phase::of_challenge(conn, challenge.id).await?;
    let teams = team::count(conn, challenge.id).await?;
    let now = current(&phases);
    let phase = match now {
        Some(phase) => Some(card_phase(conn, viewer, phase).await?),
        None => None,
    };
    let scale = now.map(|p| p.protocol.rules.fidelity.scale);
    Ok(Card { slug: challenge.slug, title: challenge.title, scale, teams, phase })
}

async fn card_phase(conn: &mut PgConnection, viewer: &Viewer, phase: &Phase) -> Result<CardPhase, Error> {
    let board = leaderboard::ranking(conn, phase).await?;
    let shown = sees_board(viewer, phase);
    let metric = board.metric;
    let best = board.ranked.first().filter(|_| shown).map(|first| {
        let cells = metrics::cells(&first.figures, None, true);
        let id = match metric {
            challenge::protocol::Metric::Runtime if first.figures.runtime_ratio.is_some() => "runtime_ratio",
            challenge::protocol::Metric::Runtime => "runtime_ms",
            challenge::protocol::Metric::Memory => "memory_mib",
            other => other.as_str(),
        };
        let text = cells.into_iter().find(|c| c.id == id).map(|c| c.text).unwrap_or_default();
        let definition = metrics::definitions(&phase.protocol.rules).into_iter().find(|d| d.id == id);
        let cost = match definition {
            Some(_) if id == "runtime_ratio" => format!("{text} × the baseline's runtime"),
            Some(d) => format!("{text} {} {}", d.unit, d.name).replace("  ", " "),
            None => text,
        };
        Best { team: first.team.clone(), psnr: format!("{:.2}", first.figures.psnr), cost }
    });
    let (until, until_word) = until(phase);
    Ok(CardPhase {
        slug: phase.slug.clone(),
        title: phase.title.clone(),
        state: phase.state,
        until,
        until_word,
        ranked: if shown { board.ranked.len() } else { 0 },
        gate: board.gate.and_then(|g| g.psnr).map(|psnr| format!("{psnr:.2}")),
        best,
    })
}
