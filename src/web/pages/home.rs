//! `/`: the challenges as cards.

use std::collections::HashMap;

use askama::Template;
use axum::{extract::State, response::Response};

use super::{
    super::{
        App, Error,
        error::render,
        extract::Viewer,
        lang::t,
        metrics,
        sight::{seen_by, sees_board},
        view::{Page, When},
    },
    phase::{current, until},
};
use crate::{
    challenge::{
        self, Challenge, announcement,
        phase::{self, Phase, PhaseState},
        protocol::Metric,
    },
    ids::ChallengeId,
    leaderboard::GateView,
    team,
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
    announcements: i64,
    phase: Option<CardPhase>,
}

struct CardPhase {
    slug: String,
    title: String,
    state: PhaseState,
    until: Option<When>,
    until_word: &'static str,
    ranked: usize,
    gate: String,
    /// The best three.
    first: Vec<Best>,
}

struct Best {
    rank: u32,
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
    let challenges = challenge::list(&mut conn).await?;
    let mut phases = HashMap::<ChallengeId, Vec<Phase>>::new();
    for phase in phase::all(&mut conn).await? {
        phases.entry(phase.challenge).or_default().push(phase);
    }
    let (teams, announcements) = (team::counts(&mut conn).await?, announcement::counts(&mut conn).await?);
    drop(conn);
    let mut cards = Vec::new();
    for Challenge { id, slug, title, .. } in challenges {
        let now = phases.get(&id).and_then(|phases| current(phases));
        let phase = match now {
            Some(phase) => Some(card_phase(&app, &viewer, phase).await?),
            None => None,
        };
        let count = |of: &HashMap<ChallengeId, i64>| of.get(&id).copied().unwrap_or(0);
        cards.push(Card {
            slug,
            title,
            scale: now.map(|p| p.protocol.rules.fidelity.scale),
            teams: count(&teams),
            announcements: count(&announcements),
            phase,
        });
    }
    let is_past = |card: &Card| card.phase.as_ref().is_some_and(|p| p.state == PhaseState::Closed);
    let (past, current) = cards.into_iter().partition(is_past);
    Ok(render(&Home { page: Page::of(t("Challenges"), &viewer), current, past }))
}

async fn card_phase(app: &App, viewer: &Viewer, phase: &Phase) -> Result<CardPhase, Error> {
    let phase = &seen_by(viewer, phase.clone());
    let board = app.boards.of(&app.pool, phase).await?;
    let shown = sees_board(viewer, phase);
    let against = phase.baseline.model_sha256.is_some();
    let id = cost_id(board.metric, against);
    let unit = metrics::definitions(&phase.protocol.rules).into_iter().find(|d| d.id == id);
    let unit = unit.map_or_else(String::new, |d| if d.unit.is_empty() { d.name.to_owned() } else { d.unit.to_owned() });
    let first = board.ranked.iter().filter(|_| shown).take(3).map(|row| {
        let cell = metrics::cells(&row.figures, None, against).into_iter().find(|c| c.id == id);
        let cost = cell.map(|c| c.text).unwrap_or_default();
        Best {
            rank: row.rank,
            team: row.team.clone(),
            psnr: format!("{:.2}", row.figures.psnr),
            // A ratio's sign is in the column's name too.
            cost: format!("{} {unit}", cost.trim_end_matches('×')),
        }
    });
    let first = first.collect();
    let (until, until_word) = until(phase);
    Ok(CardPhase {
        slug: phase.slug.clone(),
        title: phase.title.clone(),
        state: phase.state,
        until,
        until_word,
        ranked: if shown { board.ranked.len() } else { 0 },
        gate: match board.gate {
            None => t("none").into(),
            Some(GateView { psnr: Some(psnr), .. }) => format!("{psnr:.2} dB"),
            Some(_) => t("not measured yet").into(),
        },
        first,
    })
}

/// The column of the cost that orders the board; runtime where fidelity does.
fn cost_id(metric: Metric, against_baseline: bool) -> &'static str {
    match metric {
        Metric::Params => "params",
        Metric::Flops => "flops",
        Metric::Activations => "activations",
        Metric::Memory => "memory_mib",
        Metric::Runtime | Metric::Psnr | Metric::Ssim if against_baseline => "runtime_ratio",
        Metric::Runtime | Metric::Psnr | Metric::Ssim => "runtime_ms",
    }
}
