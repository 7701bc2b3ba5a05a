//! `/organizer/{slug}`: a challenge at a glance, and the ways on.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        api::publishing,
        body::Fields,
        error::render,
        extract::{OrganizerAt, Signed, Viewer},
        pages::{again, gate_words, until},
        sight::seen_by_words,
        view::{Page, When},
    },
    Frame, Tab,
};
use crate::{
    challenge::{
        Challenge,
        baseline::{self, Standing},
        overview::{self, Entries},
        phase::{self, Phase, PhaseState},
    },
    ids::{ChallengeId, SubmissionId},
    leaderboard,
    problem::Problem,
    submission::carry::Carried,
    team,
};

#[derive(Template)]
#[template(path = "organizer_overview.html")]
struct Overview {
    page: Page,
    frame: Frame,
    problems: Vec<Problem>,
    /// What was carried just now, and to which phase.
    carried: Option<(Carried, String)>,
    phases: Vec<PhaseLine>,
    teams: i64,
}

/// A phase in a few words.
pub struct PhaseLine {
    pub slug: String,
    pub title: String,
    pub state: PhaseState,
    pub until: Option<When>,
    pub until_word: &'static str,
    pub protocol: String,
    /// Who sees figures now.
    pub seen_by: String,
    pub entries: Entries,
    /// Whether everybody sees the figures by an organizer's word; `None`: they see them anyway.
    pub published: Option<bool>,
    /// What entries are compared with, in a few words.
    pub gate: String,
    /// Why nobody is ranked, and what is wrong with the baseline: it, its entry, its problems.
    pub pending: Option<(String, Option<SubmissionId>, Vec<Problem>)>,
    /// What publishing does, and what hiding again does.
    pub consequence: String,
}

impl PhaseLine {
    pub async fn of_challenge(conn: &mut PgConnection, challenge: ChallengeId) -> Result<Vec<PhaseLine>, Error> {
        let counts = overview::entries(conn, challenge).await?;
        let mut lines = Vec::new();
        for phase in phase::of_challenge(conn, challenge).await? {
            let whole = phase.clone().whole();
            let gate = gate_words(leaderboard::gate_view(conn, &whole).await?, &phase.baseline.name);
            let standing = baseline::standing(conn, &whole).await?;
            let pending = standing.words(&phase.baseline.name).map(|words| match standing {
                Standing::Unmeasured(entry, problems) => (words, Some(entry), problems),
                Standing::Waiting(entry) => (words, Some(entry), Vec::new()),
                Standing::Known | Standing::Missing => (words, None, Vec::new()),
            });
            let none = Entries { phase: phase.id, all: 0, scored: 0, live: 0, failed: 0, teams: 0 };
            let entries = counts.iter().find(|count| count.phase == phase.id).copied().unwrap_or(none);
            let (until, until_word) = until(&phase);
            let is_published = phase.published_at.is_some();
            lines.push(PhaseLine {
                published: (is_published || !phase.shows_all).then_some(is_published),
                seen_by: seen_by_words(&phase),
                consequence: consequence(&phase, &entries),
                gate,
                pending,
                slug: phase.slug,
                title: phase.title,
                state: phase.state,
                until,
                until_word,
                protocol: phase.protocol.name,
                entries,
            });
        }
        Ok(lines)
    }
}

/// What a press of the button does, by name: the figures are out for good, and an open phase goes on with them.
fn consequence(phase: &Phase, entries: &Entries) -> String {
    let title = &phase.title;
    if phase.published_at.is_some() {
        let hidden = Phase { published_at: None, ..phase.clone() };
        return format!(
            "The figures of {title} are seen by {} from then on. Whoever saw them has seen them.",
            seen_by_words(&hidden)
        );
    }
    let many = |n: i64, one: &str, more: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {more}") };
    let what = format!(
        "Everybody sees the board of {title} at once, with the figures of {} of {}.",
        many(entries.scored, "measured entry", "measured entries"),
        many(entries.teams, "team", "teams")
    );
    let until = |at: Option<DateTime<Utc>>| {
        at.map_or_else(|| "without an end".into(), |at| format!("until {}", When::new(at).utc))
    };
    match phase.state {
        PhaseState::Open => format!(
            "{what} {title} is still open, {}: teams see what the others reach, and can go on sending in.",
            until(phase.closes_at)
        ),
        PhaseState::Upcoming => {
            format!("{what} {title} has not opened yet: its board is public from its first entry on.")
        }
        PhaseState::Closed => what,
    }
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    Ok(render(&page(&app, &challenge, signed).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Publish {
    act: Word,
    reason: String,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Word {
    Publish,
    Unpublish,
}

/// Publishes the figures of a phase, or hides them again.
pub async fn publish(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path(path): Path<(String, String)>,
    Fields(Publish { act, reason }): Fields<Publish>,
) -> Result<Response, Error> {
    let published = act == Word::Publish;
    match publishing::set(&app, &challenge, &path.1, &signed.account, published, &reason).await {
        Ok(_) => Ok(Redirect::to(&format!("/organizer/{}", challenge.slug)).into_response()),
        Err(error) => {
            let page = page(&app, &challenge, signed).await?;
            Ok(again(error, |problems| Overview { problems, ..page }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Carry {
    /// Slugs of phases.
    from: String,
    to: String,
    reason: String,
}

/// Carries each team's standing entry to another phase, and says what was carried.
pub async fn carry(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Fields(Carry { from, to, reason }): Fields<Carry>,
) -> Result<Response, Error> {
    let found = phase::by_slug(&mut *app.db().await?, &challenge.slug, &to).await?.ok_or(Error::PhaseNotFound)?;
    let done = publishing::carry_over(&app, &from, &found, &signed, &reason).await;
    let page = page(&app, &challenge, signed).await?;
    match done {
        Ok(carried) => Ok(render(&Overview { carried: Some((carried, found.title)), ..page })),
        Err(error) => Ok(again(error, |problems| Overview { problems, ..page })),
    }
}

async fn page(app: &App, challenge: &Challenge, signed: Signed) -> Result<Overview, Error> {
    let mut conn = app.db().await?;
    Ok(Overview {
        page: Page::of(format!("{}: overview", challenge.title), &Viewer(Some(signed))),
        frame: Frame::load(&mut conn, challenge, Tab::Overview).await?,
        problems: Vec::new(),
        carried: None,
        phases: PhaseLine::of_challenge(&mut conn, challenge.id).await?,
        teams: team::count(&mut conn, challenge.id).await?,
    })
}
