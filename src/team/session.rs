//! Sign-ins of browsers, kept on the server so that signing out ends them at once.

use std::time::Duration;

use sqlx::PgConnection;

use super::{
    account::Account,
    secret::{self, Secret},
};
use crate::ids::{AccountId, SessionId};

/// A sign-in ends so long after it began.
pub const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// Makes a session; the secret goes into the cookie.
pub async fn create(
    conn: &mut PgConnection,
    account: AccountId,
    user_agent: Option<&str>,
) -> sqlx::Result<(SessionId, Secret)> {
    let (id, secret) = (SessionId::new(), Secret::new(""));
    let user_agent = user_agent.map(|agent| agent.chars().take(400).collect::<String>());
    sqlx::query!(
        "insert into session (id, account_id, token_sha256, user_agent, expires_at)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5))",
        id.0,
        account.0,
        secret.sha256(),
        user_agent,
        LIFETIME.as_secs_f64()
    )
    .execute(conn)
    .await?;
    Ok((id, secret))
}

/// Whose a cookie is; `None`: unknown or ended.
pub async fn authenticate(conn: &mut PgConnection, secret: &str) -> sqlx::Result<Option<(SessionId, Account)>> {
    let sha256 = secret::digest(secret);
    let row = sqlx::query!(
        r#"select s.id as "session: SessionId", s.last_seen_at < now() - interval '1 minute' as "stale!",
                  a.id as "id: AccountId", a.name, a.email, a.is_organizer, a.created_at
           from session s join account a on a.id = s.account_id
           where s.token_sha256 = $1 and s.expires_at > now()"#,
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
        created_at: row.created_at,
    };
    Ok(Some((row.session, account)))
}

/// Ends one session of an account.
pub async fn end(conn: &mut PgConnection, account: AccountId, id: SessionId) -> sqlx::Result<()> {
    sqlx::query!("delete from session where id = $1 and account_id = $2", id.0, account.0).execute(conn).await?;
    Ok(())
}

/// Ends every session of an account, as a change of password does.
pub async fn end_all(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<()> {
    sqlx::query!("delete from session where account_id = $1", account.0).execute(conn).await?;
    Ok(())
}
