//! What a team holds against a hold, a disqualification or its score, one at a time; an organizer's answer closes it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use crate::{
    audit::{self, Act, Actor},
    db,
    ids::{AccountId, ChallengeId, ObjectionId, SubmissionId},
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Objection {
    pub id: ObjectionId,
    pub text: String,
    pub created_at: DateTime<Utc>,
    /// `null`: open.
    pub answer: Option<String>,
    pub closed_at: Option<DateTime<Utc>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ObjectionError {
    #[error("a text has 1 to 2000 characters")]
    BadText,
    #[error("an objection to this entry is open: the organizers answer it first")]
    Open,
    #[error("the entry has no result that could be objected to yet")]
    TooEarly,
    #[error("this objection was answered before")]
    Answered,
    #[error("there is no such objection")]
    NotFound,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for ObjectionError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("objection_one_open") => ObjectionError::Open,
            _ => ObjectionError::Database(error),
        }
    }
}

/// Writes one down; the same text again, while it is open, gives the first.
pub async fn object(
    conn: &mut PgConnection,
    submission: SubmissionId,
    account: AccountId,
    text: &str,
) -> Result<Objection, ObjectionError> {
    let text = super::text(text).ok_or(ObjectionError::BadText)?;
    let made = sqlx::query_as!(
        Objection,
        r#"insert into objection (id, submission_id, account_id, text) values ($1, $2, $3, $4)
           returning id as "id: _", text, created_at, answer, closed_at"#,
        ObjectionId::new().0,
        submission.0,
        account.0,
        text
    )
    .fetch_one(&mut *conn)
    .await
    .map_err(ObjectionError::from);
    if matches!(made, Err(ObjectionError::Open)) {
        let open = of_submission(conn, submission).await?.into_iter().find(|o| o.closed_at.is_none() && o.text == text);
        return open.ok_or(ObjectionError::Open);
    }
    made
}

/// Newest first.
pub async fn of_submission(conn: &mut PgConnection, submission: SubmissionId) -> sqlx::Result<Vec<Objection>> {
    sqlx::query_as!(
        Objection,
        r#"select id as "id: _", text, created_at, answer, closed_at from objection
           where submission_id = $1 order by id desc limit 100"#,
        submission.0
    )
    .fetch_all(conn)
    .await
}

/// Answers and closes one. Call it in a transaction.
pub async fn answer(
    conn: &mut PgConnection,
    (challenge, submission): (ChallengeId, SubmissionId),
    id: ObjectionId,
    words: &str,
    actor: &Actor,
) -> Result<Objection, ObjectionError> {
    let words = super::text(words).ok_or(ObjectionError::BadText)?;
    let name = match actor {
        Actor::Account { name, .. } => name,
        Actor::Shell => "shell",
    };
    let closed = sqlx::query_as!(
        Objection,
        r#"update objection set answer = $3, answered_by_name = $4, closed_at = now()
           where id = $1 and submission_id = $2 and closed_at is null
           returning id as "id: _", text, created_at, answer, closed_at"#,
        id.0,
        submission.0,
        words,
        name
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(closed) = closed else {
        let known = of_submission(conn, submission).await?.into_iter().find(|o| o.id == id);
        let known = known.ok_or(ObjectionError::NotFound)?;
        return if known.answer.as_deref() == Some(words) { Ok(known) } else { Err(ObjectionError::Answered) };
    };
    let act = Act {
        challenge: Some(challenge),
        action: "objection.answer",
        object: &submission.to_string(),
        reason: words,
        details: serde_json::json!({ "objection": id, "text": closed.text }),
    };
    audit::note(conn, actor, act).await?;
    Ok(closed)
}
