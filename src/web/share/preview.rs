//! `/challenges/{slug}/{phase}/preview.png`: the picture that a link to a board shows elsewhere, drawn from an SVG template.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, PoisonError},
};

use anyhow::Context;
use askama::Template;
use axum::{body::Bytes, extract::State, response::Response};
use chrono::{DateTime, Utc};
use resvg::{tiny_skia, usvg};

use super::{board, public, short};
use crate::{
    challenge::Challenge,
    challenge::phase::Phase,
    ids::PhaseId,
    leaderboard::Board,
    web::{
        App, Error,
        error::Errors,
        extract::PhaseAt,
        metrics,
        plot::{self, Frame, Kind, Point, Scale, Scatter},
        sight::is_public,
        view::fixed,
    },
};

#[derive(Template)]
#[template(path = "share/preview.svg", escape = "html")]
struct Picture {
    title: String,
    phase: String,
    /// What it is ranked by, or that nothing is public.
    line: String,
    teams: usize,
    /// Rank, team, PSNR, cost.
    rows: Vec<[String; 4]>,
    cost: &'static str,
    plot: Option<Scatter>,
}

/// What other sites show links at.
const SIZE: [u32; 2] = [1200, 630];
const FRAME: Frame = Frame { width: 480.0, height: 330.0, left: 16.0, right: 470.0, top: 14.0, bottom: 300.0 };
/// Entries that are listed.
const ROWS: usize = 5;
/// Pictures that are kept.
const KEPT: usize = 64;

/// Ours first, so that a picture looks alike everywhere; the system's for scripts that ours lacks, where it has them.
static FONTS: LazyLock<Arc<usvg::fontdb::Database>> = LazyLock::new(|| {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(include_bytes!("../../../static/fonts/DejaVuSans.ttf").to_vec());
    fonts.load_font_data(include_bytes!("../../../static/fonts/DejaVuSans-Bold.ttf").to_vec());
    fonts.load_system_fonts();
    fonts.set_sans_serif_family("DejaVu Sans");
    Arc::new(fonts)
});

/// The last picture of each phase, with the version of its board, whether its figures were public, and as of when.
type Kept = HashMap<PhaseId, (i64, (bool, Option<DateTime<Utc>>), Bytes)>;
static PICTURES: LazyLock<std::sync::Mutex<Kept>> = LazyLock::new(Default::default);
/// One picture takes some tens of milliseconds of a core: one is drawn at a time.
static DRAWING: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(1);

/// Show a board as a picture beside links
#[utoipa::path(get, path = "/challenges/{slug}/{phase}/preview.png", tag = "share",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    responses(
        (status = 200, description = "A PNG of 1200×630 pixels: the title, the gate and the first entries", content_type = "image/png", body = Vec<u8>),
        (status = 404, description = "There is no such challenge or phase", body = Errors)))]
pub async fn show(State(app): State<App>, PhaseAt { challenge, phase }: PhaseAt) -> Result<Response, Error> {
    let _turn = DRAWING.acquire().await.map_err(anyhow::Error::from)?;
    let now = (phase.board_version, (is_public(&phase), phase.as_of));
    let kept = PICTURES.lock().unwrap_or_else(PoisonError::into_inner).get(&phase.id).cloned();
    let png = match kept.filter(|(version, public, _)| (*version, *public) == now) {
        Some((.., png)) => png,
        None => {
            let svg = picture(&challenge, &phase, board(&app, &phase).await?.as_deref());
            let svg = svg.render().map_err(anyhow::Error::from)?;
            let drawn = tokio::task::spawn_blocking(move || draw(&svg)).await.map_err(anyhow::Error::from)??;
            let png = Bytes::from(drawn);
            let mut pictures = PICTURES.lock().unwrap_or_else(PoisonError::into_inner);
            if pictures.len() >= KEPT {
                pictures.clear();
            }
            pictures.insert(phase.id, (now.0, now.1, png.clone()));
            png
        }
    };
    Ok(public("image/png", png))
}

fn picture(challenge: &Challenge, phase: &Phase, board: Option<&Board>) -> Picture {
    let against = board.is_some_and(|board| board.by_ratio);
    let row = |r: &crate::leaderboard::RankedRow| {
        let cost = match r.figures.runtime_ratio.filter(|_| against) {
            Some(ratio) => format!("{}×", fixed(ratio, 2)),
            None => fixed(r.figures.runtime_ms, 1),
        };
        [format!("{}", r.rank), short(&r.team, 20), format!("{:.2}", r.figures.psnr), cost]
    };
    Picture {
        title: short(&challenge.title, 44),
        phase: short(&phase.title, 40),
        line: match board {
            Some(board) => format!("Ranked by {}", metrics::ranked_by(board.rule(), against)),
            None => "The figures are not published yet".into(),
        },
        teams: board.map_or(0, |board| board.ranked.len() + board.unranked.len()),
        rows: board.map(|board| board.ranked.iter().take(ROWS).map(row).collect()).unwrap_or_default(),
        cost: if against { "× baseline" } else { "ms" },
        plot: board.and_then(|board| plot(board, against)),
    }
}

fn plot(board: &Board, against: bool) -> Option<Scatter> {
    let point = |figures: &crate::leaderboard::Figures, kind| Point {
        x: figures.runtime_ratio.filter(|_| against).unwrap_or(figures.runtime_ms),
        y: figures.psnr,
        size: None,
        label: String::new(),
        href: None,
        id: String::new(),
        kind,
    };
    let ranked = board.ranked.iter().map(|r| point(&r.figures, Kind::Ranked));
    let baseline = board.baseline.iter().filter_map(|b| Some(point(b.figures.as_ref()?, Kind::Baseline)));
    let points = plot::few(&ranked.chain(baseline).collect::<Vec<_>>());
    plot::scatter(&points, FRAME, Scale::Log, |_| String::new())
}

/// As a PNG.
fn draw(svg: &str) -> anyhow::Result<Vec<u8>> {
    let options =
        usvg::Options { font_family: "DejaVu Sans".into(), fontdb: FONTS.clone(), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).context("the picture's SVG")?;
    let mut pixels = tiny_skia::Pixmap::new(SIZE[0], SIZE[1]).context("an empty picture")?;
    resvg::render(&tree, tiny_skia::Transform::identity(), &mut pixels.as_mut());
    pixels.encode_png().context("the picture as PNG")
}
