//! What organizers tell those who take part: on the challenge's page at once, by mail and to the webhook by the outbox.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    audit::{self, Act, Actor},
    ids::{AnnouncementId, ChallengeId},
    outbox,
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Announcement {
    pub id: AnnouncementId,
    pub title: String,
    /// Markdown.
    pub body: String,
    pub created_at: DateTime<Utc>,
    /// Taken off the page; to organizers only.
    pub withdrawn_at: Option<DateTime<Utc>>,
}

/// Why nothing was announced or withdrawn.
#[derive(Debug, Error)]
pub enum AnnouncementError {
    #[error("a title has 1 to 200 characters in one line")]
    BadTitle,
    #[error("an announcement has 1 to 20000 characters")]
    BadBody,
    #[error("there is no such announcement on the page")]
    NotFound,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl AnnouncementError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            AnnouncementError::BadTitle => Some("bad_announcement_title"),
            AnnouncementError::BadBody => Some("bad_announcement"),
            AnnouncementError::NotFound => Some("announcement_not_found"),
            AnnouncementError::Database(_) => None,
        }
    }

    /// The field at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            AnnouncementError::BadTitle => Some("title"),
            AnnouncementError::BadBody => Some("body"),
            AnnouncementError::NotFound | AnnouncementError::Database(_) => None,
        }
    }
}

/// Title and body as they are stored.
pub fn checked<'a>(title: &'a str, body: &'a str) -> Result<(&'a str, &'a str), AnnouncementError> {
    let (title, body) = (title.trim(), body.trim());
    if !(1..=200).contains(&title.chars().count()) || title.chars().any(char::is_control) {
        return Err(AnnouncementError::BadTitle);
    }
    if !(1..=20_000).contains(&body.chars().count()) || body.contains('\0') {
        return Err(AnnouncementError::BadBody);
    }
    Ok((title, body))
}

/// Puts it on the page, and into the outbox: for the webhook, and as mails where `mails` says that this server sends any.
pub async fn create(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    (title, body): (&str, &str),
    by: &Actor,
    mails: bool,
) -> Result<AnnouncementId, AnnouncementError> {
    let (title, body) = checked(title, body)?;
    let id = AnnouncementId::new();
    let mut tx = conn.begin().await?;
    sqlx::query!(
        "insert into announcement (id, challenge_id, title, body, account_id) values ($1, $2, $3, $4, $5)",
        id.0,
        challenge.0,
        title,
        body,
        by.account().map(|id| id.0)
    )
    .execute(&mut *tx)
    .await?;
    let mailed = if mails { outbox::mails(&mut tx, challenge, id).await? } else { 0 };
    let data = serde_json::json!({ "announcement": id, "title": title, "body": body });
    outbox::event(&mut tx, challenge, "announcement", data).await?;
    let details = serde_json::json!({ "announcement": id, "mails": mailed });
    audit::note(&mut tx, by, Act::of(challenge, "announcement.create", title).with(details)).await?;
    tx.commit().await?;
    tracing::info!(announcement = %id, mails = mailed, "an announcement is out");
    Ok(id)
}

/// Takes it off the page; what was sent is sent.
pub async fn withdraw(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    id: AnnouncementId,
    by: &Actor,
) -> Result<(), AnnouncementError> {
    let mut tx = conn.begin().await?;
    let title = sqlx::query_scalar!(
        "update announcement set withdrawn_at = now()
         where id = $1 and challenge_id = $2 and withdrawn_at is null returning title",
        id.0,
        challenge.0
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(AnnouncementError::NotFound)?;
    let details = serde_json::json!({ "announcement": id });
    audit::note(&mut tx, by, Act::of(challenge, "announcement.withdraw", &title).with(details)).await?;
    tx.commit().await?;
    Ok(())
}

/// Newest first; the withdrawn ones for `all` only.
pub async fn list(conn: &mut PgConnection, challenge: ChallengeId, all: bool) -> sqlx::Result<Vec<Announcement>> {
    sqlx::query_as!(
        Announcement,
        r#"select id as "id: _", title, body, created_at, withdrawn_at from announcement
           where challenge_id = $1 and (withdrawn_at is null or $2) order by id desc limit 200"#,
        challenge.0,
        all
    )
    .fetch_all(conn)
    .await
}

/// How many are on the page of each challenge that has any.
pub async fn counts(conn: &mut PgConnection) -> sqlx::Result<HashMap<ChallengeId, i64>> {
    let rows = sqlx::query!(
        r#"select challenge_id as "challenge: ChallengeId", count(*) as "n!" from announcement
           where withdrawn_at is null group by challenge_id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.challenge, row.n)).collect())
}
