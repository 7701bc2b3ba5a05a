//! A whole challenge as one file: read, changed, and made by it.

use axum::{
    Json,
    extract::{Query, Request, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::IntoParams;

use super::super::{
    App, Error,
    error::Errors,
    extract::{Administrator, OrganizerAt, Signed},
    filing::{self, Wish},
};
use crate::challenge::file::{self, Applied, Of};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Say what would change, and change nothing.
    #[serde(default)]
    dry_run: bool,
    /// Queue the entries that have no score by the rules and images as they are then.
    #[serde(default)]
    measure_again: bool,
    /// For the audit log; at most 2000 characters.
    #[serde(default)]
    reason: String,
}

/// Read a challenge as its file (organizers)
///
/// `challenge.toml` as `upscore admin challenge export` writes it: texts inside, baselines' models by hash, datasets by name and
/// version. Sent back as it is, it changes nothing.
#[utoipa::path(get, path = "/challenges/{slug}/file", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "The file", content_type = "application/toml", body = String),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn show(State(app): State<App>, OrganizerAt { challenge, .. }: OrganizerAt) -> Result<Response, Error> {
    let exported = file::export(&mut *app.db().await?, &challenge, false).await?;
    Ok(([(header::CONTENT_TYPE, "application/toml")], exported.toml).into_response())
}

/// Make a challenge what its file says (organizers)
///
/// All of it or nothing, and only what differs: sent again, the file changes nothing. With `dry_run` the answer says what would
/// be done. The body is `challenge.toml`, or a zip of it and what it names: texts, models, folders or zips of HR images.
#[utoipa::path(put, path = "/challenges/{slug}/file", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), Asked),
    request_body(content(
        (String = "application/toml"),
        (Vec<u8> = "application/zip"))),
    responses(
        (status = 200, description = "What was changed, or would be", body = Applied),
        (status = 400, description = "A parameter is unknown", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors),
        (status = 408, description = "The upload was too slow", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 422, description = "The file cannot be read or applied: every problem", body = Errors)),
    security(("token" = [])))]
pub async fn apply(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Json<Applied>, Error> {
    receive(&app, &signed, Of::This(challenge.id), asked, request).await.map(Json)
}

/// Make a new challenge of a file (administrators)
///
/// The body is as for a change; a slug that is taken is refused. With `dry_run` the answer says what would be made.
#[utoipa::path(post, path = "/challenges", tag = "organizers", params(Asked),
    request_body(content(
        (String = "application/toml"),
        (Vec<u8> = "application/zip"))),
    responses(
        (status = 200, description = "What would be made", body = Applied),
        (status = 201, description = "Made", body = Applied),
        (status = 400, description = "A parameter is unknown", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "You do not run the whole server", body = Errors),
        (status = 408, description = "The upload was too slow", body = Errors),
        (status = 409, description = "There is a challenge with this slug", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 422, description = "The file cannot be read or applied: every problem", body = Errors)),
    security(("token" = [])))]
pub async fn create(
    State(app): State<App>,
    Administrator(signed): Administrator,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Error> {
    let made = receive(&app, &signed, Of::New, asked, request).await?;
    if made.dry_run {
        return Ok(Json(made).into_response());
    }
    let location = [(header::LOCATION, format!("/api/v1/challenges/{}", made.challenge))];
    Ok((StatusCode::CREATED, location, Json(made)).into_response())
}

async fn receive(
    app: &App,
    signed: &Signed,
    of: Of,
    asked: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Applied, Error> {
    let Query(Asked { dry_run, measure_again, reason }) = asked.map_err(|error| Error::BadQuery(error.body_text()))?;
    let sent = filing::take(app, request.into_body()).await?;
    let parcel = filing::open(app, sent.path()).await?;
    filing::apply(app, signed, &parcel, Wish { of, dry_run, measure_again, reason: &reason }).await
}
