//! `/organizer/{slug}/participants`: who takes part, and who wants to.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use serde::Deserialize;
use sqlx::PgConnection;

use super::{
    super::{
        App, Error,
        body::Fields,
        error::render,
        extract::{OrganizerAt, Signed, Viewer},
        pages::again,
        view::{Page, When},
    },
    Frame, Tab,
};
use crate::{
    challenge::Challenge,
    ids::AccountId,
    problem::Problem,
    team::{TeamError, participant},
};

#[derive(Template)]
#[template(path = "organizer_participants.html")]
struct Participants {
    page: Page,
    frame: Frame,
    problems: Vec<Problem>,
    requests: Vec<Request>,
}

/// Somebody who wants to take part.
struct Request {
    account: AccountId,
    name: String,
    team: Option<String>,
    when: When,
}

pub async fn show(State(app): State<App>, OrganizerAt { challenge, signed }: OrganizerAt) -> Result<Response, Error> {
    Ok(render(&page(&mut *app.db().await?, challenge, signed).await?))
}

async fn page(conn: &mut PgConnection, challenge: Challenge, signed: Signed) -> Result<Participants, Error> {
    let requests = participant::waiting(conn, Some(&[challenge.id])).await?.into_iter().map(|w| Request {
        account: w.account,
        name: w.account_name,
        team: w.team,
        when: When::new(w.asked_at),
    });
    Ok(Participants {
        requests: requests.collect(),
        frame: Frame::load(conn, &challenge, Tab::Participants).await?,
        page: Page::of(format!("{}: participants", challenge.title), &Viewer(Some(signed))),
        problems: Vec::new(),
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
    match participant::decide(&app.pool, challenge.id, account, let_in, &signed.actor()).await {
        Ok(()) => Ok(Redirect::to(&format!("/organizer/{}/participants", challenge.slug)).into_response()),
        Err(error) => {
            let page = page(&mut *app.db().await?, challenge, signed).await?;
            Ok(again(error.into(), |problems| Participants { problems, ..page }))
        }
    }
}
