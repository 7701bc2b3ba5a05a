//! `/organizer`: the challenges that somebody runs, what waits for them, and links for those who forgot their password.

use askama::Template;
use axum::{extract::State, http::HeaderMap, response::Response};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        api::account::hand_link,
        body::Fields,
        error::render,
        extract::{Administrator, Organizer, Signed, Viewer},
        pages::again,
        view::{Page, When},
    },
    overview::PhaseLine,
};
use crate::{
    challenge::{
        Challenge,
        overview::{self, Waiting},
    },
    problem::Problem,
    team,
};

#[derive(Template)]
#[template(path = "organizer.html")]
struct Home {
    page: Page,
    problems: Vec<Problem>,
    /// Account name and link, shown once.
    link: Option<(String, String)>,
    /// Whether the viewer runs the whole server.
    all: bool,
    challenges: Vec<Card>,
}

/// A challenge in the list.
struct Card {
    slug: String,
    title: String,
    teams: i64,
    phases: Vec<PhaseLine>,
    waiting: Waiting,
    /// When the one who waits longest asked.
    since: Option<When>,
}

pub async fn show(State(app): State<App>, Organizer(signed): Organizer) -> Result<Response, Error> {
    Ok(render(&page(&app, signed).await?))
}

async fn page(app: &App, signed: Signed) -> Result<Home, Error> {
    let account = &signed.account;
    let own = (!account.is_organizer).then_some(account.organizes.as_slice());
    let mut conn = app.db().await?;
    let mut challenges = Vec::new();
    for challenge in overview::challenges(&mut conn, own).await? {
        challenges.push(card(&mut conn, challenge).await?);
    }
    Ok(Home {
        all: account.is_organizer,
        page: Page::of("Organizer", &Viewer(Some(signed))),
        problems: Vec::new(),
        link: None,
        challenges,
    })
}

async fn card(conn: &mut PgConnection, challenge: Challenge) -> Result<Card, Error> {
    let waiting = overview::waiting(conn, challenge.id).await?;
    let longest = team::participant::waiting(conn, Some(&[challenge.id])).await?.into_iter().next();
    Ok(Card {
        teams: team::count(conn, challenge.id).await?,
        phases: PhaseLine::of_challenge(conn, challenge.id).await?,
        waiting,
        since: longest.map(|one| When::new(one.asked_at)),
        slug: challenge.slug,
        title: challenge.title,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoForgot {
    name: String,
    reason: String,
}

/// A link to hand over to whoever forgot the password.
pub async fn reset_link(
    State(app): State<App>,
    Administrator(signed): Administrator,
    headers: HeaderMap,
    Fields(WhoForgot { name, reason }): Fields<WhoForgot>,
) -> Result<Response, Error> {
    match hand_link(&app, &signed, &headers, &name, &reason).await {
        Ok(link) => Ok(render(&Home { link: Some(link), ..page(&app, signed).await? })),
        Err(error) => {
            let page = page(&app, signed).await?;
            Ok(again(error, |problems| Home { problems, ..page }))
        }
    }
}
