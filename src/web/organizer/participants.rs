//! `/organizer/{slug}/participants`: who takes part, who wants to, who may not, and who runs the challenge.

use askama::Template;
use axum::{
    extract::{Path, Query, State},
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
        view::{Page, When},
    },
    Frame, Tab,
};
use crate::{
    challenge::{
        Challenge,
        organizers::{self, OrganizersError},
    },
    ids::AccountId,
    problem::Problem,
    team::{
        Role, TeamError,
        participant::{self, State as Part},
        people,
    },
};

#[derive(Template)]
#[template(path = "organizer_participants.html")]
struct Participants {
    page: Page,
    frame: Frame,
    problems: Vec<Problem>,
    requests: Vec<Request>,
    people: Vec<Person>,
    /// The address of the next page.
    more: Option<String>,
    filter: Filter,
    organizers: Vec<Organizer>,
}

/// Somebody who wants to take part.
struct Request {
    account: AccountId,
    name: String,
    team: Option<String>,
    when: When,
}

struct Person {
    account: AccountId,
    name: String,
    team: Option<String>,
    owner: bool,
    state: &'static str,
    ban_reason: Option<String>,
    since: Option<When>,
    terms: Option<String>,
    entries: i64,
}

struct Organizer {
    account: AccountId,
    name: String,
    since: When,
    by: Option<String>,
    me: bool,
}

impl Person {
    fn may_go(&self) -> bool {
        self.team.is_some() || matches!(self.state, "takes part" | "waiting")
    }
}

/// What of the list is shown.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Filter {
    #[serde(default)]
    state: String,
    /// In the account's or the team's name.
    #[serde(default)]
    q: String,
    /// Names after this one.
    #[serde(default)]
    after: String,
}

impl Filter {
    fn part(&self) -> Option<Part> {
        match self.state.as_str() {
            "joined" => Some(Part::Joined),
            "waiting" => Some(Part::Waiting),
            "declined" => Some(Part::Declined),
            "removed" => Some(Part::Removed),
            "banned" => Some(Part::Banned),
            _ => None,
        }
    }

    fn is(&self, state: &str) -> bool {
        self.state == state
    }
}

pub async fn show(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Query(filter): Query<Filter>,
) -> Result<Response, Error> {
    Ok(render(&page(&mut *app.db().await?, challenge, signed, filter).await?))
}

async fn page(
    conn: &mut PgConnection,
    challenge: Challenge,
    signed: Signed,
    filter: Filter,
) -> Result<Participants, Error> {
    let requests = participant::waiting(conn, Some(&[challenge.id])).await?.into_iter().map(|w| Request {
        account: w.account,
        name: w.account_name,
        team: w.team,
        when: When::new(w.asked_at),
    });
    let people = people::list(conn, challenge.id, filter.part(), filter.q.trim(), &filter.after).await?;
    let last = people.last().filter(|_| people.len() == people::PAGE);
    let more = last.map(|last| {
        let query = [("state", filter.state.as_str()), ("q", filter.q.trim()), ("after", &last.name)];
        let encoded = query.map(|(key, value)| {
            format!("{key}={}", percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC))
        });
        format!("?{}", encoded.join("&"))
    });
    let people = people.into_iter().map(|p| Person {
        account: p.account,
        name: p.name,
        team: p.team,
        owner: p.role == Some(Role::Owner),
        state: match p.state {
            None | Some(Part::Joined) => "takes part",
            Some(Part::Waiting) => "waiting",
            Some(Part::Declined) => "declined",
            Some(Part::Removed) => "removed",
            Some(Part::Banned) => "banned",
        },
        ban_reason: p.ban_reason,
        since: p.since.map(When::new),
        terms: p.terms_sha256,
        entries: p.entries,
    });
    let organizers = organizers::list(conn, challenge.id).await?.into_iter().map(|o| Organizer {
        me: o.account == signed.account.id,
        account: o.account,
        name: o.name,
        since: When::new(o.added_at),
        by: o.added_by,
    });
    Ok(Participants {
        requests: requests.collect(),
        people: people.collect(),
        more,
        filter,
        organizers: organizers.collect(),
        frame: Frame::load(conn, &challenge, Tab::Participants).await?,
        page: Page::of(format!("{}: participants", challenge.title), &Viewer(Some(signed))),
        problems: Vec::new(),
    })
}

/// The page after an act: by itself, or with what stood in its way.
async fn after<E: Into<Error>>(app: &App, at: OrganizerAt, done: Result<(), E>) -> Result<Response, Error> {
    let OrganizerAt { challenge, signed } = at;
    match done {
        Ok(()) => Ok(Redirect::to(&format!("/organizer/{}/participants", challenge.slug)).into_response()),
        Err(error) => {
            let page = page(&mut *app.db().await?, challenge, signed, Filter::default()).await?;
            Ok(again(error.into(), |problems| Participants { problems, ..page }))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    decision: Word,
    #[serde(default)]
    reason: String,
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
    at: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Decision { decision, reason }): Fields<Decision>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotWaiting))?;
    let let_in = decision == Word::Approve;
    let done = participant::decide(&app.pool, at.challenge.id, account, let_in, &reason, &at.signed.actor()).await;
    after(&app, at, done).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Why {
    reason: String,
}

pub async fn remove(
    State(app): State<App>,
    at: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Why { reason }): Fields<Why>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotTakingPart))?;
    let done = people::remove(&app.pool, at.challenge.id, account, &reason, &at.signed.actor()).await;
    after(&app, at, done).await
}

pub async fn ban(
    State(app): State<App>,
    at: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Why { reason }): Fields<Why>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotTakingPart))?;
    let done = people::ban(&app.pool, at.challenge.id, account, &reason, &at.signed.actor()).await;
    after(&app, at, done).await
}

pub async fn unban(
    State(app): State<App>,
    at: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Why { reason }): Fields<Why>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotBanned))?;
    let done = people::unban(&app.pool, at.challenge.id, account, &reason, &at.signed.actor()).await;
    after(&app, at, done).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    name: String,
}

pub async fn add_organizer(
    State(app): State<App>,
    at: OrganizerAt,
    Fields(Whom { name }): Fields<Whom>,
) -> Result<Response, Error> {
    let added = organizers::add(&mut *app.db().await?, at.challenge.id, &name, &at.signed.actor()).await;
    after(&app, at, added.map(drop)).await
}

pub async fn remove_organizer(
    State(app): State<App>,
    at: OrganizerAt,
    Path((_, account)): Path<(String, String)>,
    Fields(Nothing {}): Fields<Nothing>,
) -> Result<Response, Error> {
    let account = account.parse::<AccountId>().map_err(|_| OrganizersError::NotAnOrganizer)?;
    let (all, by) = (at.signed.account.is_organizer, at.signed.actor());
    let done = organizers::remove(&mut *app.db().await?, at.challenge.id, account, &by, all).await;
    // Whoever took themself out has nothing more to see here.
    if done.is_ok() && account == at.signed.account.id && !all {
        return Ok(Redirect::to("/").into_response());
    }
    after(&app, at, done).await
}
