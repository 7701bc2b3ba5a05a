//! Sign-ins of browsers, kept on the server so that signing out ends them at once.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::{
    account::Account,
    secret::{self, Secret},
    token::Scope,
};
use crate::ids::{AccountId, ChallengeId, SessionId, TokenId};

/// Sign-ins of an account at once; one more ends the one that was longest not used.
pub const MOST: i64 = 50;

/// A sign-in ends so long after it began.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Who a browser is signed in as.
#[derive(Debug, Clone)]
pub struct Session {
    pub id: SessionId,
    pub account: Account,
    /// All, or what the token may that it was begun with.
    pub scope: Scope,
}

/// A session in its owner's list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Listed {
    pub id: SessionId,
    /// What the browser called itself.
    pub user_agent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// The name of the token that it was begun with.
    pub token: Option<String>,
}

/// Makes a session, begun with a password or with a token; the secret goes into the cookie.
pub async fn create(
    conn: &mut PgConnection,
    account: AccountId,
    token: Option<TokenId>,
    user_agent: Option<&str>,
) -> sqlx::Result<(SessionId, Secret)> {
    let (id, secret) = (SessionId::new(), Secret::new(""));
    let user_agent = user_agent.map(|agent| agent.chars().take(400).collect::<String>());
    sqlx::query!(
        "insert into session (id, account_id, token_id, token_sha256, user_agent, expires_at)
         values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))",
        id.0,
        account.0,
        token.map(|id| id.0),
        secret.sha256(),
        user_agent,
        LIFETIME.as_secs_f64()
    )
    .execute(&mut *conn)
    .await?;
    // The new one is never among them, however many begin at this moment.
    sqlx::query!(
        "delete from session where account_id = $1 and id <> $2
             and (expires_at <= now() or id in (select id from session where account_id = $1 and id <> $2
                                                order by last_seen_at desc, id desc offset $3))",
        account.0,
        id.0,
        MOST - 1
    )
    .execute(conn)
    .await?;
    Ok((id, secret))
}

/// Whose a cookie is; `None`: unknown or ended.
pub async fn authenticate(conn: &mut PgConnection, secret: &str) -> sqlx::Result<Option<Session>> {
    let sha256 = secret::digest(secret);
    let row = sqlx::query!(
        r#"select s.id as "session: SessionId", s.last_seen_at < now() - interval '1 minute' as "stale!",
                  coalesce(t.scope, 'admin') as "scope!: Scope",
                  a.id as "id: AccountId", a.name, a.email, a.is_organizer, a.created_at,
                  array(select challenge_id from challenge_organizer where account_id = a.id)
                      as "organizes!: Vec<ChallengeId>"
           from session s join account a on a.id = s.account_id left join api_token t on t.id = s.token_id
           where s.token_sha256 = $1 and s.expires_at > now() and a.disabled_at is null
             and (s.token_id is null or (t.revoked_at is null and (t.expires_at is null or t.expires_at > now())))"#,
        sha256
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.stale {
        sqlx::query!("update session set last_seen_at = now() where id = $1", row.session.0).execute(conn).await?;
    }
    let account = Account {
        id: row.id,
        name: row.name,
        email: row.email,
        is_organizer: row.is_organizer,
        organizes: row.organizes,
        created_at: row.created_at,
    };
    Ok(Some(Session { id: row.session, account, scope: row.scope }))
}

/// The live ones of an account, last used first.
pub async fn list(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Listed>> {
    sqlx::query_as!(
        Listed,
        r#"select s.id as "id: _", s.user_agent, s.created_at, s.last_seen_at, s.expires_at, t.name as "token?"
           from session s left join api_token t on t.id = s.token_id
           where s.account_id = $1 and s.expires_at > now()
             and (s.token_id is null or (t.revoked_at is null and (t.expires_at is null or t.expires_at > now())))
           order by s.last_seen_at desc, s.id desc"#,
        account.0
    )
    .fetch_all(conn)
    .await
}

/// Ends one session of an account at once; false: it has no such session.
pub async fn end(conn: &mut PgConnection, account: AccountId, id: SessionId) -> sqlx::Result<bool> {
    let done =
        sqlx::query!("delete from session where id = $1 and account_id = $2", id.0, account.0).execute(conn).await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the sessions of an account but one, as a change of password does.
pub async fn end_others(conn: &mut PgConnection, account: AccountId, keep: Option<SessionId>) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from session where account_id = $1 and id is distinct from $2",
        account.0,
        keep.map(|id| id.0)
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends every session of an account.
pub async fn end_all(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    end_others(conn, account, None).await
}
