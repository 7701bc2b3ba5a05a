//! `/organizer/{slug}/review`: a phase's entries with what speaks against each, and its batches of re-runs.

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};
use serde::Deserialize;

use super::{
    super::{
        App, Error,
        api::review::backfill,
        error::render,
        extract::{OrganizerAt, Viewer},
        pages,
        view::{Page, When, fixed},
    },
    Frame, Tab,
};
use crate::{
    challenge::phase::{self, Phase},
    ids::{RerunId, SubmissionId},
    queue::rerun::{self, Rerun},
    review::{
        gap::{self, Field},
        queue::{self, Entry, Filter, Flag},
    },
};

#[derive(Template)]
#[template(path = "review.html")]
struct Review {
    page: Page,
    frame: Frame,
    /// `None`: the challenge has no phase yet.
    shown: Option<Shown>,
}

struct Shown {
    phase: String,
    phase_title: String,
    /// Slug, title, whether it is the one that is shown.
    phases: Vec<(String, String, bool)>,
    /// Word in the address, name, whether it is the one that is shown.
    filters: Vec<(&'static str, &'static str, bool)>,
    rows: Vec<Row>,
    gap: Option<GapWords>,
    batches: Vec<Batch>,
}

struct Row {
    submission: SubmissionId,
    team: String,
    when: When,
    state: &'static str,
    rank: Option<u32>,
    unranked: Option<String>,
    verified: bool,
    psnr: String,
    runtime: String,
    params: String,
    flags: Vec<Flag>,
}

/// How gaps are judged, in words.
struct GapWords {
    against: String,
    teams: usize,
    median: String,
    mad: String,
    multiple: f64,
}

pub struct Batch {
    pub id: RerunId,
    pub when: When,
    pub asked_by: String,
    pub reason: String,
    pub entries: i64,
    pub word: String,
}

impl Batch {
    pub fn of(batch: Rerun) -> Batch {
        let word = match (batch.decision, batch.live) {
            (Some(decision), _) => decision.as_str().to_owned(),
            (None, 0) => format!("{} scored, waits for your word", batch.scored),
            (None, live) => format!("{live} of {} still to measure", batch.total),
        };
        Batch {
            id: batch.id,
            when: When::new(batch.created_at),
            asked_by: batch.asked_by,
            reason: batch.reason,
            entries: batch.total,
            word,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    /// Slug; the phase that is on, or the next, where it is not given or there is none such.
    #[serde(default)]
    phase: String,
    #[serde(default)]
    state: Filter,
}

pub async fn show(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    let Query(Asked { phase, state }) = asked.map_err(|error| Error::BadQuery(error.body_text()))?;
    let mut conn = app.db().await?;
    let phases = phase::of_challenge(&mut conn, challenge.id).await?;
    let phases: Vec<_> = phases.into_iter().map(Phase::whole).collect();
    let named = phases.iter().find(|p| p.slug == phase);
    let shown = match named.or_else(|| pages::current(&phases)) {
        None => None,
        Some(mut chosen) => {
            backfill(&app, chosen.id);
            let mut queue = queue::of_phase(&mut conn, chosen, state).await?;
            // Whoever follows “1 objection to answer” names no phase, and must find it.
            for other in phases.iter().filter(|_| named.is_none() && state != Filter::All) {
                if !queue.entries.is_empty() {
                    break;
                }
                (chosen, queue) = (other, queue::of_phase(&mut conn, other, state).await?);
            }
            let batches = rerun::of_phase(&mut conn, chosen.id, 20).await?;
            Some(Shown {
                phase: chosen.slug.clone(),
                phase_title: chosen.title.clone(),
                phases: phases.iter().map(|p| (p.slug.clone(), p.title.clone(), p.id == chosen.id)).collect(),
                filters: Filter::ALL.into_iter().map(|(filter, word, name)| (word, name, filter == state)).collect(),
                rows: queue.entries.into_iter().map(row).collect(),
                gap: queue.gap.map(words),
                batches: batches.into_iter().map(Batch::of).collect(),
            })
        }
    };
    let frame = Frame::load(&mut conn, &challenge, Tab::Review).await?;
    let page = Page::of(format!("{}: review", challenge.title), &Viewer(Some(signed)));
    Ok(render(&Review { page, frame, shown }))
}

fn row(entry: Entry) -> Row {
    Row {
        submission: entry.submission,
        team: entry.team,
        when: When::new(entry.submitted_at),
        state: entry.state.as_str(),
        rank: entry.rank,
        unranked: entry.unranked,
        verified: entry.verified,
        psnr: entry.psnr.map_or_else(String::new, |db| format!("{db:.2}")),
        runtime: match (entry.runtime_ratio, entry.runtime_ms) {
            (Some(ratio), _) => format!("× {}", fixed(ratio, 2)),
            (None, Some(ms)) => format!("{} ms", fixed(ms, 1)),
            (None, None) => String::new(),
        },
        params: entry.params.map_or_else(String::new, |n| fixed(n as f64 / 1e6, 3)),
        flags: entry.flags,
    }
}

fn words(field: Field) -> GapWords {
    GapWords {
        against: field.against,
        teams: field.teams,
        median: format!("{:+.2}", field.median),
        mad: format!("{:.3}", field.mad),
        multiple: gap::MULTIPLE,
    }
}
