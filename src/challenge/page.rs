//! The pages of a challenge besides its description: titles and Markdown, in their order.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::ids::ChallengeId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Page {
    pub title: String,
    /// Markdown.
    pub body: String,
}

/// In their order.
pub async fn list(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Vec<Page>> {
    sqlx::query_as!(
        Page,
        "select title, body from challenge_page where challenge_id = $1 order by position",
        challenge.0
    )
    .fetch_all(conn)
    .await
}

/// Sets all of them.
pub async fn replace(conn: &mut PgConnection, challenge: ChallengeId, pages: &[Page]) -> sqlx::Result<()> {
    sqlx::query!("delete from challenge_page where challenge_id = $1", challenge.0).execute(&mut *conn).await?;
    for (position, Page { title, body }) in (1..).zip(pages) {
        sqlx::query!(
            "insert into challenge_page (challenge_id, position, title, body) values ($1, $2, $3, $4)",
            challenge.0,
            position,
            title,
            body
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
