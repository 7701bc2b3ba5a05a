//! `/challenges/{slug}/{phase}`: the leaderboard.

use std::sync::Arc;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;

use super::{
    super::{
        App, Error,
        error::render,
        extract::{PhaseAt, Viewer},
        kept,
        metrics::{self, Cell, Definition},
        plot::{self, Frame, Kind, Point, Scatter},
        sight::sees_board,
        view::Page,
    },
    phase::{PhaseView, gate_words},
};
use crate::{
    challenge::{
        Challenge,
        phase::{self, Phase},
        protocol::Rule,
    },
    evaluation::Verdict,
    leaderboard::{Board, Figures, MAIN, Place},
};

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    page: Page,
    challenge: Challenge,
    phase: PhaseView,
    tabs: Vec<Tab>,
    /// The main track and the sub-tracks; empty where there is only the one.
    tracks: Vec<Tab>,
    protocol: String,
    ranked_by: String,
    gate: String,
    device: String,
    caption: String,
    /// Why there is nothing to see.
    closed_book: Option<&'static str>,
    definitions: Vec<Definition>,
    columns: usize,
    ranked: Vec<Row>,
    baseline: Option<Row>,
    unranked: Vec<Row>,
    /// Entries beyond those that are shown; 0: all are.
    more: usize,
    costs: Vec<Tab>,
    cost_slug: &'static str,
    /// `&track=slug` on a sub-track.
    track_query: String,
    cost_name: &'static str,
    cost_axis: &'static str,
    /// For a wide and for a narrow window.
    plots: Vec<(&'static str, Scatter)>,
}

struct Tab {
    slug: String,
    title: String,
    here: bool,
}

struct Row {
    rank: Option<u32>,
    team: String,
    href: Option<String>,
    cells: Vec<Cell>,
    checks: Vec<Check>,
    reason: Option<String>,
    baseline: bool,
}

struct Check {
    class: &'static str,
    text: &'static str,
}

/// What lies on the horizontal axis of the plot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CostAxis {
    #[default]
    Runtime,
    Params,
    Flops,
    Activations,
    Memory,
}

/// Entries of each kind that a board shows at first: more is more than anybody reads, and slow on a phone.
const FIRST_ROWS: usize = 200;

#[derive(Default, Deserialize)]
pub struct Asked {
    /// `all`: every entry of a long board.
    rows: Option<String>,
    #[serde(default)]
    cost: CostAxis,
    /// Slug of a sub-track; the main track where there is none of that name.
    track: Option<String>,
}

pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    asker: kept::Asker,
    PhaseAt { challenge, phase }: PhaseAt,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    app.pages.serve(asker, &phase, page(&app, viewer, challenge, &phase, asked)).await
}

