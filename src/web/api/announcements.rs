//! Announcements, and the webhook of a challenge.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::{
    App, Error,
    body::{Document, Nothing},
    error::Errors,
    extract::{Holder, OrganizerAt, Reader, Viewer},
};
use crate::{
    challenge::{
        self,
        announcement::{self, Announcement, AnnouncementError},
    },
    ids::AnnouncementId,
    outbox::{self, Delivery},
    team::account,
    webhook,
};

/// List the announcements of a challenge
#[utoipa::path(get, path = "/challenges/{slug}/announcements", tag = "challenges",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "Newest first; withdrawn ones to organizers alone", body = Vec<Announcement>),
        (status = 401, description = "The token is unknown, expired or revoked", body = Errors),
        (status = 404, description = "There is no such challenge", body = Errors)),
    security((), ("token" = [])))]
pub async fn list(
    State(app): State<App>,
    viewer: Viewer,
    Path(slug): Path<String>,
) -> Result<Json<Vec<Announcement>>, Error> {
    let mut conn = app.db().await?;
    let challenge = challenge::by_slug(&mut conn, &slug).await?.ok_or(Error::ChallengeNotFound)?;
    Ok(Json(announcement::list(&mut conn, challenge.id, viewer.organizes(challenge.id)).await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Announce {
    /// 1 to 200 characters in one line.
    pub title: String,
    /// Markdown, 1 to 20000 characters.
    pub body: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Announced {
    pub id: AnnouncementId,
}

/// Announce something (organizers)
///
/// It stands on the challenge's page at once, and goes by mail and to the webhook where there are any.
#[utoipa::path(post, path = "/challenges/{slug}/announcements", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    request_body = Announce,
    responses(
        (status = 201, description = "It is out", body = Announced),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing, unknown or not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn announce(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Document(Announce { title, body }): Document<Announce>,
) -> Result<(StatusCode, Json<Announced>), Error> {
    let (by, mails) = (signed.actor(), app.settings.mailer.is_some());
    let id = announcement::create(&mut *app.db().await?, challenge.id, (&title, &body), &by, mails).await?;
    Ok((StatusCode::CREATED, Json(Announced { id })))
}

/// Take an announcement off the challenge's page (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/announcements/{id}/withdraw", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge"), ("id" = AnnouncementId, Path, description = "Which")),
    request_body = Nothing,
    responses(
        (status = 204, description = "Done"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or announcement, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is unknown", body = Errors)),
    security(("token" = [])))]
pub async fn withdraw(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Path((_slug, id)): Path<(String, String)>,
    Document(Nothing {}): Document<Nothing>,
) -> Result<StatusCode, Error> {
    let id = id.parse::<AnnouncementId>().map_err(|_| AnnouncementError::NotFound)?;
    announcement::withdraw(&mut *app.db().await?, challenge.id, id, &signed.actor()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A challenge's webhook, and how its last deliveries went.
#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookDetail {
    pub url: String,
    pub created_at: DateTime<Utc>,
    /// Newest first, 100 at most.
    pub deliveries: Vec<Delivery>,
}

/// Read the webhook and its last deliveries (organizers)
#[utoipa::path(get, path = "/challenges/{slug}/webhook", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 200, description = "As it is", body = WebhookDetail),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or webhook, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn webhook(
    State(app): State<App>,
    OrganizerAt { challenge, .. }: OrganizerAt,
) -> Result<Json<WebhookDetail>, Error> {
    let mut conn = app.db().await?;
    let hook = webhook::get(&mut conn, challenge.id).await?.ok_or_else(Error::no_webhook)?;
    let deliveries = outbox::deliveries(&mut conn, challenge.id, 100).await?;
    Ok(Json(WebhookDetail { url: hook.url, created_at: hook.created_at, deliveries }))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetWebhook {
    /// https, in the public internet.
    pub url: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WebhookKey {
    /// Of the signatures' HMAC-SHA-256: the only time that it is shown.
    pub key: String,
}

/// Set the webhook, with a new key (organizers)
///
/// Events: `announcement`, `submission.scored` (without hidden figures), `phase.published`, `ping`. Each is posted as
/// `{"id", "event", "challenge", "at", "data"}` with `X-Upscore-Signature: sha256=` and the HMAC-SHA-256, by the key's
/// characters, over the header `X-Upscore-Timestamp`, a full stop and the body. What is not answered with 2xx in 10 s is
/// tried again, 7 times in half a day.
#[utoipa::path(put, path = "/challenges/{slug}/webhook", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    request_body = SetWebhook,
    responses(
        (status = 200, description = "Set", body = WebhookKey),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown, or the address is not allowed", body = Errors)),
    security(("token" = [])))]
pub async fn set_webhook(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Document(SetWebhook { url }): Document<SetWebhook>,
) -> Result<Json<WebhookKey>, Error> {
    let (by, allowed) = (signed.actor(), &app.settings.webhooks);
    match webhook::configure(&mut *app.db().await?, challenge.id, &url, allowed, &by).await? {
        Ok(secret) => Ok(Json(WebhookKey { key: secret.expose().to_owned() })),
        Err(problem) => Err(Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, problem)),
    }
}

/// Remove the webhook (organizers)
#[utoipa::path(delete, path = "/challenges/{slug}/webhook", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    responses(
        (status = 204, description = "Removed"),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or webhook, or you do not run it", body = Errors)),
    security(("token" = [])))]
pub async fn remove_webhook(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
) -> Result<StatusCode, Error> {
    match webhook::abolish(&mut *app.db().await?, challenge.id, &signed.actor()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Error::no_webhook()),
    }
}

/// Post a `ping` to the webhook (organizers)
#[utoipa::path(post, path = "/challenges/{slug}/webhook/ping", tag = "organizers",
    params(("slug" = String, Path, description = "The challenge")),
    request_body = Nothing,
    responses(
        (status = 202, description = "Queued"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 404, description = "There is no such challenge or webhook, or you do not run it", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is unknown", body = Errors)),
    security(("token" = [])))]
pub async fn ping(
    State(app): State<App>,
    OrganizerAt { challenge, signed }: OrganizerAt,
    Document(Nothing {}): Document<Nothing>,
) -> Result<StatusCode, Error> {
    match webhook::ping(&mut *app.db().await?, challenge.id, &signed.actor()).await? {
        true => Ok(StatusCode::ACCEPTED),
        false => Err(Error::no_webhook()),
    }
}

/// Which mails an account gets.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WantedMails {
    /// Announcements of the challenges that it takes part in.
    pub announcements: bool,
}

/// Read which mails you get
#[utoipa::path(get, path = "/account/mails", tag = "account",
    responses(
        (status = 200, description = "As it is", body = WantedMails),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors)),
    security(("token" = [])))]
pub async fn mails(State(app): State<App>, Reader(signed): Reader) -> Result<Json<WantedMails>, Error> {
    Ok(Json(WantedMails { announcements: account::wants_mails(&mut *app.db().await?, signed.account.id).await? }))
}

/// Say which mails you want
#[utoipa::path(put, path = "/account/mails", tag = "account",
    request_body = WantedMails,
    responses(
        (status = 204, description = "Noted"),
        (status = 400, description = "The body is no JSON", body = Errors),
        (status = 401, description = "No token, or one that is unknown, expired or revoked", body = Errors),
        (status = 403, description = "The token's scope is not `admin`", body = Errors),
        (status = 413, description = "The body is too large", body = Errors),
        (status = 415, description = "The body is not sent as JSON", body = Errors),
        (status = 422, description = "A field is missing or unknown", body = Errors)),
    security(("token" = [])))]
pub async fn set_mails(
    State(app): State<App>,
    Holder(signed): Holder,
    Document(WantedMails { announcements }): Document<WantedMails>,
) -> Result<StatusCode, Error> {
    account::set_mails(&mut *app.db().await?, signed.account.id, announcements).await?;
    Ok(StatusCode::NO_CONTENT)
}
