//! `/challenges/{slug}/{phase}/compare`: entries of a board side by side.

use std::collections::BTreeMap;

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};

use super::super::{
    App, Error,
    api::compare::{Chosen, Comparison, MOST, compare},
    error::render,
    extract::{PhaseAt, Viewer},
    lang::{say, t},
    metrics::{self, Better, Cell, Definition},
    plot,
    sight::{seen_by, sees_board, sees_images},
    view::{Page, fixed},
};
use crate::{
    challenge::Challenge,
    ids::SubmissionId,
    leaderboard::{Board, Figures},
};

#[derive(Template)]
#[template(path = "compare.html")]
struct ComparePage {
    page: Page,
    challenge: Challenge,
    phase_title: String,
    phase_slug: String,
    protocol: String,
    /// What the form offers, for each of its fields.
    choices: Vec<Choice>,
    entries: Vec<Head>,
    rows: Vec<Row>,
    /// The figures as lines over all of the board's.
    parallel: Option<plot::Parallel>,
    operators: Vec<OperatorRow>,
    tests: Vec<Test>,
    images: Vec<ImageRow>,
    /// Per-image figures are kept back while the phase is open.
    kept_back: bool,
}

struct Choice {
    name: &'static str,
    label: &'static str,
    options: Vec<(SubmissionId, String, bool)>,
}

struct Head {
    team: String,
    href: String,
    note: String,
}