async fn page(
    app: &App,
    viewer: Viewer,
    challenge: Challenge,
    phase: &Phase,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    let Asked { cost, track, rows } = asked.map(|Query(asked)| asked).unwrap_or_default();
    let mut conn = app.db().await?;
    let board = app.boards.of(&mut conn, phase).await?;
    let devices = app.boards.devices(&mut conn, phase).await?;
    let view = PhaseView::load(app, &mut conn, phase, board.gate).await?;
    let tabs = phase::of_challenge(&mut conn, challenge.id).await?;
    drop(conn);

    let against = phase.baseline.model_sha256.is_some();
    let track = track.filter(|slug| board.ranking.sub_tracks.iter().any(|t| t.slug == *slug));
    let board = match &track {
        Some(slug) => Arc::new(Board::clone(&board).on_track(slug).ok_or(Error::PageNotFound)?),
        None => board,
    };
    let score = metrics::score_column(board.rule(), against);
    let definitions: Vec<_> = score.into_iter().chain(metrics::definitions(&phase.protocol.rules)).collect();
    let device = match &*devices {
        [] => view.device.to_owned(),
        [one] => one.clone(),
        several => format!("{} devices: compare × baseline only", several.len()),
    };
    let shown = sees_board(&viewer, phase);
    let plots = [("large", plot::FRAME), ("small", SMALL)]
        .into_iter()
        .filter(|_| shown)
        .filter_map(|(class, frame)| Some((class, scatter(&board, cost, against, frame)?)))
        .collect();
    let here = |axis: CostAxis| axis == cost;
    let most = if rows.as_deref() == Some("all") { usize::MAX } else { FIRST_ROWS };
    let beyond = |entries: usize| entries.saturating_sub(most);
    let more = if shown { beyond(board.ranked.len()) + beyond(board.unranked.len()) } else { 0 };
    Ok(render(&BoardPage {
        page: Page::of(format!("{} · {}", challenge.title, phase.title), &viewer),
        tabs: tabs.into_iter().map(|p| Tab { here: p.id == phase.id, slug: p.slug, title: p.title }).collect(),
        tracks: tracks(&board),
        protocol: board.protocol.clone(),
        ranked_by: metrics::ranked_by(board.rule(), against),
        gate: gate_words(board.gate, &phase.baseline.name),
        caption: format!(
            "Protocol {}, measured on {device}. Counts are of a 1×3×256×256 input; a header's tooltip says what it is.",
            board.protocol
        ),
        device,
        closed_book: (!shown)
            .then_some("Entries are accepted, checked and measured; the organizers publish the figures of this phase."),
        columns: definitions.len() + 3,
        definitions,
        ranked: if shown { ranked(&board, against, most) } else { Vec::new() },
        baseline: if shown { baseline(&board, against) } else { None },
        unranked: if shown { unranked(&board, against, most) } else { Vec::new() },
        more,
        costs: CostAxis::ALL
            .into_iter()
            .map(|axis| Tab { slug: axis.slug().into(), title: axis.title().into(), here: here(axis) })
            .collect(),
        cost_slug: cost.slug(),
        track_query: track.map(|slug| format!("&track={slug}")).unwrap_or_default(),
        cost_name: cost.name(against),
        cost_axis: cost.axis(against),
        plots,
        phase: view,
        challenge,
    }))
}

fn ranked(board: &Board, against: bool, most: usize) -> Vec<Row> {
    let rows = board.ranked.iter().take(most).map(|r| Row {
        rank: Some(r.rank),
        team: r.team.clone(),
        href: Some(format!("/submissions/{}", r.submission)),
        cells: cells(board, board.score_of(r), metrics::cells(&r.figures, Some(&r.ranks), against)),
        checks: checks(&r.figures),
        reason: None,
        baseline: false,
    });
    rows.collect()
}

/// With the score first, where the track has one.
fn cells(board: &Board, place: Option<Place>, figures: Vec<Cell>) -> Vec<Cell> {
    let score = (!matches!(board.rule(), Rule::Metric(_))).then(|| metrics::score_cell(place));
    score.into_iter().chain(figures).collect()
}

/// The main track and the sub-tracks.
fn tracks(board: &Board) -> Vec<Tab> {
    let subs = &board.ranking.sub_tracks;
    let here = |slug: &str| board.track.as_deref().unwrap_or(MAIN) == slug;
    let main = (!subs.is_empty()).then(|| Tab { slug: MAIN.into(), title: "Main track".into(), here: here(MAIN) });
    let subs = subs.iter().map(|t| Tab { slug: t.slug.clone(), title: t.title.clone(), here: here(&t.slug) });
    main.into_iter().chain(subs).collect()
}

fn unranked(board: &Board, against: bool, most: usize) -> Vec<Row> {
    let rows = board.unranked.iter().take(most).map(|r| Row {
        rank: None,
        team: r.team.clone(),
        href: Some(format!("/submissions/{}", r.submission)),
        cells: cells(board, None, metrics::cells(&r.figures, None, against)),
        checks: noisy(&r.figures).into_iter().collect(),
        reason: Some(r.reason.message.clone()),
        baseline: false,
    });
    rows.collect()
}

fn baseline(board: &Board, against: bool) -> Option<Row> {
    let base = board.baseline.as_ref()?;
    let cells = match &base.figures {
        Some(figures) => metrics::cells(figures, None, against),
        // A stated figure is all there is.
        None => {
            let none = |id| Cell { id, text: "–".into(), ..Cell::default() };
            let psnr = base.psnr.map(|p| Cell { text: format!("{p:.2}"), exact: p.to_string(), ..none("psnr") });
            let rest = ["ssim", "runtime_ms", "runtime_ratio", "params", "flops", "activations", "memory_mib", "convs"];
            std::iter::once(psnr.unwrap_or_else(|| none("psnr"))).chain(rest.map(none)).collect()
        }
    };
    let score = base.score.map(|score| Place { rank: None, value: Some(score), ln: Some(score.ln()) });
    let cells = self::cells(board, score, cells);
    Some(Row {
        rank: None,
        team: base.team.clone(),
        href: base.submission.map(|id| format!("/submissions/{id}")),
        cells,
        checks: base.figures.iter().flat_map(checks).collect(),
        reason: None,
        baseline: true,
    })
}

