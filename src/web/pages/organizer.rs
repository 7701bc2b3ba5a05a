//! `/organizer`: what waits for an organizer, and links for those who forgot their password.

use askama::Template;
use axum::{
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;

use super::{
    super::{
        App, Error,
        body::Fields,
        error::render,
        extract::{Administrator, Organizer, OrganizerAt, Signed, Viewer},
        view::{Page, When},
    },
    account::again,
};
use crate::{
    ids::AccountId,
    problem::Problem,
    team::{
        TeamError, account, participant,
        reset::{self, Maker},
    },
};

#[derive(Template)]
#[template(path = "organizer.html")]
struct OrganizerPage {
    page: Page,
    problems: Vec<Problem>,
    /// Account name and link, shown once.
    link: Option<(String, String)>,
    requests: Vec<Request>,
}

/// Somebody who wants to take part.
struct Request {
    challenge: String,
    account: AccountId,
    name: String,
    team: Option<String>,
    when: When,
}

pub async fn show(State(app): State<App>, Organizer(signed): Organizer) -> Result<Response, Error> {
    Ok(render(&page(&app, signed).await?))
}

async fn page(app: &App, signed: Signed) -> Result<OrganizerPage, Error> {
    let account = &signed.account;
    let own = (!account.is_organizer).then_some(account.organizes.as_slice());
    let requests = participant::waiting(&mut *app.db().await?, own).await?.into_iter().map(|w| Request {
        challenge: w.challenge,
        account: w.account,
        name: w.account_name,
        team: w.team,
        when: When::new(w.asked_at),
    });
    Ok(OrganizerPage {
        page: Page::of("Organizer", &Viewer(Some(signed))),
        problems: Vec::new(),
        link: None,
        requests: requests.collect(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    decision: Word,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Word {
    Approve,
    Decline,
}

/// An organizer's word on somebody who wants to take part.
pub async fn decide(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Decision { decision }): Fields<Decision>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotWaiting))?;
    let let_in = decision == Word::Approve;
    match participant::decide(&app.pool, challenge.id, account, let_in, signed.account.id).await {
        Ok(()) => Ok(Redirect::to("/organizer").into_response()),
        Err(error) => {
            let page = page(&app, signed).await?;
            Ok(again(error.into(), |problems| OrganizerPage { problems, ..page }))
        }
    }
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
    let Some(account) = account::by_name(&mut conn, name.trim()).await? else {
        let problems = vec![Problem::new("account_not_found", "There is no such account.").at(name)];
        drop(conn);
        let page = page(&app, signed).await?;
        return Ok((StatusCode::NOT_FOUND, render(&OrganizerPage { problems, ..page })).into_response());
    };
    let secret = reset::create(&mut conn, account.id, Maker::Organizer(signed.account.id)).await?;
    let link = format!("{}/reset?key={}", app.url(&headers), secret.expose());
    drop(conn);
    Ok(render(&OrganizerPage { link: Some((account.name, link)), ..page(&app, signed).await? }))
}
