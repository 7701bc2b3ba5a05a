//! Publishing a phase's figures.

use axum::{
    Json,
    extract::{Path, State},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    body::Document,
    error::Errors,
    extract::{OrganizerAt, OrganizerPhaseAt, Signed},
};
use crate::{
    audit,
    challenge::{
        Challenge,
        phase::{self, Phase},
        publishing,
    },
    submission::carry::{self, Carried, CarryError},
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

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Carry {
    /// Slug of the phase whose entries are carried.
    from: String,
    /// Kept in the audit log; 1 to 2000 characters.
    reason: String,
}

/// Carry each team's standing entry over from another phase (organizers)
///
/// It is entered in the team's name, costs none of its quota, and is measured as any other. Done again, only what stands anew is
/// carried. The images of both phases have to be the same.
#[utoipa::path(post, path = "/challenges/{slug}/phases/{phase}/carry", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("phase" = String, Path, description = "The phase that they are carried to")),
    request_body = Carry,
    responses(
        (status = 200, description = "What was carried, what was there already, and whose entry waits for a decision", body = Carried),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or phase, or you do not run it", body = Errors),
        (status = 409, description = "The phases have other images", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown, there is no reason, or it is the same phase", body = Errors)),
    security(("token" = [])))]
pub async fn carry(
    State(app): State<App>,
    OrganizerPhaseAt { phase, signed, .. }: OrganizerPhaseAt,
    Document(Carry { from, reason }): Document<Carry>,
) -> Result<Json<Carried>, Error> {
    carry_over(&app, &from, &phase, &signed, &reason).await.map(Json)
}

/// What page and API do.
pub async fn carry_over(app: &App, from: &str, to: &Phase, by: &Signed, reason: &str) -> Result<Carried, Error> {
    let reason = reason_of(reason)?;
    let mut conn = app.db().await?;
    let from = phase::by_slug(&mut conn, &to.challenge_slug, from).await?.ok_or(Error::PhaseNotFound)?;
    match carry::carry(&mut conn, &by.actor(), &from, to, reason).await {
        Ok(carried) => Ok(carried),
        Err(CarryError::Database(error)) => Err(error.into()),
        Err(CarryError::Queue(error)) => Err(anyhow::Error::from(error).into()),
        Err(CarryError::Other(error)) => Err(error.into()),
        Err(refused) => Err(Error::Carry(refused)),
    }
}

/// A reason as it is kept.
fn reason_of(reason: &str) -> Result<&str, Error> {
    audit::reason(reason).ok_or_else(Error::bad_reason)
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
    let reason = reason_of(reason)?;
    let mut conn = app.db().await?;
    let phase = phase::by_slug(&mut conn, &challenge.slug, phase).await?.ok_or(Error::PhaseNotFound)?;
    let actor = crate::audit::Actor::Account { id: by.id, name: by.name.clone() };
    let changed = publishing::set(&mut conn, &actor, &phase, published, reason).await?;
    Ok(Published { published, changed })
}
