//! Codabench knows rows by number.

use std::collections::HashMap;

use sqlx::PgConnection;

use crate::ids::{AccountId, ChallengeId, PhaseId, SubmissionId};

pub async fn of_challenges(conn: &mut PgConnection) -> sqlx::Result<HashMap<ChallengeId, i64>> {
    let rows = sqlx::query!(r#"select id as "id: ChallengeId", number from challenge"#).fetch_all(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.number)).collect())
}

pub async fn challenge(conn: &mut PgConnection, number: i64) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!("select slug from challenge where number = $1", number).fetch_optional(conn).await
}

pub async fn of_phase(conn: &mut PgConnection, id: PhaseId) -> sqlx::Result<i64> {
    sqlx::query_scalar!("select number from phase where id = $1", id.0).fetch_one(conn).await
}

pub async fn phase(conn: &mut PgConnection, number: i64) -> sqlx::Result<Option<PhaseId>> {
    sqlx::query_scalar!(r#"select id as "id: PhaseId" from phase where number = $1"#, number).fetch_optional(conn).await
}

pub async fn of_submission(conn: &mut PgConnection, id: SubmissionId) -> sqlx::Result<i64> {
    sqlx::query_scalar!("select number from submission where id = $1", id.0).fetch_one(conn).await
}

pub async fn of_submissions(
    conn: &mut PgConnection,
    ids: impl Iterator<Item = SubmissionId>,
) -> sqlx::Result<HashMap<SubmissionId, i64>> {
    let ids: Vec<_> = ids.map(|id| id.0).collect();
    let rows = sqlx::query!(r#"select id as "id: SubmissionId", number from submission where id = any($1)"#, &ids)
        .fetch_all(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.number)).collect())
}

pub async fn submission(conn: &mut PgConnection, number: i64) -> sqlx::Result<Option<SubmissionId>> {
    sqlx::query_scalar!(r#"select id as "id: SubmissionId" from submission where number = $1"#, number)
        .fetch_optional(conn)
        .await
}

/// The phases that are open to an account through its teams.
pub async fn open_to(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<PhaseId>> {
    sqlx::query_scalar!(
        r#"select p.id as "id: PhaseId" from phase p join membership m on m.challenge_id = p.challenge_id
           where m.account_id = $1 and coalesce(p.opens_at <= now(), true) and coalesce(p.closes_at > now(), true)"#,
        account.0
    )
    .fetch_all(conn)
    .await
}
