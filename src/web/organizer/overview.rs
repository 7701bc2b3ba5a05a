//! `/organizer/{slug}`: a challenge at a glance, and the ways on.

use askama::Template;
use axum::{extract::State, response::Response};
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        error::render,
        extract::{OrganizerAt, Viewer},
        pages::until,
        view::{Page, When},
    },
    Frame, Tab,
};
use crate::{
    challenge::{
        overview::{self, Entries},
        phase::{self, PhaseState, Visibility},
    },
    ids::ChallengeId,
    team,
};

#[derive(Template)]
#[template(path = "organizer_overview.html")]
struct Overview {
    page: Page,
    frame: Frame,
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
    pub seen_by: &'static str,
    pub entries: Entries,
}

impl PhaseLine {
    pub async fn of_challenge(conn: &mut PgConnection, challenge: ChallengeId) -> Result<Vec<PhaseLine>, Error> {
        let counts = overview::entries(conn, challenge).await?;
        let lines = phase::of_challenge(conn, challenge).await?.into_iter().map(|phase| {
            let none = Entries { phase: phase.id, all: 0, scored: 0, live: 0, failed: 0, teams: 0 };
            let entries = counts.iter().find(|count| count.phase == phase.id).copied().unwrap_or(none);
            let (until, until_word) = until(&phase);
            let seen_by = match (phase.visibility, phase.published_at) {
                (Visibility::Live, _) => "everybody, live",
                (_, Some(_)) => "everybody, published",
                (Visibility::Own, None) => "each team its own",
                (Visibility::Hidden, None) => "organizers only",
            };
            PhaseLine {
                slug: phase.slug,
                title: phase.title,
                state: phase.state,
                until,
                until_word,
                protocol: phase.protocol.name,
                seen_by,
                entries,
            }
        });
        Ok(lines.collect())
    }
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    Ok(render(&Overview {
        page: Page::of(format!("{}: overview", challenge.title), &Viewer(Some(signed))),
        frame: Frame::load(&mut conn, &challenge, Tab::Overview).await?,
        phases: PhaseLine::of_challenge(&mut conn, challenge.id).await?,
        teams: team::count(&mut conn, challenge.id).await?,
    }))
}
