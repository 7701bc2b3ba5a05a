//! `/challenges/{slug}/{phase}/study`: what the report of a challenge would say of its results.

use askama::Template;
use axum::{extract::State, response::Response};
use sqlx::PgConnection;

use super::super::{
    App, Error,
    error::render,
    extract::{PhaseAt, Viewer},
    lang::{say, t},
    plot::{self, Boxes, Event, Timeline},
    sight::{seen_by, sees_board, sees_images},
    view::{Page, When, fixed},
};
use crate::{
    analysis::{self, Coefficient, Cost, Spread, Study},
    challenge::{Challenge, phase::Phase, protocol::Metric},
    ids::SubmissionId,
    leaderboard::{Board, Figures},
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
    /// What leads the board, and the best of it over time.
    lead: String,
    lead_falls: bool,
    /// For a wide page and for a narrow one.
    timeline: Vec<(&'static str, Timeline)>,
    /// The rows behind the timeline.
    events: Vec<Came>,
    boxes: Vec<(&'static str, Boxes)>,
    /// Name and five figures, dB: the rows behind the boxes.
    spreads: Vec<(String, [String; 5])>,
}

/// An entry at the time it came in.
struct Came {
    when: When,
    team: String,
    value: String,
    /// It was the best so far.
    leads: bool,
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
    let board = app.boards.of(&app.pool, &phase).await?;
    let study = app.studies.of(&app.pool, &phase, board.clone()).await?;
    let spreads = match sees_images(&viewer, &phase) {
        true => spreads(&mut *app.db().await?, &phase, &board).await?,
        false => Vec::new(),
    };
    let metric = board.metric;
    let (timeline, events) = over_time(&board);
    let draw = |(class, width, left, letters)| Some((class, plot::boxes(&spreads, width, left, letters)?));
    let boxes = plot::BOXES.into_iter().filter_map(draw).collect();
    let title = say("Study of %{what}").with("what", format!("{} · {}", challenge.title, phase.title));
    Ok(render(&StudyPage {
        page: Page::of(title, &viewer),
        phase_title: phase.title,
        phase_slug: phase.slug,
        protocol: study.protocol.clone(),
        entries: study.entries,
        correlations: correlations(&study),
        costs: study.fronts.iter().map(|front| name(front.cost)).collect(),
        members: members(&study),
        volumes: study.fronts.iter().map(|f| f.hypervolume.map_or("–".into(), |v| fixed(v, 3))).collect(),
        stability: stability(&study),
        lead: match metric {
            Metric::Runtime if board.by_ratio => t("Runtime × baseline").into(),
            Metric::Runtime => t("Runtime, ms").into(),
            Metric::Params => t("Parameters, M").into(),
            Metric::Flops => "FLOPs, G".into(),
            Metric::Activations => t("Activations, M").into(),
            Metric::Memory => t("Memory, MiB").into(),
            Metric::Psnr => "PSNR, dB".into(),
            Metric::Ssim => "SSIM".into(),
        },
        lead_falls: metric.is_cost(),
        timeline,
        events,
        boxes,
        spreads: spreads.into_iter().map(|(name, five)| (name, five.map(|v| fixed(v, 2)))).collect(),
        images: study.images.iter().map(|i| (i.name.clone(), fixed(i.spread_db, 2), i.turned_pairs)).collect(),
        challenge,
    }))
}

/// Entries that the boxes show at most.
const BOXES: usize = 20;

/// Of the baseline and of the first entries.
async fn spreads(conn: &mut PgConnection, phase: &Phase, board: &Board) -> Result<Vec<(String, [f64; 5])>, Error> {
    let mut first = board.clone();
    first.ranked.truncate(BOXES);
    let table = analysis::images_of(conn, phase, &first).await?;
    let baseline = first
        .baseline
        .iter()
        .filter_map(|b| Some((b.submission?, say("%{team} (baseline)").with("team", &b.team).into())));
    let ranked = first.ranked.iter().map(|r| (r.submission, r.team.clone()));
    let spread = |(id, name): (SubmissionId, String)| {
        let Spread { least, lower_quartile, median, upper_quartile, most } = Spread::of(table.psnr.get(&id)?)?;
        Some((name, [least, lower_quartile, median, upper_quartile, most]))
    };
    Ok(baseline.chain(ranked).filter_map(spread).collect())
}

/// The entries that stand, as they came, by what leads the board. What stood before and was bettered or withdrawn by its own
/// team is not among them.
fn over_time(board: &Board) -> (Vec<(&'static str, Timeline)>, Vec<Came>) {
    let metric = board.metric;
    let value = |f: &Figures| match metric {
        Metric::Runtime if board.by_ratio => f.runtime_ratio.unwrap_or(f64::NAN),
        Metric::Runtime => f.runtime_ms,
        Metric::Params => f.params as f64 / 1e6,
        Metric::Flops => f.flops as f64 / 1e9,
        Metric::Activations => f.activations as f64 / 1e6,
        Metric::Memory => f.memory_mib,
        Metric::Psnr => f.psnr,
        Metric::Ssim => f.ssim,
    };
    let decimals = if metric == Metric::Ssim { 4 } else { 3 };
    let mut rows: Vec<_> = board.ranked.iter().filter(|r| value(&r.figures).is_finite()).collect();
    rows.sort_by_key(|r| (r.submitted_at, r.submission));
    let falls = metric.is_cost();
    let mut best = f64::NAN;
    let (mut events, mut table) = (Vec::new(), Vec::new());
    for row in rows {
        let (value, when) = (value(&row.figures), When::new(row.submitted_at));
        let leads = best.is_nan() || if falls { value < best } else { value > best };
        if leads {
            best = value;
        }
        let words = fixed(value, decimals);
        events.push(Event {
            at: row.submitted_at.timestamp(),
            value,
            team: row.team.clone(),
            title: format!("{}: {words}, {}", row.team, when.utc),
            href: format!("/submissions/{}", row.submission),
            id: row.submission.to_string(),
        });
        table.push(Came { when, team: row.team.clone(), value: words, leads });
    }
    let draw = |(class, frame)| Some((class, plot::timeline(&events, falls, frame)?));
    (plot::FLAT.into_iter().filter_map(draw).collect(), table)
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
    let row = |s: &analysis::Stability| StabilityRow {
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
        Cost::Runtime => t("Runtime"),
        Cost::Params => t("Params"),
        Cost::Flops => "FLOPs",
        Cost::Activations => t("Acts"),
        Cost::Memory => t("Memory"),
        Cost::Convs => t("Convs"),
    }
}
