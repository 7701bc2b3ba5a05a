//! `/organizer/{slug}/{phase}/reruns`: measuring again, and the drift report before it counts.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    super::{
        App, Error,
        api::review::{begin, report, settle},
        body::Fields,
        error::render,
        extract::{OrganizerPhaseAt, Viewer},
        view::{Page, When, fixed, grouped},
    },
    Frame, Tab,
    review::Batch,
};
use crate::{
    ids::SubmissionId,
    queue::rerun::Decision,
    review::drift::{self, Figure, Other},
};

#[derive(Template)]
#[template(path = "reruns.html")]
struct Reruns {
    page: Page,
    frame: Frame,
    phase: String,
    phase_title: String,
    batch: Batch,
    /// What was decided, by whom, when and why.
    decided: Option<(&'static str, String, When, String)>,
    live: i64,
    scored: i64,
    moved: usize,
    rows: Vec<Row>,
    others: Vec<Other>,
}

struct Row {
    submission: SubmissionId,
    team: String,
    state: &'static str,
    rank: String,
    /// Its rank would be another.
    rank_moves: bool,
    notes: Vec<String>,
    cells: Vec<Cell>,
    /// For the entries that were not scored.
    empty: bool,
}

struct Cell {
    old: String,
    new: String,
    moved: bool,
    /// The intervals, where there are any.
    title: String,
}

/// The names of the columns, in the order of a report's figures.
const COLUMNS: [(&str, &str); 9] = [
    ("PSNR", "dB"),
    ("SSIM", ""),
    ("Runtime", "ms"),
    ("× baseline", ""),
    ("Params", "M"),
    ("FLOPs", "G"),
    ("Acts", "M"),
    ("Memory", "MiB"),
    ("Convs", ""),
];

impl Reruns {
    fn columns(&self) -> [(&'static str, &'static str); 9] {
        COLUMNS
    }
}

pub async fn show(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Path((_slug, _phase, batch)): Path<(String, String, String)>,
) -> Result<Response, Error> {
    let report = report(&app, &at, &batch).await?;
    let OrganizerPhaseAt { challenge, phase, signed } = at;
    let frame = Frame::load(&mut *app.db().await?, &challenge, Tab::Review).await?;
    let drift::Report { batch, rows, others } = report;
    let decided = match (batch.decision, &batch.decided_by, batch.decided_at, &batch.decision_reason) {
        (Some(decision), Some(by), Some(at), Some(reason)) => {
            Some((decision.as_str(), by.clone(), When::new(at), reason.clone()))
        }
        _ => None,
    };
    Ok(render(&Reruns {
        page: Page::of(format!("{}: re-run", challenge.title), &Viewer(Some(signed))),
        frame,
        phase: phase.slug,
        phase_title: phase.title,
        decided,
        live: batch.live,
        scored: batch.scored,
        moved: rows.iter().filter(|row| row.moved).count(),
        batch: Batch::of(batch),
        rows: rows.into_iter().map(row).collect(),
        others,
    }))
}

fn row(row: drift::Row) -> Row {
    let rank = |rank: Option<u32>| rank.map_or_else(|| "–".to_owned(), |rank| rank.to_string());
    let rank_moves = row.rank != row.rank_then;
    let mut notes = Vec::new();
    if row.old_verdict != row.new_verdict
        && let (Some(old), Some(new)) = (&row.old_verdict, &row.new_verdict)
    {
        notes.push(format!("{old} → {new}"));
    }
    notes.extend(row.implausible.map(|why| format!("implausible: {why}")));
    Row {
        submission: row.submission,
        team: row.team,
        state: row.state.as_str(),
        rank: if rank_moves { format!("{} → {}", rank(row.rank), rank(row.rank_then)) } else { rank(row.rank) },
        rank_moves,
        notes,
        empty: row.figures.is_empty(),
        cells: row.figures.iter().map(cell).collect(),
    }
}

fn cell(figure: &Figure) -> Cell {
    let text = |value: f64| match figure.id {
        "psnr" => format!("{value:.3}"),
        "ssim" => format!("{value:.4}"),
        "runtime_ms" => fixed(value, 2),
        "runtime_ratio" => fixed(value, 3),
        "params" | "activations" => fixed(value / 1e6, 3),
        "flops" => fixed(value / 1e9, 2),
        "memory_mib" => fixed(value, 1),
        _ => grouped(value as u64),
    };
    let shown = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), text);
    let interval =
        |name: &str, ci: Option<[f64; 2]>| ci.map(|[low, high]| format!("{name} {}…{}", text(low), text(high)));
    let title = [interval("old", figure.old_ci95), interval("new", figure.new_ci95)];
    Cell {
        old: shown(figure.old),
        new: shown(figure.new),
        moved: figure.moved,
        title: title.into_iter().flatten().collect::<Vec<_>>().join(", "),
    }
}

/// What a form may hold: `which` (all or selected), `submission` any number of times, `reason`.
#[derive(Default)]
struct Wanted {
    all: bool,
    submissions: Vec<SubmissionId>,
    reason: String,
}

impl Wanted {
    fn read(fields: Vec<(String, String)>) -> Result<Wanted, Error> {
        let mut wanted = Wanted::default();
        for (name, value) in fields {
            match name.as_str() {
                "which" => wanted.all = value == "all",
                "submission" => wanted.submissions.push(value.parse().map_err(|_| Error::SubmissionNotFound)?),
                "reason" => wanted.reason = value,
                // As everywhere: what nobody asked for is refused.
                _ => return Err(Error::BadBody(StatusCode::UNPROCESSABLE_ENTITY, "unknown field".into())),
            }
        }
        Ok(wanted)
    }
}

pub async fn start(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Fields(fields): Fields<Vec<(String, String)>>,
) -> Result<Response, Error> {
    let Wanted { all, submissions, reason } = Wanted::read(fields)?;
    let which = (!all).then_some(submissions.as_slice());
    let begun = begin(&app, &at, which, &reason).await?;
    Ok(Redirect::to(&begun.url).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decided {
    decision: Decision,
    reason: String,
}

pub async fn decide(
    State(app): State<App>,
    at: OrganizerPhaseAt,
    Path((slug, phase, batch)): Path<(String, String, String)>,
    Fields(Decided { decision, reason }): Fields<Decided>,
) -> Result<Response, Error> {
    settle(&app, &at, &batch, decision, &reason).await?;
    Ok(Redirect::to(&format!("/organizer/{slug}/{phase}/reruns/{batch}")).into_response())
}