struct Row {
    definition: Definition,
    /// A value, its difference to the first entry's, and whether that is better.
    cells: Vec<(Cell, Option<(String, &'static str)>)>,
}

struct OperatorRow {
    op: String,
    /// Multiply-adds in millions and share in %, of each entry; `None`: it has none of them.
    cells: Vec<Option<(String, String)>>,
}

struct Test {
    team: String,
    mean: String,
    interval: String,
    p: String,
    better: usize,
    worse: usize,
}

struct ImageRow {
    name: String,
    psnr: Vec<String>,
    /// Of the second entry to the first, as a bar from the middle of 100.
    bar: Option<(String, String, &'static str)>,
    difference: String,
    /// For sorting.
    exact: String,
}

pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    PhaseAt { challenge, phase }: PhaseAt,
    chosen: Result<Query<Chosen>, QueryRejection>,
) -> Result<Response, Error> {
    if !sees_board(&viewer, &phase) {
        return Err(Error::NotPublished);
    }
    let phase = seen_by(&viewer, phase);
    let board = app.boards.of(&app.pool, &phase).await?;
    let mut conn = app.db().await?;
    // What cannot be read, or is not on the board any more, is as if nothing was chosen: the form is there.
    let chosen = chosen.map(|Query(chosen)| chosen).unwrap_or_default();
    let images = sees_images(&viewer, &phase);
    let found = compare(&mut conn, &phase, &board, &chosen, images).await?;
    drop(conn);
    let entries: Vec<(SubmissionId, String)> = board
        .ranked
        .iter()
        .map(|r| (r.submission, format!("{}. {}", r.rank, r.team)))
        .chain(
            board
                .baseline
                .iter()
                .filter_map(|b| Some((b.submission?, say("%{team} (baseline)").with("team", &b.team).into()))),
        )
        .chain(board.unranked.iter().map(|r| (r.submission, say("%{team} (not ranked)").with("team", &r.team).into())))
        .collect();
    let choice = |name, label, of: Option<SubmissionId>| Choice {
        name,
        label,
        options: entries.iter().map(|(id, words)| (*id, words.clone(), of == Some(*id))).collect(),
    };
    let against = phase.baseline.model_sha256.is_some();
    let shown = found.filter(|found| found.entries.len() > 1);
    Ok(render(&ComparePage {
        page: Page::of(format!("{} · {} · {}", t("Compare"), challenge.title, phase.title), &viewer),
        choices: vec![
            choice("a", t("Compare"), chosen.a),
            choice("b", t("with"), chosen.b),
            choice("c", t("and"), chosen.c),
            choice("d", t("and"), chosen.d),
        ],
        phase_title: phase.title.clone(),
        phase_slug: phase.slug.clone(),
        protocol: board.protocol.clone(),
        entries: shown.as_ref().map(heads).unwrap_or_default(),
        rows: shown.as_ref().map(|c| rows(c, metrics::definitions(&phase.protocol.rules), against)).unwrap_or_default(),
        parallel: shown.as_ref().and_then(|c| parallel(c, &board, against)),
        operators: shown.as_ref().map(operators).unwrap_or_default(),
        tests: shown.as_ref().map(tests).unwrap_or_default(),
        images: shown.as_ref().map(image_rows).unwrap_or_default(),
        kept_back: shown.is_some() && !images,
        challenge,
    }))
}

fn heads(c: &Comparison) -> Vec<Head> {
    let head = |e: &super::super::api::compare::Compared| Head {
        team: e.team.clone(),
        href: format!("/submissions/{}", e.submission),
        note: match (e.rank, e.baseline) {
            (_, true) => t("baseline").into(),
            (Some(rank), _) => say("rank %{n}").with("n", rank).into(),
            (None, _) => t("not ranked").into(),
        },
    };
    c.entries.iter().take(MOST).map(head).collect()
}

/// Each axis from the worst to the best of the whole board, and of what is compared.
fn parallel(c: &Comparison, board: &Board, against: bool) -> Option<plot::Parallel> {
    type Figure = (&'static str, fn(&Figures) -> Option<f64>, usize, plot::Scale);
    use plot::Scale::{Linear, Log};
    let runtime: Figure = match against {
        true => (t("Runtime × baseline"), |f| f.runtime_ratio, 2, Log),
        false => (t("Runtime ms"), |f| Some(f.runtime_ms), 1, Log),
    };
    let figures: [Figure; 7] = [
        ("PSNR dB", |f| Some(f.psnr), 2, Linear),
        ("SSIM", |f| Some(f.ssim), 4, Linear),
        runtime,
        (t("Params M"), |f| Some(f.params as f64 / 1e6), 3, Log),
        ("FLOPs G", |f| Some(f.flops as f64 / 1e9), 2, Log),
        (t("Acts M"), |f| Some(f.activations as f64 / 1e6), 2, Log),
        (t("Memory MiB"), |f| Some(f.memory_mib), 0, Log),
    ];
    let axis = |(name, of, decimals, scale): Figure| {
        let is_cost = scale == Log;
        // On a logarithmic axis there is no 0.
        let drawn = |f: &Figures| of(f).filter(|v| v.is_finite() && (!is_cost || *v > 0.0));
        let ranked = board.ranked.iter().filter_map(|r| drawn(&r.figures));
        let all: Vec<f64> = ranked.chain(c.entries.iter().filter_map(|e| drawn(&e.figures))).collect();
        let least = all.iter().copied().fold(f64::INFINITY, f64::min);
        let most = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (worst, best) = if is_cost { (most, least) } else { (least, most) };
        let values = c.entries.iter().map(|e| drawn(&e.figures)).collect();
        (!all.is_empty()).then_some(plot::Axis { name, values, worst, best, decimals, scale })
    };
    let names: Vec<String> = c.entries.iter().map(|e| e.team.clone()).collect();
    plot::parallel(&names, &figures.into_iter().filter_map(axis).collect::<Vec<_>>())
}

fn rows(c: &Comparison, definitions: Vec<Definition>, against: bool) -> Vec<Row> {
    let cells: Vec<Vec<Cell>> =
        c.entries.iter().map(|e| metrics::cells(&e.figures, e.ranks.as_ref(), against)).collect();
    let row = |definition: Definition| {
        let of = |cells: &[Cell]| cells.iter().find(|cell| cell.id == definition.id).cloned().unwrap_or_default();
        let first = cells.first().map(|c| of(c)).unwrap_or_default();
        let cells = cells.iter().enumerate().map(|(i, cells)| {
            let cell = of(cells);
            let change = if i == 0 { None } else { change(&first, &cell, &definition) };
            (cell, change)
        });
        Row { cells: cells.collect(), definition: definition.clone() }
    };
    definitions.into_iter().map(row).collect()
}

/// How a value differs from the first entry's: in dB for the fidelity, in per cent for a cost.
fn change(first: &Cell, this: &Cell, definition: &Definition) -> Option<(String, &'static str)> {
    let (a, b): (f64, f64) = (first.exact.parse().ok()?, this.exact.parse().ok()?);
    let text = match definition.better {
        Better::Higher => format!("{:+.*}", if definition.id == "ssim" { 4 } else { 2 }, b - a),
        Better::Lower if a > 0.0 => format!("{:+.1} %", 100.0 * (b / a - 1.0)),
        Better::Lower => return None,
    };
    let better = match definition.better {
        Better::Higher => b > a,
        Better::Lower => b < a,
    };
    let class = if a == b {
        "even"
    } else if better {
        "good"
    } else {
        "bad"
    };
    Some((text.replace('-', "−"), class))
}

fn operators(c: &Comparison) -> Vec<OperatorRow> {
    let mut by_op: BTreeMap<&str, Vec<Option<u64>>> = BTreeMap::new();
    for (i, entry) in c.entries.iter().enumerate() {
        for o in &entry.operators {
            by_op.entry(&o.op).or_insert_with(|| vec![None; c.entries.len()])[i] = Some(o.macs);
        }
    }
    let totals: Vec<u64> = c.entries.iter().map(|e| e.operators.iter().map(|o| o.macs).sum()).collect();
    let mut rows: Vec<_> = by_op.into_iter().collect();
    rows.sort_by_key(|(_, macs)| std::cmp::Reverse(macs.iter().flatten().copied().max()));
    let row = |(op, macs): (&str, Vec<Option<u64>>)| {
        let cell = |(macs, total): (Option<u64>, &u64)| {
            let macs = macs?;
            let share = if *total > 0 { 100.0 * macs as f64 / *total as f64 } else { 0.0 };
            Some((fixed(macs as f64 / 1e6, 2), fixed(share, 1)))
        };
        OperatorRow { op: op.to_owned(), cells: macs.into_iter().zip(&totals).map(cell).collect() }
    };
    rows.into_iter().map(row).collect()
}

fn tests(c: &Comparison) -> Vec<Test> {
    let signed = |value: f64| format!("{value:+.3}").replace('-', "−");
    let test = |e: &super::super::api::compare::Compared| {
        let paired = e.against_first?;
        Some(Test {
            team: e.team.clone(),
            mean: signed(paired.mean_db),
            interval: format!("{} … {}", signed(paired.ci95_db[0]), signed(paired.ci95_db[1])),
            p: if paired.p < 0.001 { "< 0.001".into() } else { fixed(paired.p, 3) },
            better: paired.better,
            worse: paired.worse,
        })
    };
    c.entries.iter().filter_map(test).collect()
}

fn image_rows(c: &Comparison) -> Vec<ImageRow> {
    let images = c.images.as_deref().unwrap_or_default();
    let difference = |psnr: &[Option<f64>]| Some(psnr.get(1).copied().flatten()? - psnr.first().copied().flatten()?);
    let most = images.iter().filter_map(|i| difference(&i.psnr)).map(f64::abs).fold(0.0, f64::max);
    let row = |image: &super::super::api::compare::ComparedImage| {
        let apart = difference(&image.psnr);
        let bar = apart.filter(|_| most > 0.0).map(|apart| {
            let length = 50.0 * apart.abs() / most;
            let from = if apart < 0.0 { 50.0 - length } else { 50.0 };
            (fixed(from, 2), fixed(length, 2), if apart < 0.0 { "bad" } else { "good" })
        });
        ImageRow {
            name: image.name.clone(),
            psnr: image.psnr.iter().map(|p| p.map_or("–".into(), |p| fixed(p, 2))).collect(),
            bar,
            exact: apart.map_or(String::new(), |apart| apart.to_string()),
            difference: apart.map_or("–".into(), |apart| format!("{apart:+.3}").replace('-', "−")),
        }
    };
    let mut rows: Vec<(Option<f64>, ImageRow)> = images.iter().map(|i| (difference(&i.psnr), row(i))).collect();
    rows.sort_by(|a, b| b.0.unwrap_or(0.0).total_cmp(&a.0.unwrap_or(0.0)));
    rows.into_iter().map(|(_, row)| row).collect()
}
