//! API tokens: a key for scripts, shown once.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use thiserror::Error;
use utoipa::ToSchema;

use super::{
    account::Account,
    secret::{self, Secret},
};
use crate::ids::{AccountId, ChallengeId, TokenId};

/// What every token starts with, so that scanners recognise a leaked one.
pub const PREFIX: &str = "upscore_";
/// Characters that are stored and shown: the prefix and eight digits.
const SHOWN: usize = PREFIX.len() + 8;

/// What a token may do; each includes the one before.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, sqlx::Type, ToSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Scope {
    /// Own entries and boards.
    Read,
    /// And upload.
    Submit,
    /// All that the account may do.
    Admin,
}

/// A token as its owner's list shows it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    /// The first characters.
    pub prefix: String,
    pub scope: Scope,
    pub created_at: DateTime<Utc>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Makes a token; the secret is in nobody's hands but the caller's.
pub async fn create(
    conn: &mut PgConnection,
    account: AccountId,
    name: &str,
    scope: Scope,
    expires_at: Option<DateTime<Utc>>,
) -> sqlx::Result<(TokenId, Secret)> {
    let (id, secret) = (TokenId::new(), Secret::new(PREFIX));
    sqlx::query!(
        "insert into api_token (id, account_id, name, prefix, token_sha256, scope, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        id.0,
        account.0,
        name,
        &secret.expose()[..SHOWN],
        secret.sha256(),
        scope as _,
        expires_at
    )
    .execute(conn)
    .await?;
    Ok((id, secret))
}

/// Why a token was not made.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("a token's name has 1 to 100 characters")]
    BadName,
    #[error("a token lives 1 to 3650 days, or without end")]
    BadLifetime,
    #[error("this account has 50 live tokens")]
    TooMany,
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl TokenError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            TokenError::BadName => Some("bad_token_name"),
            TokenError::BadLifetime => Some("bad_token_lifetime"),
            TokenError::TooMany => Some("too_many_tokens"),
            TokenError::Database(_) => None,
        }
    }
}

/// Live tokens of an account at most: more than anybody can keep in view.
const MOST: i64 = 50;

/// Makes a token as its owner asks for it, for so many days.
pub async fn make(
    conn: &mut PgConnection,
    account: AccountId,
    name: &str,
    scope: Scope,
    days: Option<u32>,
) -> Result<(TokenId, Secret), TokenError> {
    let name = name.trim();
    if !(1..=100).contains(&name.chars().count()) {
        return Err(TokenError::BadName);
    }
    if days.is_some_and(|days| !(1..=3650).contains(&days)) {
        return Err(TokenError::BadLifetime);
    }
    let live = sqlx::query_scalar!(
        r#"select count(*) as "n!" from api_token
           where account_id = $1 and revoked_at is null and (expires_at is null or expires_at > now())"#,
        account.0
    )
    .fetch_one(&mut *conn)
    .await?;
    if live >= MOST {
        return Err(TokenError::TooMany);
    }
    let expires_at = days.map(|days| Utc::now() + chrono::Duration::days(days.into()));
    Ok(create(conn, account, name, scope, expires_at).await?)
}

/// Whose a token is and what it may do; `None`: unknown, expired or revoked, which a caller cannot tell apart.
pub async fn authenticate(conn: &mut PgConnection, secret: &str) -> sqlx::Result<Option<(TokenId, Account, Scope)>> {
    let sha256 = secret::digest(secret);
    let row = sqlx::query!(
        r#"select t.id as "token: TokenId", t.scope as "scope: Scope",
                  t.last_used_at is null or t.last_used_at < now() - interval '1 minute' as "stale!",
                  a.id as "id: AccountId", a.name, a.email, a.is_organizer, a.created_at,
                  array(select challenge_id from challenge_organizer where account_id = a.id)
                      as "organizes!: Vec<ChallengeId>"
           from api_token t join account a on a.id = t.account_id
           where t.token_sha256 = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())
             and a.disabled_at is null"#,
        sha256
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.stale {
        sqlx::query!("update api_token set last_used_at = now() where id = $1", row.token.0).execute(conn).await?;
    }
    let account = Account {
        id: row.id,
        name: row.name,
        email: row.email,
        is_organizer: row.is_organizer,
        organizes: row.organizes,
        created_at: row.created_at,
    };
    Ok(Some((row.token, account, row.scope)))
}

/// Newest first, revoked ones included.
pub async fn list(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Token>> {
    sqlx::query_as!(
        Token,
        r#"select id as "id: _", name, prefix, scope as "scope: _", created_at, last_used_at, expires_at, revoked_at
           from api_token where account_id = $1 order by id desc"#,
        account.0
    )
    .fetch_all(conn)
    .await
}

/// Ends a token at once; false: the account has no such token.
pub async fn revoke(conn: &mut PgConnection, account: AccountId, id: TokenId) -> sqlx::Result<bool> {
    let done = sqlx::query!(
        "update api_token set revoked_at = coalesce(revoked_at, now()) where id = $1 and account_id = $2",
        id.0,
        account.0
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
