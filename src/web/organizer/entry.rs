//! `/organizer/{slug}/review/{submission}`: all that there is of one entry, on one page, and what can be done about it.

use askama::Template;
use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        api::review::{backfill, close, set_mark},
        body::Fields,
        details::{Details, Standing},
        error::render,
        extract::{ReviewAt, Viewer},
        pages::{again, submission as public},
        plot::{self, Passes},
        view::{Page, When, fixed},
    },
    Frame, Tab, pictures,
};
use crate::{
    challenge::{Challenge, dataset, phase::Phase},
    evaluation::{Agreement, Measurement, SecretSize, SizeGate, SizeMeans},
    ids::ObjectionId,
    leaderboard,
    problem::Problem,
    review::{
        duplicates::{self, Duplicate},
        gap,
        mark::{self, Marks, Why, Word},
        objection, queue,
    },
    submission::{OrganizerStatus, Submission, fact_sheet},
};

#[derive(Template)]
#[template(path = "review_entry.html")]
struct Entry {
    page: Page,
    frame: Frame,
    at: Submission,
    phase_title: String,
    problems: Vec<Problem>,
    submitted: When,
    state: &'static str,
    standing: String,
    marks: Marks,
    results: Option<public::Results>,
    plausibility: Vec<(&'static str, String)>,
    /// The device cannot be so fast.
    implausible: bool,
    /// It takes another time, or gives other values, at other sizes.
    doubted: bool,
    passes: Option<Passes>,
    /// What decides by the input's size, and what for.
    size_gates: Vec<(String, String, bool)>,
    facts: Vec<(String, String)>,
    missing: Vec<String>,
    duplicates: Vec<Copy>,
    gap: Option<GapLine>,
    history: Vec<Act>,
    objections: Vec<Objected>,
    /// Names of the images, and the one that is looked at.
    images: Vec<String>,
    image: Option<String>,
    image_psnr: String,
    amplified: u8,
}

struct Copy {
    duplicate: Duplicate,
    how: String,
    when: When,
}

struct GapLine {
    against: String,
    text: String,
    teams: usize,
    median: String,
    mad: String,
    multiple: f64,
    flagged: bool,
}

struct Act {
    what: String,
    actor: String,
    reason: String,
    when: When,
}

struct Objected {
    id: ObjectionId,
    text: String,
    when: When,
    answer: Option<(String, When)>,
}

impl Entry {
    fn held(&self) -> bool {
        self.marks.status == OrganizerStatus::Held
    }

