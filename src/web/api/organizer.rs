//! For those who run a challenge: its people.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::super::{App, Error, body::Document, error::Errors, extract::OrganizerAt};
use crate::{
    challenge::organizers::{self, Organizer, OrganizersError},
    ids::AccountId,
    team::{
        TeamError,
        participant::State as Part,
        people::{self, Person},
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct People {
    /// Only those in this state.
    #[param(inline)]
    state: Option<Part>,
    /// Only those whose name, or whose team's name, holds this.
    #[serde(default)]
    q: String,
    /// The names after this one: the last of the page before.
    #[serde(default)]
    after: String,
}

/// List who takes part, took part or wants to (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/participants", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), People),
    responses(
        (status = 200, description = "By name, 200 at most", body = Vec<Person>),
        (status = 400, description = "A parameter is unknown", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn participants(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
    query: Result<Query<People>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Vec<Person>>, Error> {
    let Query(People { state, q, after }) = query.map_err(|error| Error::BadQuery(error.body_text()))?;
    Ok(Json(people::list(&mut *app.db().await?, challenge.id, state, q.trim(), &after).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// For the audit log; of a ban, the account is shown it. 1 to 2000 characters.
    pub reason: String,
}

/// Remove somebody from the challenge (organizers)
///
/// Out of the team and the challenge; they may ask again. Their entries stay with the team.
#[utoipa::path(post, path = "/challenges/{slug}/participants/{account}/remove", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("account" = AccountId, Path, description = "Who")),
    request_body = Why,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, you do not run it, or the account takes no part", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn remove(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, account)): Path<(String, String)>,
    Document(Why { reason }): Document<Why>,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotTakingPart))?;
    people::remove(&app.pool, challenge.id, account, &reason, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Ban an account from the challenge (organizers)
///
/// It keeps its team, and can neither join, nor submit, nor accept an invitation. It is shown the reason.
#[utoipa::path(post, path = "/challenges/{slug}/participants/{account}/ban", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("account" = AccountId, Path, description = "Who")),
    request_body = Why,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or account, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn ban(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, account)): Path<(String, String)>,
    Document(Why { reason }): Document<Why>,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotTakingPart))?;
    people::ban(&app.pool, challenge.id, account, &reason, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Take a ban back (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/participants/{account}/unban", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("account" = AccountId, Path, description = "Who")),
    request_body = Why,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or account, or you do not run it", body = Errors),
        (status = 409, description = "It is not banned", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn unban(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, account)): Path<(String, String)>,
    Document(Why { reason }): Document<Why>,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| Error::Team(TeamError::NotBanned))?;
    people::unban(&app.pool, challenge.id, account, &reason, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List who runs the challenge beside the administrators (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/organizers", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "In the order they were named", body = Vec<Organizer>),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn organizers(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
) -> Result<Json<Vec<Organizer>>, Error> {
    Ok(Json(organizers::list(&mut *app.db().await?, challenge.id).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Whom {
    /// Of the account.
    pub name: String,
}

/// Let an account run the challenge too (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/organizers", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    request_body = Whom,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or account, or you do not run it", body = Errors),
        (status = 409, description = "It is an organizer already", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown", body = Errors)),
    security(("token" = [])))]
pub async fn add_organizer(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Document(Whom { name }): Document<Whom>,
) -> Result<StatusCode, Error> {
    organizers::add(&mut *app.db().await?, challenge.id, &name, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let an account no longer run the challenge (organizers)
#[utoipa::path(delete, path = "/challenges/{slug}/organizers/{account}", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("account" = AccountId, Path, description = "Who")),
    responses(
        (status = 204, description = "Done"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or organizer, or you do not run it", body = Errors),
        (status = 409, description = "The last one stays, but for an administrator", body = Errors)),
    security(("token" = [])))]
pub async fn remove_organizer(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, account)): Path<(String, String)>,
) -> Result<StatusCode, Error> {
    let account = account.parse::<AccountId>().map_err(|_| OrganizersError::NotAnOrganizer)?;
    let (all, by) = (signed.account.is_organizer, signed.actor());
    organizers::remove(&mut *app.db().await?, challenge.id, account, &by, all).await?;
    Ok(StatusCode::NO_CONTENT)
}