fn checks(figures: &Figures) -> Vec<Check> {
    std::iter::once(check(figures.reproduction)).chain(noisy(figures)).collect()
}

fn noisy(figures: &Figures) -> Option<Check> {
    figures.noisy.then_some(Check { class: "noisy", text: "noisy" })
}

fn check(verdict: Verdict) -> Check {
    match verdict {
        Verdict::Reproduced => Check { class: "good", text: "reproduced" },
        Verdict::WithinRounding => Check { class: "near", text: "within rounding" },
        Verdict::Differs => Check { class: "bad", text: "not reproduced" },
    }
}

/// A figure for narrow windows, where the wide one's words would be too small to read.
const SMALL: Frame = Frame { width: 360.0, height: 330.0, left: 48.0, right: 350.0, top: 18.0, bottom: 282.0 };

fn scatter(board: &Board, cost: CostAxis, against: bool, frame: Frame) -> Option<Scatter> {
    let point = |team: &str, href, figures: &Figures, kind| Point {
        x: cost.value(figures, against),
        y: figures.psnr,
        label: team.to_owned(),
        href,
        kind,
    };
    let link = |id: crate::ids::SubmissionId| Some(format!("/submissions/{id}"));
    let ranked = board.ranked.iter().map(|r| point(&r.team, link(r.submission), &r.figures, Kind::Ranked));
    let unranked = board.unranked.iter().map(|r| point(&r.team, link(r.submission), &r.figures, Kind::Unranked));
    let base = board.baseline.iter().filter_map(|b| {
        let figures = b.figures.as_ref()?;
        Some(point(&b.team, b.submission.and_then(link), figures, Kind::Baseline))
    });
    let points: Vec<Point> = ranked.chain(base).chain(unranked).collect();
    let axis = cost.axis(against);
    plot::scatter(&points, frame, |p| {
        format!("{}: {:.2} dB, {axis} {}", p.label, p.y, super::super::view::fixed(p.x, 2))
    })
}

impl CostAxis {
    const ALL: [CostAxis; 5] =
        [CostAxis::Runtime, CostAxis::Params, CostAxis::Flops, CostAxis::Activations, CostAxis::Memory];

    fn slug(self) -> &'static str {
        match self {
            CostAxis::Runtime => "runtime",
            CostAxis::Params => "params",
            CostAxis::Flops => "flops",
            CostAxis::Activations => "activations",
            CostAxis::Memory => "memory",
        }
    }

    fn title(self) -> &'static str {
        match self {
            CostAxis::Runtime => "Runtime",
            CostAxis::Params => "Params",
            CostAxis::Flops => "FLOPs",
            CostAxis::Activations => "Acts",
            CostAxis::Memory => "Memory",
        }
    }

    fn name(self, against: bool) -> &'static str {
        match self {
            CostAxis::Runtime if against => "runtime relative to the baseline",
            CostAxis::Runtime => "runtime",
            CostAxis::Params => "parameters",
            CostAxis::Flops => "FLOPs",
            CostAxis::Activations => "activations",
            CostAxis::Memory => "peak memory",
        }
    }

    fn axis(self, against: bool) -> &'static str {
        match self {
            CostAxis::Runtime if against => "runtime × baseline",
            CostAxis::Runtime => "runtime ms",
            CostAxis::Params => "params M",
            CostAxis::Flops => "FLOPs G",
            CostAxis::Activations => "acts M",
            CostAxis::Memory => "memory MiB",
        }
    }

    /// In the axis's unit; 0, and not plotted, where it is missing.
    fn value(self, f: &Figures, against: bool) -> f64 {
        match self {
            CostAxis::Runtime if against => f.runtime_ratio.unwrap_or(0.0),
            CostAxis::Runtime => f.runtime_ms,
            CostAxis::Params => f.params as f64 / 1e6,
            CostAxis::Flops => f.flops as f64 / 1e9,
            CostAxis::Activations => f.activations as f64 / 1e6,
            CostAxis::Memory => f.memory_mib,
        }
    }
}
