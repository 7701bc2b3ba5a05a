//! Publishing a phase's figures.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{App, Error, body::Document, error::Errors, extract::OrganizerAt};
use crate::{
    challenge::{Challenge, phase, publishing},
    problem::Problem,
    team::account::Account,
};

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Kept in the audit log; 1 to 2000 characters.
    reason: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Published {
    /// Whether everybody sees the figures of the phase now.
    pub published: bool,
    /// `false`: it was so already.
    pub changed: bool,
}

/// Publish the figures of a phase that kept them back (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/publish", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    request_body = Reason,
    responses(
        (status = 200, description = "Everybody sees them", body = Published),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown, or there is no reason", body = Errors)),
    security(("token" = [])))]
pub async fn publish(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path(path): Path<(String, String)>,
    Document(Reason { reason }): Document<Reason>,
) -> Result<Json<Published>, Error> {
    set(&app, &challenge, &path.1, &signed.account, true, &reason).await.map(Json)
}

/// Hide the published figures of a phase again (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/unpublish", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase")),
    request_body = Reason,
    responses(
        (status = 200, description = "They are as hidden as the phase says", body = Published),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown, or there is no reason", body = Errors)),
    security(("token" = [])))]
pub async fn unpublish(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path(path): Path<(String, String)>,
    Document(Reason { reason }): Document<Reason>,
) -> Result<Json<Published>, Error> {
    set(&app, &challenge, &path.1, &signed.account, false, &reason).await.map(Json)
}

/// What page and API do.
pub async fn set(
    app: &App,
    challenge: &Challenge,
    phase: &str,
    by: &Account,
    published: bool,
    reason: &str,
) -> Result<Published, Error> {
    let reason = reason.trim();
    if !(1..=2000).contains(&reason.chars().count()) {
        let problem = Problem::new("bad_reason", "A reason has 1 to 2000 characters.").at("reason");
        return Err(Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem));
    }
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, phase).await?.ok_or(Error::PhaseNotFound)?;
    let actor = crate::audit::Actor::Account { id: by.id, name: by.name.clone() };
    let changed = publishing::set(&mut conn, &actor, &phase, published, reason).await?;
    Ok(Published { published, changed })
}
