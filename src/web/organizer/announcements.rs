//! `/organizer/{slug}/announcements`: what those who take part are told, and the webhook.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        body::{Fields, Nothing},
        error::render,
        extract::{OrganizerAt, Signed, Viewer},
        pages::again,
        view::{Page, When, markdown},
    },
    Frame, Tab,
};
use crate::{
    challenge::{
        Challenge,
        announcement::{self, AnnouncementError},
    },
    ids::AnnouncementId,
    outbox::{self, Delivery, Mails},
    problem::Problem,
    webhook,
};

/// Deliveries that the page shows.
const SHOWN: i64 = 20;

#[derive(Template)]
#[template(path = "organizer_announcements.html")]
struct Announcements {
    page: Page,
    frame: Frame,
    problems: Vec<Problem>,
    /// This server sends mail.
    mails: bool,
    title: String,
    body: String,
    /// HTML of what is about to be announced.
    preview: Option<String>,
    past: Vec<Past>,
    webhook: Option<(String, When)>,
    /// The key of the signatures, shown once.
    secret: Option<String>,
    deliveries: Vec<Line>,
}

struct Past {
    id: AnnouncementId,
    title: String,
    text: String,
    when: When,
    withdrawn: bool,
    mails: Mails,
}

/// How a delivery went.
struct Line {
    event: String,
    state: &'static str,
    when: When,
    attempts: i32,
    /// What the last try met.
    met: String,
    next: Option<When>,
}

impl From<Delivery> for Line {
    fn from(d: Delivery) -> Line {
        let met = match (d.status, d.error) {
            (_, Some(words)) => words,
            (Some(status), None) => status.to_string(),
            (None, None) => String::new(),
        };
        Line {
            event: d.event,
            state: d.state.as_str(),
            when: When::new(d.created_at),
            attempts: d.attempts,
            met,
            next: d.next_at.filter(|_| d.attempts > 0).map(When::new),
        }
    }
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    Ok(render(&page(&app, &mut *app.db().await?, &challenge, signed).await?))
}

async fn page(
    app: &App,
    conn: &mut PgConnection,
    challenge: &Challenge,
    signed: Signed,
) -> Result<Announcements, Error> {
    let mut past = Vec::new();
    for one in announcement::list(conn, challenge.id, true).await? {
        past.push(Past {
            mails: outbox::mailed(conn, one.id).await?,
            id: one.id,
            title: one.title,
            text: markdown(&one.body),
            when: When::new(one.created_at),
            withdrawn: one.withdrawn_at.is_some(),
        });
    }
    let webhook = webhook::get(conn, challenge.id).await?;
    Ok(Announcements {
        frame: Frame::load(conn, challenge, Tab::Announcements).await?,
        page: Page::of(format!("{}: announcements", challenge.title), &Viewer(Some(signed))),
        problems: Vec::new(),
        mails: app.settings.mailer.is_some(),
        title: String::new(),
        body: String::new(),
        preview: None,
        past,
        webhook: webhook.map(|hook| (hook.url, When::new(hook.created_at))),
        secret: None,
        deliveries: outbox::deliveries(conn, challenge.id, SHOWN).await?.into_iter().map(Line::from).collect(),
    })
}

/// The page after an act: by itself, or with what stood in its way.
async fn after(app: &App, at: OrganizerAt, done: Result<(), Error>) -> Result<Response, Error> {
    let OrganizerAt { challenge, signed } = at;
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/organizer/{}/announcements", challenge.slug)).into_response()),
        Err(error) => {
            let page = page(app, &mut *app.db().await?, &challenge, signed).await?;
            Ok(again(error, |problems| Announcements { problems, ..page }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    title: String,
    body: String,
    #[serde(default)]
    act: Act,
}

#[derive(Deserialize, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Act {
    Preview,
    #[default]
    Announce,
}

pub async fn announce(
    State(app): State<App>,
    at: OrganizerAt,
    Fields(Words { title, body, act }): Fields<Words>,
) -> Result<Response, Error> {
    let OrganizerAt { challenge, signed } = at;
    let mut conn = app.db().await?;
    let done = match act {
        Act::Preview => announcement::checked(&title, &body).map(|_| None),
        Act::Announce => {
            let mails = app.settings.mailer.is_some();
            announcement::create(&mut conn, challenge.id, (&title, &body), &signed.actor(), mails).await.map(Some)
        }
    };
    match done {
        Ok(Some(_)) => Ok(Redirect::to(&format!("/organizer/{}/announcements", challenge.slug)).into_response()),
        Ok(None) => {
            let preview = Some(markdown(&body));
            let page = page(&app, &mut conn, &challenge, signed).await?;
            Ok(render(&Announcements { title, body, preview, ..page }))
        }
        Err(error) => {
            let page = page(&app, &mut conn, &challenge, signed).await?;
            Ok(again(error.into(), |problems| Announcements { problems, title, body, ..page }))
        }
    }
}

pub async fn withdraw(
    State(app): State<App>,
    at: OrganizerAt,
    Path((_, id)): Path<(String, String)>,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let id = id.parse::<AnnouncementId>().map_err(|_| AnnouncementError::NotFound)?;
    let done = announcement::withdraw(&mut *app.db().await?, at.challenge.id, id, &at.signed.actor()).await;
    after(&app, at, done.map_err(Error::from)).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    url: String,
}

pub async fn set_webhook(
    State(app): State<App>,
    at: OrganizerAt,
    Fields(Address { url }): Fields<Address>,
) -> Result<Response, Error> {
    let (id, by) = (at.challenge.id, at.signed.actor());
    match webhook::configure(&mut *app.db().await?, id, &url, &app.settings.webhooks, &by).await? {
        Ok(secret) => {
            let page = page(&app, &mut *app.db().await?, &at.challenge, at.signed).await?;
            Ok(render(&Announcements { secret: Some(secret.expose().to_owned()), ..page }))
        }
        Err(problem) => after(&app, at, Err(Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem))).await,
    }
}

pub async fn remove_webhook(
    State(app): State<App>,
    at: OrganizerAt,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let there = webhook::abolish(&mut *app.db().await?, at.challenge.id, &at.signed.actor()).await?;
    after(&app, at, if there { Ok(()) } else { Err(Error::no_webhook()) }).await
}

pub async fn ping(
    State(app): State<App>,
    at: OrganizerAt,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let there = webhook::ping(&mut *app.db().await?, at.challenge.id, &at.signed.actor()).await?;
    after(&app, at, if there { Ok(()) } else { Err(Error::no_webhook()) }).await
}
