//! For those who run a challenge: its people, its log, its workers, all of it as a zip.

use axum::{
    Json,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::super::{
    App, Error,
    body::Document,
    doors::Download,
    error::Errors,
    extract::{Organizer as AnyOrganizer, OrganizerAt},
    organizer::{
        audit::{self as log, Form},
        exports,
    },
};
use crate::{
    audit::{self, Filter},
    challenge::organizers::{self, Organizer, OrganizersError},
    ids::AccountId,
    team::{
        TeamError,
        participant::State as Part,
        people::{self, Person},
    },
    worker::presence::{self, ClassQueue, Presence},
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

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct LogAsked {
    /// Only this act, as `participant.ban`, or all on such an object, as `participant`.
    #[serde(default)]
    action: String,
    /// Only what this account did; `shell`: on the server.
    #[serde(default)]
    actor: String,
    /// Older than this act: the last one of the page before.
    before: Option<Uuid>,
    /// 1 to 500 acts; 100 where not given.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// `json`: one page of it; `csv`: all of it in one file.
    #[serde(default)]
    #[param(inline)]
    format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Json,
    Csv,
}

/// Read the audit log: what organizers did (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/audit", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), LogAsked),
    responses(
        (status = 200, description = "Newest first", content((Vec<audit::Entry> = "application/json"), (String = "text/csv"))),
        (status = 400, description = "A parameter is unknown or not allowed", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn audit(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
    query: Result<Query<LogAsked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    let Query(asked) = query.map_err(|error| Error::BadQuery(error.body_text()))?;
    let limit = asked.limit.unwrap_or(100);
    if !(1..=500).contains(&limit) {
        return Err(Error::BadQuery("`limit` is 1 to 500.".into()));
    }
    let filter = Filter { action: asked.action, actor: asked.actor };
    match asked.format {
        LogFormat::Csv => {
            let name = format!("{}-audit", challenge.slug);
            Ok(log::export(&app, Some(challenge.id), filter, Form::Csv, &name))
        }
        LogFormat::Json => {
            let mut conn = app.db().await?;
            Ok(Json(audit::find(&mut conn, Some(challenge.id), &filter, asked.before, limit).await?).into_response())
        }
    }
}

/// Who measures, and what waits.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkersDetail {
    pub workers: Vec<Presence>,
    pub queues: Vec<ClassQueue>,
    /// Kinds of device that something needs and no worker serves.
    pub lacking: Vec<crate::challenge::protocol::DeviceClass>,
}

/// See the workers and the queue (organizers)
#[utoipa::path(get, path = "/workers", tag = "organizers",
    responses(
        (status = 200, description = "Those that are there first; of other challenges' entries it is not said which", body = WorkersDetail),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You are no organizer", body = Errors)),
    security(("token" = [])))]
pub async fn workers(State(app): State<App>, AnyOrganizer(signed): AnyOrganizer) -> Result<Json<WorkersDetail>, Error> {
    let mut conn = app.db().await?;
    let queues = presence::queues(&mut conn).await?;
    let mut workers = presence::list(&mut conn).await?;
    for worker in &mut workers {
        worker.job = worker.job.take().filter(|job| signed.account.organizes(job.challenge_id));
    }
    let lacking = queues.iter().filter(|q| q.lacks_workers()).map(|q| q.class).collect();
    Ok(Json(WorkersDetail { workers, queues, lacking }))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportAsked {
    /// Every results zip and model too.
    #[serde(default)]
    files: bool,
}

/// Download everything of a challenge but HR images (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/export.zip", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ExportAsked),
    responses(
        (status = 200, description = "Entries, boards, announcements, audit log", content_type = "application/zip", body = Vec<u8>),
        (status = 400, description = "A parameter is unknown or not allowed", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors),
        (status = 429, description = "Too many downloads at once", body = Errors)),
    security(("token" = [])))]
pub async fn export(
    State(app): State<App>,
    at: OrganizerAt,
    leave: Download,
    query: Result<Query<ExportAsked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Error> {
    let Query(ExportAsked { files }) = query.map_err(|error| Error::BadQuery(error.body_text()))?;
    exports::download(&app, at, files, leave).await
}
