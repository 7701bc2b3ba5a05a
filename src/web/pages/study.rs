//! `/challenges/{slug}/{phase}/study`: what the report of a challenge would say of its results.

use askama::Template;
use axum::{extract::State, response::Response};

use super::super::{
    App, Error,
    error::render,
    extract::{PhaseAt, Viewer},
    sight::{seen_by, sees_board},
    view::{Page, fixed},
};
use crate::{
    analysis::{Coefficient, Cost, Study},
    challenge::Challenge,
};

#[derive(Template)]
#[template(path = "study.html")]
struct StudyPage {
    page: Page,
    challenge: Challenge,
    phase_title: String,
    phase_slug: String,
    protocol: String,
    /// Ranked entries.
    entries: usize,
    correlations: Vec<[String; 5]>,
    costs: Vec<&'static str>,
    members: Vec<MemberRow>,
    /// Of each cost's front.
    volumes: Vec<String>,
    stability: Vec<StabilityRow>,
    images: Vec<(String, String, usize)>,
}

/// An entry that stands on at least one front.
struct MemberRow {
    team: String,
    href: String,
    /// By cost.
    on: Vec<bool>,
}

struct StabilityRow {
    rank: u32,
    team: String,
    href: String,
    /// Per cent.
    held: String,
    ranks: String,
    below: String,
}

pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { challenge, phase }: PhaseAt,
) -> Result<Response, Error> {
    if !sees_board(&viewer, &phase) {
        return Err(Error::NotPublished);
    }
    let phase = seen_by(&viewer, phase);
    let mut conn = app.db().await?;
    let board = app.boards.of(&mut conn, &phase).await?;
    let study = app.studies.of(&mut conn, &phase, board).await?;
    drop(conn);
    Ok(render(&StudyPage {
        page: Page::of(format!("Study of {} · {}", challenge.title, phase.title), &viewer),
        phase_title: phase.title,
        phase_slug: phase.slug,
        protocol: study.protocol.clone(),
        entries: study.entries,
        correlations: correlations(&study),
        costs: study.fronts.iter().map(|front| name(front.cost)).collect(),
        members: members(&study),
        volumes: study.fronts.iter().map(|f| f.hypervolume.map_or("–".into(), |v| fixed(v, 3))).collect(),
        stability: stability(&study),
        images: study.images.iter().map(|i| (i.name.clone(), fixed(i.spread_db, 3), i.turned_pairs)).collect(),
        challenge,
    }))
}

/// Cost, Spearman, its interval, Kendall, its interval.
fn correlations(study: &Study) -> Vec<[String; 5]> {
    let value = |c: Option<Coefficient>| c.map_or("–".to_owned(), |c| format!("{:.4}", c.value));
    let interval =
        |c: Option<Coefficient>| c.map_or("–".to_owned(), |c| format!("{:.2} … {:.2}", c.ci95[0], c.ci95[1]));
    let rows = study.correlations.iter();
    rows.map(|c| {
        [name(c.with).to_owned(), value(c.spearman), interval(c.spearman), value(c.kendall), interval(c.kendall)]
    })
    .collect()
}

fn members(study: &Study) -> Vec<MemberRow> {
    let mut rows: Vec<MemberRow> = Vec::new();
    for (i, front) in study.fronts.iter().enumerate() {
        for member in &front.members {
            let href = format!("/submissions/{}", member.submission);
            let at = rows.iter().position(|row| row.href == href).unwrap_or_else(|| {
                rows.push(MemberRow { team: member.team.clone(), href, on: vec![false; study.fronts.len()] });
                rows.len() - 1
            });
            rows[at].on[i] = true;
        }
    }
    // Those on most fronts first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.on.iter().filter(|on| **on).count()));
    rows
}

fn stability(study: &Study) -> Vec<StabilityRow> {
    let percent = |share: f64| format!("{:.0}", 100.0 * share);
    let row = |s: &crate::analysis::Stability| StabilityRow {
        rank: s.rank,
        team: s.team.clone(),
        href: format!("/submissions/{}", s.submission),
        held: percent(s.held),
        ranks: match s.ranks95 {
            Some([low, high]) if low == high => low.to_string(),
            Some([low, high]) => format!("{low}–{high}"),
            None => "–".into(),
        },
        below: s.below_gate.map_or("–".into(), percent),
    };
    study.stability.iter().map(row).collect()
}

fn name(cost: Cost) -> &'static str {
    match cost {
        Cost::Runtime => "Runtime",
        Cost::Params => "Params",
        Cost::Flops => "FLOPs",
        Cost::Activations => "Acts",
        Cost::Memory => "Memory",
        Cost::Convs => "Convs",
    }
}