    fn clear(&self) -> bool {
        self.marks.status == OrganizerStatus::None
    }
}

#[derive(Debug, Default, Deserialize)]
pub struct Looked {
    /// Name of the image.
    #[serde(default)]
    image: String,
}

pub async fn show(
    State(app): State<App>,
    at: ReviewAt,
    looked: Result<Query<Looked>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(Looked { image }) = looked.map_err(|error| Error::BadQuery(error.body_text()))?;
    backfill(&app, at.at.phase.id);
    Ok(render(&page(&app, at, &image).await?))
}

async fn page(app: &App, review: ReviewAt, image: &str) -> Result<Entry, Error> {
    let ReviewAt { challenge, signed, at } = review;
    let id = at.submission.id;
    let details = Details::load(&app.boards, &app.pool, &at).await?;
    let mut conn = app.db().await?;
    let conn = &mut *conn;
    duplicates::compare_new(conn, at.phase.id).await?;
    let fields = fact_sheet::fields(conn, challenge.id).await?;
    let dataset = dataset::get(conn, at.phase.dataset).await?;
    let images: Vec<_> = dataset.images.into_iter().map(|image| image.name).collect();
    let worst = details.measurement.as_ref().and_then(|m| {
        m.fidelity.images.iter().min_by(|a, b| a.psnr.0.total_cmp(&b.psnr.0)).map(|image| image.name.clone())
    });
    let wanted = images.iter().find(|name| *name == image).cloned();
    let image = wanted.or(worst).or_else(|| images.first().cloned());
    let of_image = |m: &Measurement| {
        let found = m.fidelity.images.iter().find(|i| Some(&i.name) == image.as_ref())?;
        Some(format!("{:.2} dB, SSIM {:.4}", found.psnr.0, found.ssim))
    };
    let duplicates = duplicates::of_submission(conn, challenge.id, id).await?.into_iter().map(copy);
    let history = mark::history(conn, challenge.id, id).await?.into_iter().map(|e| Act {
        what: mark::done(&e.action).map_or_else(|| e.action.replace(['.', '_'], " "), str::to_owned),
        actor: e.actor,
        reason: e.reason,
        when: When::new(e.at),
    });
    let objections = objection::of_submission(conn, id).await?.into_iter().map(|o| Objected {
        id: o.id,
        text: o.text,
        when: When::new(o.created_at),
        answer: o.answer.zip(o.closed_at.map(When::new)),
    });
    let m = details.measurement.as_ref();
    Ok(Entry {
        frame: Frame::load(conn, &challenge, Tab::Review).await?,
        phase_title: at.phase.title.clone(),
        problems: Vec::new(),
        submitted: When::new(at.submission.created_at),
        state: at.submission.state.as_str(),
        standing: standing(&details.standing),
        marks: mark::marks(conn, id).await?,
        results: m.zip(details.figures.as_ref()).map(|(m, figures)| public::results(&at, &details, m, figures)),
        plausibility: m.map(plausibility).unwrap_or_default(),
        implausible: m.is_some_and(|m| implausible(m).is_some()),
        doubted: m.is_some_and(|m| !m.runtime.record.doubts.is_empty()),
        passes: m.and_then(|m| plot::passes(&m.runtime)),
        size_gates: m.map(|m| m.provenance.size_gates.iter().map(size_gate).collect()).unwrap_or_default(),
        facts: public::facts(&fields, &at.submission.fact_sheet),
        missing: queue::missing(&fields, &at.submission.fact_sheet).into_iter().map(|f| f.label.clone()).collect(),
        duplicates: duplicates.collect(),
        gap: gap_line(conn, &at.phase, &at.submission).await?,
        history: history.collect(),
        objections: objections.collect(),
        image_psnr: m.and_then(of_image).unwrap_or_default(),
        images,
        image,
        amplified: pictures::AMPLIFIED,
        page: Page::of(format!("{}: review of {}", challenge.title, at.submission.team_name), &Viewer(Some(signed))),
        at: at.submission,
    })
}

fn copy(duplicate: Duplicate) -> Copy {
    let how: Vec<_> = duplicate.how.iter().map(|how| how.words()).collect();
    let mut how = how.join(", ");
    if let Some(psnr) = duplicate.psnr.filter(|psnr| psnr.is_finite()) {
        how += &format!(" ({psnr:.1} dB apart)");
    }
    Copy { how, when: When::new(duplicate.submitted_at), duplicate }
}

fn standing(standing: &Standing) -> String {
    match standing {
        Standing::Ranked(rank, ..) => format!("Rank {rank} on the board"),
        Standing::Unranked(reason) => format!("Not ranked: {}", reason.message),
        Standing::Baseline => "The baseline of the phase".into(),
        Standing::Absent => "Not on the board: withdrawn, not scored, or another entry of the team stands".into(),
    }
}

fn implausible(m: &Measurement) -> Option<&String> {
    m.runtime.record.throughput.as_ref()?.implausible.as_ref()
}

/// What the time means beside what the device can do.
fn plausibility(m: &Measurement) -> Vec<(&'static str, String)> {
    let record = &m.runtime.record;
    let mut lines = Vec::new();
    if let Some(why) = implausible(m) {
        lines.push(("Implausible", why.clone()));
    }
    if let Some(t) = &record.throughput {
        let giga = |rate: f64| fixed(rate / 1e9, 1);
        let share = |rate: f64, ceiling: f64| if ceiling > 0.0 { 100.0 * rate / ceiling } else { 0.0 };
        lines.push((
            "Multiply-adds",
            format!(
                "{} G a second, {:.0} % of the {} G that dense convolutions reach",
                giga(t.macs_per_s),
                share(t.macs_per_s, t.ceiling_macs_per_s),
                giga(t.ceiling_macs_per_s)
            ),
        ));
        lines.push((
            "Memory traffic",
            format!(
                "{} GB/s, {:.0} % of the {} GB/s that are reached",
                giga(t.bytes_per_s),
                share(t.bytes_per_s, t.ceiling_bytes_per_s),
                giga(t.ceiling_bytes_per_s)
            ),
        ));
    }
    lines.extend(record.doubts.iter().map(|doubt| ("Doubt", format!("{} ({})", doubt.message, doubt.code))));
    lines.extend(record.secret.iter().map(|secret| ("Secret size", elsewhere(secret))));
    if let Some(found) = &record.agreement {
        lines.push(("Output elsewhere", agreement(found)));
    }
    lines.push(("Checked passes", format!("{} timed passes, drawn at random, gave the same images", record.checked)));
    let disturbed = record.blocks.iter().filter(|b| b.disturbed.is_some()).count();
    let noise = if record.noisy { "; too few were quiet, so all count" } else { "" };
    lines.push((
        "Blocks",
        format!("{} in {} processes, {disturbed} disturbed{noise}", record.blocks.len(), record.processes.max(1)),
    ));
    lines
}

/// A node, what it decides, and whether an honest network has no use for it.
fn size_gate(gate: &SizeGate) -> (String, String, bool) {
    let decides = gate.decides.join(", ");
    let what = match gate.means {
        SizeMeans::Fork => format!("can send the picture another way: decides {decides}"),
        SizeMeans::Ratio => format!("divides one size by another, as windows do: decides {decides}"),
        SizeMeans::Padding => format!("pads to a multiple: decides {decides}"),
    };
    (gate.called(), what, gate.means == SizeMeans::Fork)
}

/// What a pixel cost at a size that the file could not know.
fn elsewhere(secret: &SecretSize) -> String {
    let size = |(height, width): (u32, u32)| format!("{height}×{width}");
    let of = |place: usize| {
        let times: Vec<f64> = secret.pairs_ms.iter().map(|pair| pair[place]).collect();
        fixed(times.iter().sum::<f64>() / times.len().max(1) as f64, 3)
    };
    let mut text = format!(
        "{} ms at {} beside {} ms at {}: {:.3} times as long per pixel",
        of(1),
        size(secret.input),
        of(0),
        size(secret.beside),
        secret.growth
    );
    if let Some(again) = &secret.again {
        text += &format!(
            "; looked at again {:.3} times, at least {:.3}, where {:.3} would be no doubt (its multiply-adds explain {:.3}",
            again.growth, again.low, again.most, again.counted
        );
        if let Some(baseline) = again.baseline {
            text += &format!(", the baseline has {baseline:.3}");
        }
        text += ")";
    }
    text
}

/// How near the timed output is to the model's answers in larger pictures.
fn agreement(found: &Agreement) -> String {
    let sizes: Vec<String> = found.inputs.iter().map(|(height, width)| format!("{height}×{width}")).collect();
    let kind = if found.local {
        "the network is local, so that they must be equal".into()
    } else {
        format!("the network sees the whole picture or its size, and {:.3} would be no doubt", found.most)
    };
    format!(
        "{:.3} grey levels RMS, {:.3} at most, from the same pixels in pictures of {}; {kind}; bicubic enlargement has {:.3}",
        found.rms,
        found.max_abs,
        sizes.join(", "),
        found.bicubic_rms
    )
}

async fn gap_line(conn: &mut PgConnection, phase: &Phase, at: &Submission) -> Result<Option<GapLine>, Error> {
    let board = leaderboard::ranking(conn, phase).await?;
    let Some(field) = gap::of_phase(conn, phase, &board).await? else { return Ok(None) };
    let stands = board.ranked.iter().map(|r| r.submission).chain(board.unranked.iter().map(|r| r.submission));
    let here = stands.into_iter().any(|id| id == at.id);
    let gap = field.gaps.get(&at.team).filter(|_| here);
    Ok(gap.map(|gap| GapLine {
        text: queue::told_gap(&field, gap),
        flagged: gap.flagged,
        against: field.against.clone(),
        teams: field.teams,
        median: format!("{:+.2}", field.median),
        mad: format!("{:.3}", field.mad),
        multiple: gap::MULTIPLE,
    }))
}

/// Back to the page, or the page with what stood in the way.
async fn after<T>(app: &App, review: ReviewAt, done: Result<T, Error>) -> Result<Response, Error> {
    match done {
        Ok(_) => {
            let (Challenge { slug, .. }, id) = (&review.challenge, review.at.submission.id);
            Ok(Redirect::to(&format!("/organizer/{slug}/review/{id}")).into_response())
        }
        Err(error) => {
            let page = page(app, review, "").await?;
            Ok(again(error, |problems| Entry { problems, ..page }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Marking {
    word: Word,
    reason: String,
    #[serde(default)]
    public_reason: String,
    seen: String,
}

pub async fn mark(
    State(app): State<App>,
    at: ReviewAt,
    Fields(Marking { word, reason, public_reason, seen }): Fields<Marking>,
) -> Result<Response, Error> {
    let why = Why { team: &reason, public: &public_reason };
    let done = set_mark(&app, &at, word, why, Some(&seen)).await;
    after(&app, at, done).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    answer: String,
}

pub async fn answer(
    State(app): State<App>,
    at: ReviewAt,
    Path((_slug, _submission, objection)): Path<(String, String, String)>,
    Fields(Answer { answer }): Fields<Answer>,
) -> Result<Response, Error> {
    let done = close(&app, &at, &objection, &answer).await;
    after(&app, at, done).await
}
