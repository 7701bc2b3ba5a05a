//! Challenges: their phases, datasets and protocols.

pub mod announcement;
pub mod baseline;
pub mod build;
pub mod bundle;
pub mod create;
pub mod dataset;
pub mod file;
pub mod images;
pub mod joining;
pub mod organizers;
pub mod overview;
pub mod page;
pub mod phase;
pub mod protocol;
pub mod publishing;
pub mod sample;
pub mod vet;

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::ids::ChallengeId;

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Challenge {
    pub id: ChallengeId,
    pub slug: String,
    pub title: String,
    /// Markdown.
    pub description: String,
}

/// What a slug is, in words.
pub const BAD_SLUG: &str =
    "a slug has 1 to 63 lower-case letters, digits and hyphens, and does not start with a hyphen";

/// As the database checks it.
pub fn is_slug(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && !text.starts_with('-') && text.bytes().all(plain)
}

/// Newest first.
pub async fn list(conn: &mut PgConnection) -> sqlx::Result<Vec<Challenge>> {
    sqlx::query_as!(
        Challenge,
        r#"select id as "id: _", slug, title, description from challenge order by created_at desc, id desc"#
    )
    .fetch_all(conn)
    .await
}

pub async fn by_slug(conn: &mut PgConnection, slug: &str) -> sqlx::Result<Option<Challenge>> {
    sqlx::query_as!(Challenge, r#"select id as "id: _", slug, title, description from challenge where slug = $1"#, slug)
        .fetch_optional(conn)
        .await
}

pub async fn get(conn: &mut PgConnection, id: ChallengeId) -> sqlx::Result<Option<Challenge>> {
    sqlx::query_as!(Challenge, r#"select id as "id: _", slug, title, description from challenge where id = $1"#, id.0)
        .fetch_optional(conn)
        .await
}

/// A slug that is taken breaks `challenge_slug_key`.
pub async fn insert(conn: &mut PgConnection, slug: &str, title: &str, description: &str) -> sqlx::Result<ChallengeId> {
    let id = ChallengeId::new();
    sqlx::query!(
        "insert into challenge (id, slug, title, description) values ($1, $2, $3, $4)",
        id.0,
        slug,
        title,
        description
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// Sets title and description.
pub async fn rename(conn: &mut PgConnection, id: ChallengeId, title: &str, description: &str) -> sqlx::Result<()> {
    sqlx::query!("update challenge set title = $2, description = $3 where id = $1", id.0, title, description)
        .execute(conn)
        .await?;
    Ok(())
}
