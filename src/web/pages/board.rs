//! `/challenges/{slug}/{phase}`: the leaderboard.

mod chart;

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use chrono::Utc;

use super::{
    super::{
        App, Error,
        error::render,
        extract::{ClientAddress, PhaseAt, Viewer},
        kept,
        lang::{say, t},
        metrics::{self, Cell, Definition},
        plot::Scatter,
        sight::{hidden_words, seen_by, sees_board_at},
        view::{Page, When},
    },
    phase::{PhaseView, gate_words, pending_words},
};
use crate::{
    challenge::{
        Challenge,
        phase::{self, Phase, PhaseState},
        protocol::Rule,
    },
    evaluation::Verdict,
    ids::SubmissionId,
    leaderboard::{Board, Column, Figures, Key, Place, RankedRow, Selection},
};
use chart::{Chart, Datum, Drawn};

#[derive(Template)]
#[template(path = "board.html")]
struct BoardPage {
    page: Page,
    /// Of this server, as others reach it; empty: it was not told.
    url: String,
    challenge: Challenge,
    phase: PhaseView,
    tabs: Vec<Tab>,
    /// The main track and the sub-tracks; empty where there is only the one.
    tracks: Vec<Tab>,
    protocol: String,
    ranked_by: String,
    gate: String,
    /// Why nobody is ranked, where the gate is not known yet.
    pending: Option<String>,
    device: String,
    caption: String,
    /// Of which moment this is, where it is not now.
    at: Option<When>,
    /// Why there is nothing to see.
    closed_book: Option<String>,
    /// Since when the board stands still for this viewer.
    stands: Option<When>,
    /// From when on it will.
    will_stand: Option<When>,
    definitions: Vec<Definition>,
    heads: Vec<Head>,
    /// The filters, as the form shows them.
    filters: Filters,
    asked: Asked,
    /// How many entries are shown, of how many.
    count: String,
    /// Entries of the board, shown or not.
    whole: usize,
    /// Whether a filter left nothing.
    found_none: bool,
    /// Some ranks are open.
    open: bool,
    /// Who shares a rank.
    ties: &'static str,
    columns: usize,
    ranked: Vec<Row>,
    unranked: Vec<Row>,
    /// Entries beyond those that are shown; 0: all are.
    more: usize,
    /// Other plots, in groups with names.
    charts: Vec<(&'static str, Vec<Tab>)>,
    chart: Chart,
    cost_name: &'static str,
    cost_axis: &'static str,
    /// For a wide and for a narrow window.
    plots: Vec<(&'static str, Scatter)>,
    data: Vec<Datum>,
    /// Points that the plot leaves out.
    left_out: usize,
    size_axis: Option<&'static str>,
}

/// A link to another view of this page, or to another page.
struct Tab {
    href: String,
    title: String,
    here: bool,
}

struct Row {
    rank: Option<u32>,
    /// The best and the worst rank that its interval leaves open, where these are several.
    open: Option<[u32; 2]>,
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

/// A column's header: a link that sorts by it.
struct Head {
    /// Finds it again after the table was replaced.
    key: &'static str,
    /// What is said of it beyond its name.
    text: String,
    name: &'static str,
    unit: &'static str,
    class: &'static str,
    href: String,
    /// For `aria-sort`.
    sorted: Option<&'static str>,
}

/// The form's fields beside those of [`Selection`].
struct Filters {
    devices: Vec<String>,
    asks_extra_data: bool,
    /// Whether any is verified: if not, there is nothing to choose.
    has_verified: bool,
    /// Id, name, whether it is shown.
    columns: Vec<(&'static str, &'static str, bool)>,
}

/// Entries of each kind that a board shows at first: more is more than anybody reads, and slow on a phone.
const FIRST_ROWS: usize = 200;

/// What an address asks for; what it asks that cannot be is as if it were not asked, as an old link still shows the board.
#[derive(Debug, Clone, Default)]
struct Asked {
    selection: Selection,
    chart: Chart,
    /// `rows=all`: every entry of a long board.
    all: bool,
}

impl Asked {
    fn read(pairs: &[(String, String)]) -> Asked {
        let mut asked = Asked::default();
        for (name, value) in pairs {
            match name.as_str() {
                "cost" | "y" | "scale" | "size" => asked.chart.set(name, value),
                "rows" => asked.all = value == "all",
                _ => drop(asked.selection.set(name, value)),
            }
        }
        asked
    }

    /// `?sort=psnr`, or `?` alone, which is this page without any.
    fn address(&self) -> String {
        let selection = self.selection.query();
        let chart = self.chart.pairs().into_iter().map(|(name, value)| format!("{name}={value}"));
        let rows = self.all.then(|| "rows=all".to_owned());
        let parts = Some(selection).filter(|q| !q.is_empty()).into_iter().chain(chart).chain(rows);
        format!("?{}", parts.collect::<Vec<_>>().join("&"))
    }

    fn with(&self, change: impl FnOnce(&mut Asked)) -> String {
        let mut other = self.clone();
        change(&mut other);
        other.address()
    }

    /// What the exports take of it, to be put behind `format=…`.
    fn export(&self) -> String {
        match self.selection.query() {
            query if query.is_empty() => query,
            query => format!("&{query}"),
        }
    }

    fn everything(&self) -> String {
        self.with(|asked| asked.all = true)
    }

    /// The same order, columns and track without filters.
    fn unfiltered(&self) -> String {
        self.with(|asked| {
            let Selection { track, key, falling, columns, at, .. } = std::mem::take(&mut asked.selection);
            asked.selection = Selection { track, key, falling, columns, at, ..Selection::default() };
        })
    }

    fn now(&self) -> String {
        self.with(|asked| asked.selection.at = None)
    }

    /// For the form's field of a time, which is to the minute and without a zone.
    fn at(&self) -> String {
        self.selection.at.map(|at| at.format("%Y-%m-%dT%H:%M").to_string()).unwrap_or_default()
    }

    /// What is no field of the form that filters.
    fn hidden(&self) -> Vec<(&'static str, String)> {
        let own = |(name, _): &(&str, String)| ["track", "sort", "dir"].contains(name);
        let chart = self.chart.pairs().into_iter().map(|(name, value)| (name, value.to_owned()));
        let rows = self.all.then(|| ("rows", "all".to_owned()));
        self.selection.pairs().into_iter().filter(own).chain(chart).chain(rows).collect()
    }

    /// For an option of a select.
    fn is(&self, field: &str, value: &str) -> bool {
        self.selection.pairs().iter().any(|(name, chosen)| *name == field && chosen == value)
    }

    fn sort(&self, key: Key) -> (String, Option<&'static str>) {
        let selection = &self.selection;
        let here = selection.key == key;
        let falls = selection.is_falling();
        let href = self.with(|asked| {
            asked.selection.key = key;
            asked.selection.falling = here.then_some(!falls);
        });
        (href, here.then_some(if falls { "descending" } else { "ascending" }))
    }
}

pub async fn show(
    State(app): State<App>,
    viewer: Viewer,
    from: ClientAddress,
    asker: kept::Asker,
    PhaseAt { challenge, phase }: PhaseAt,
    pairs: Result<Query<Vec<(String, String)>>, QueryRejection>,
) -> Result<Response, Error> {
    let asked = Asked::read(&pairs.map(|Query(pairs)| pairs).unwrap_or_default());
    let phase = seen_by(&viewer, phase);
    app.pages.serve(asker, &phase, page(&app, (viewer, from), challenge, &phase, asked)).await
}

async fn page(
    app: &App,
    (viewer, from): (Viewer, ClientAddress),
    challenge: Challenge,
    phase: &Phase,
    mut asked: Asked,
) -> Result<Response, Error> {
    let board = app.boards.of(&app.pool, phase).await?;
    let devices = app.boards.devices(&app.pool, phase).await?;
    asked.selection.at.take_if(|at| *at >= phase.as_of.unwrap_or_else(Utc::now));
    let shown = sees_board_at(&viewer, phase, asked.selection.at);
    // An entry that stands no more has no page for everybody.
    let mut linked = None;
    let mut judged = None;
    let (board, devices) = match asked.selection.at.filter(|_| shown) {
        Some(at) => {
            let _pass = app.doors.past_board(from)?;
            judged = Some(phase::as_of(&mut *app.db().await?, phase, at).await?);
            linked = (!viewer.organizes(phase.challenge)).then(|| submissions(&board));
            let past = app.boards.at(&app.pool, phase, at).await?;
            let devices: BTreeSet<_> = past.traits().filter_map(|t| t.device.clone()).collect();
            (past, devices.into_iter().collect())
        }
        None => (board, devices),
    };
    let mut conn = app.db().await?;
    let view = PhaseView::load(app, &mut conn, phase, board.gate).await?;
    let tabs = phase::of_challenge(&mut conn, challenge.id).await?;
    drop(conn);

    let judged = judged.as_ref().unwrap_or(phase);
    let against = board.by_ratio;
    asked.selection.track.take_if(|slug| !board.ranking.sub_tracks.iter().any(|t| t.slug == *slug));
    let board = match &asked.selection.track {
        Some(slug) => Arc::new(Board::clone(&board).on_track(slug).ok_or(Error::PageNotFound)?),
        None => board,
    };
    let score = metrics::score_column(board.rule(), against);
    let definitions: Vec<_> = score.into_iter().chain(metrics::definitions(&judged.protocol.rules)).collect();
    let column = |d: &Definition| Column::named(d.id);
    if definitions.iter().filter_map(column).all(|column| asked.selection.shows(column)) {
        asked.selection.columns = None;
    }
    let filters = filters(&board, &definitions, &asked.selection);
    let whole = board.ranked.len() + board.unranked.len();
    let board = match asked.selection == Selection::default() {
        true => board,
        false => Arc::new(Arc::unwrap_or_clone(board).select(&asked.selection)),
    };
    let device = match &*devices {
        [] => view.device.to_owned(),
        [one] => one.clone(),
        several => say("%{n} devices: compare × baseline only").with("n", several.len()).into(),
    };
    let most = if asked.all { usize::MAX } else { FIRST_ROWS };
    let beyond = |entries: usize| entries.saturating_sub(most);
    let more = if shown { beyond(board.ranked.len()) + beyond(board.unranked.len()) } else { 0 };
    let found = board.ranked.len() + board.unranked.len();
    let heads = heads(&asked, &definitions, board.rule().is_race());
    let table = Table { board: &board, selection: &asked.selection, against, most, linked };
    let chart = asked.chart;
    let drawn = if shown { table.chart(chart) } else { Drawn::default() };
    Ok(render(&BoardPage {
        page: Page::of(format!("{} · {}", challenge.title, phase.title), &viewer),
        // Not what a `Host` says: the page is kept for all.
        url: app.settings.public_url.clone().unwrap_or_default(),
        tabs: tabs
            .into_iter()
            .map(|p| Tab {
                here: p.id == phase.id,
                href: format!("/challenges/{}/{}", challenge.slug, p.slug),
                title: p.title,
            })
            .collect(),
        tracks: tracks(&board, &asked),
        protocol: board.protocol.clone(),
        ranked_by: metrics::ranked_by(board.rule(), against),
        gate: gate_words(board.gate, &judged.baseline.name),
        pending: board.gate.filter(|gate| gate.psnr.is_none()).map(|_| pending_words(&judged.baseline.name)),
        caption: say(
            "Protocol %{protocol}, measured on %{device}. Counts are of a 1×3×256×256 input; a header's tooltip says what it is.",
        )
        .with("protocol", &board.protocol)
        .with("device", &device)
        .into(),
        device,
        closed_book: (!shown).then(|| match asked.selection.at {
            Some(_) if sees_board_at(&viewer, phase, None) => {
                t("The figures of this phase were not public at that time.").to_owned()
            }
            _ => say("Entries are accepted, checked and measured; %{why}").with("why", hidden_words(phase)).into(),
        }),
        at: asked.selection.at.and(board.at).map(When::new),
        stands: phase.as_of.filter(|_| asked.selection.at.is_none()).map(When::new),
        will_stand: phase
            .frozen_at
            .filter(|_| phase.state == PhaseState::Open && phase.shows_all)
            .filter(|_| phase.published_at.is_none())
            .map(When::new),
        columns: heads.len() + 1,
        heads,
        definitions,
        filters,
        count: match (found, whole) {
            (1, 1) => t("1 entry").into(),
            (found, whole) if found == whole => say("%{n} entries").with("n", whole).into(),
            (found, whole) => say("%{n} of %{all} entries").with("n", found).with("all", whole).into(),
        },
        whole,
        found_none: found == 0 && whole > 0,
        open: board.ranked.iter().any(|r| r.rank_ci95.is_some_and(|[best, worst]| best < worst)),
        ties: metrics::ties(board.ranking.ties),
        ranked: if shown { table.ranked() } else { Vec::new() },
        unranked: if shown { table.unranked() } else { Vec::new() },
        more,
        charts: charts(&asked),
        cost_name: chart.cost.name(against),
        cost_axis: chart.cost.axis(against),
        size_axis: chart.size.map(|size| size.axis(against)),
        chart,
        plots: drawn.plots,
        data: drawn.data,
        left_out: drawn.left_out,
        phase: view,
        challenge,
        asked,
    }))
}

/// The rank, the team and the figures that are shown.
fn heads(asked: &Asked, definitions: &[Definition], race: bool) -> Vec<Head> {
    let head = |key: Key, name, unit, class, text: String| {
        let (href, sorted) = asked.sort(key);
        Head { key: key.id(), text, name, unit, class, href, sorted }
    };
    let figures = definitions.iter().filter_map(|d| {
        let column = Column::named(d.id).filter(|column| asked.selection.shows(*column))?;
        Some(head(Key::Column(column), d.name, d.unit, "num", d.text.clone()))
    });
    let rank = match race {
        true => t("Rank; below it, in small, the ranks that the 95 % interval of its runtime leaves open"),
        false => t("Rank"),
    };
    let rank = head(Key::Rank, "#", "", "rank", rank.into());
    let team = head(Key::Team, t("Team"), "", "team", t("Team, by name").into());
    [rank, team].into_iter().chain(figures).collect()
}

fn charts(asked: &Asked) -> Vec<(&'static str, Vec<Tab>)> {
    let tab = |(name, value, title, here): chart::Choice| Tab {
        href: asked.with(|asked| asked.chart.set(name, value)) + "#plot",
        title: title.to_owned(),
        here,
    };
    asked.chart.choices().into_iter().map(|(group, choices)| (group, choices.into_iter().map(tab).collect())).collect()
}

/// All that stand on a board.
fn submissions(board: &Board) -> BTreeSet<SubmissionId> {
    let baseline = board.baseline.iter().filter_map(|b| b.submission);
    let ranked = board.ranked.iter().map(|r| r.submission);
    ranked.chain(board.unranked.iter().map(|r| r.submission)).chain(baseline).collect()
}

fn filters(board: &Board, definitions: &[Definition], selection: &Selection) -> Filters {
    let devices: BTreeSet<_> =
        board.traits().filter_map(|t| t.device.clone()).chain(selection.device.clone()).collect();
    let column = |d: &Definition| Some((d.id, d.name, selection.shows(Column::named(d.id)?)));
    Filters {
        devices: if devices.len() > 1 { devices.into_iter().collect() } else { Vec::new() },
        asks_extra_data: board.asks_extra_data,
        has_verified: selection.verified.is_some() || board.traits().any(|t| t.verified),
        columns: definitions.iter().filter_map(column).collect(),
    }
}

/// What the rows are made of.
struct Table<'a> {
    board: &'a Board,
    selection: &'a Selection,
    against: bool,
    /// Rows of each kind at most.
    most: usize,
    /// Entries that have a page for this visitor; `None`: all.
    linked: Option<BTreeSet<SubmissionId>>,
}

impl Table<'_> {
    /// With the baseline where it stands in this order.
    fn ranked(&self) -> Vec<Row> {
        let board = self.board;
        let row = |r: &RankedRow| Row {
            rank: Some(r.rank),
            open: r.rank_ci95.filter(|[best, worst]| best < worst),
            team: r.team.clone(),
            href: self.href(r.submission),
            cells: self.cells(board.score_of(r), metrics::cells(&r.figures, Some(&r.ranks), self.against)),
            checks: checks(&r.figures, r.traits.verified),
            reason: None,
            baseline: false,
        };
        let mut rows: Vec<Row> = board.ranked.iter().take(self.most).map(row).collect();
        if let Some(baseline) = self.baseline() {
            rows.insert(board.baseline_at(self.selection).min(rows.len()), baseline);
        }
        rows
    }

    fn unranked(&self) -> Vec<Row> {
        let rows = self.board.unranked.iter().take(self.most).map(|r| Row {
            rank: None,
            open: None,
            team: r.team.clone(),
            href: self.href(r.submission),
            cells: self.cells(None, metrics::cells(&r.figures, None, self.against)),
            checks: verified(r.traits.verified).into_iter().chain(noisy(&r.figures)).collect(),
            reason: Some(r.reason.message.clone()),
            baseline: false,
        });
        rows.collect()
    }

    fn baseline(&self) -> Option<Row> {
        let base = self.board.baseline.as_ref()?;
        let cells = match &base.figures {
            Some(figures) => metrics::cells(figures, None, self.against),
            // A stated figure is all there is.
            None => {
                let none = |id| Cell { id, text: "–".into(), ..Cell::default() };
                let psnr = base.psnr.map(|p| Cell { text: format!("{p:.2}"), exact: p.to_string(), ..none("psnr") });
                let rest = Column::ALL.into_iter().map(Column::id).filter(|id| !["score", "psnr"].contains(id));
                std::iter::once(psnr.unwrap_or_else(|| none("psnr"))).chain(rest.map(none)).collect()
            }
        };
        let score = base.score.map(|score| Place { rank: None, value: Some(score), ln: Some(score.ln()) });
        Some(Row {
            rank: None,
            open: None,
            team: base.team.clone(),
            href: base.submission.and_then(|id| self.href(id)),
            cells: self.cells(score, cells),
            checks: base.figures.iter().flat_map(|figures| checks(figures, false)).collect(),
            reason: None,
            baseline: true,
        })
    }

    fn href(&self, id: SubmissionId) -> Option<String> {
        self.linked.as_ref().is_none_or(|linked| linked.contains(&id)).then(|| format!("/submissions/{id}"))
    }

    /// Those that are shown, with the score first, where the track has one.
    fn cells(&self, place: Option<Place>, figures: Vec<Cell>) -> Vec<Cell> {
        let score = (!matches!(self.board.rule(), Rule::Metric(_))).then(|| metrics::score_cell(place));
        let shows = |cell: &Cell| Column::named(cell.id).is_none_or(|column| self.selection.shows(column));
        score.into_iter().chain(figures).filter(shows).collect()
    }
}

/// The main track and the sub-tracks.
fn tracks(board: &Board, asked: &Asked) -> Vec<Tab> {
    let subs = &board.ranking.sub_tracks;
    let tab = |track: Option<&str>, title: &str| Tab {
        href: asked.with(|asked| asked.selection.track = track.map(str::to_owned)),
        title: title.to_owned(),
        here: board.track.as_deref() == track,
    };
    let main = (!subs.is_empty()).then(|| tab(None, t("Main track")));
    main.into_iter().chain(subs.iter().map(|t| tab(Some(&t.slug), &t.title))).collect()
}

fn checks(figures: &Figures, verified: bool) -> Vec<Check> {
    std::iter::once(check(figures.reproduction)).chain(self::verified(verified)).chain(noisy(figures)).collect()
}

fn verified(verified: bool) -> Option<Check> {
    verified.then_some(Check { class: "good", text: t("verified") })
}

fn noisy(figures: &Figures) -> Option<Check> {
    figures.noisy.then_some(Check { class: "noisy", text: t("noisy") })
}

fn check(verdict: Verdict) -> Check {
    match verdict {
        Verdict::Reproduced => Check { class: "good", text: t("reproduced") },
        Verdict::WithinRounding => Check { class: "near", text: t("within rounding") },
        Verdict::Differs => Check { class: "bad", text: t("not reproduced") },
    }
}
