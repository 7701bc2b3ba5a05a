//! `/organizer`: the challenges that somebody runs, what waits for them, and links for those who forgot their password.

use askama::Template;
use axum::{
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use sqlx::{Acquire, PgConnection};

use super::{
    super::{
        App, Error,
        body::Fields,
        error::render,
        extract::{Administrator, Organizer, Signed, Viewer},
        view::{Page, When},
    },
    overview::PhaseLine,
};
use crate::{
    audit::{self, Act},
    challenge::{
        Challenge,
        overview::{self, Waiting},
    },
    problem::Problem,
    team::{
        self, account,
        reset::{self, Maker},
    },
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
}

/// A link to hand over to whoever forgot the password.
pub async fn reset_link(
    State(app): State<App>,
    Administrator(signed): Administrator,
    headers: HeaderMap,
    Fields(WhoForgot { name }): Fields<WhoForgot>,
) -> Result<Response, Error> {
    let mut conn = app.db().await?;
    let mut tx = conn.begin().await?;
    let Some(account) = account::by_name(&mut tx, name.trim()).await? else {
        let problems = vec![Problem::new("account_not_found", "There is no such account.").at(name)];
        drop(tx);
        drop(conn);
        let page = page(&app, signed).await?;
        return Ok((StatusCode::NOT_FOUND, render(&Home { problems, ..page })).into_response());
    };
    let secret = reset::create(&mut tx, account.id, Maker::Organizer(signed.account.id)).await?;
    audit::note(&mut tx, &signed.actor(), Act::of_server("account.reset_link", &account.name)).await?;
    tx.commit().await?;
    let link = format!("{}/reset?key={}", app.url(&headers), secret.expose());
    drop(conn);
    Ok(render(&Home { link: Some((account.name, link)), ..page(&app, signed).await? }))
}
