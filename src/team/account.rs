//! Accounts and their passwords.

use anyhow::Context;
use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use thiserror::Error;
use tokio::sync::Semaphore;
use utoipa::ToSchema;

use crate::{db, ids::AccountId};

/// Argon2id takes 19 MiB a time: so many at once at most, so that a flood of sign-ins does not take the memory.
static HASHING: Semaphore = Semaphore::const_new(4);

/// Checked in place of an unknown account's, so that the time tells nothing about which names exist.
const DUMMY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$9ZDHlhTmR3nBHG6BmGdoRDVoYdLbeVbWcLuZVdCQ8Xc";

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub email: Option<String>,
    pub is_organizer: bool,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    pub name: String,
    pub email: Option<String>,
    /// `None`: signs in by token only.
    pub password: Option<String>,
    pub is_organizer: bool,
}

/// Why an account was not made.
#[derive(Debug, Error)]
pub enum AccountError {
    #[error("this name or address is taken")]
    Taken,
    #[error("a name has 1 to 64 letters, digits, spaces and _ . @ -")]
    BadName,
    #[error("a password has 8 to 256 characters")]
    BadPassword,
    #[error(transparent)]
    Database(sqlx::Error),
    #[error(transparent)]
    Other(#[from] anyhow::Error),
}

impl AccountError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            AccountError::Taken => Some("account_taken"),
            AccountError::BadName => Some("bad_account_name"),
            AccountError::BadPassword => Some("bad_password"),
            AccountError::Database(_) | AccountError::Other(_) => None,
        }
    }
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("account_name_key" | "account_email_key") => AccountError::Taken,
            Some("account_name_check" | "account_email_check") => AccountError::BadName,
            _ => AccountError::Database(error),
        }
    }
}

pub async fn create(conn: &mut PgConnection, new: NewAccount) -> Result<AccountId, AccountError> {
    let NewAccount { name, email, password, is_organizer } = new;
    let hash = match password {
        Some(p) if !(8..=256).contains(&p.chars().count()) => return Err(AccountError::BadPassword),
        Some(p) => Some(hash(p).await?),
        None => None,
    };
    let id = AccountId::new();
    sqlx::query!(
        "insert into account (id, name, email, password_hash, is_organizer) values ($1, $2, $3, $4, $5)",
        id.0,
        name,
        email,
        hash,
        is_organizer
    )
    .execute(conn)
    .await?;
    Ok(id)
}

pub async fn get(conn: &mut PgConnection, id: AccountId) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select id as "id: _", name, email, is_organizer, created_at from account where id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// By login name, without regard to case.
pub async fn by_name(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select id as "id: _", name, email, is_organizer, created_at from account where lower(name) = lower($1)"#,
        name
    )
    .fetch_optional(conn)
    .await
}

/// The account of this name and password. An unknown name takes as long as a wrong password.
pub async fn sign_in(conn: &mut PgConnection, name: &str, password: &str) -> anyhow::Result<Option<Account>> {
    let stored = sqlx::query_scalar!("select password_hash from account where lower(name) = lower($1)", name)
        .fetch_optional(&mut *conn)
        .await?
        .flatten();
    let known = stored.is_some();
    let matches = verify(password.to_owned(), stored.unwrap_or_else(|| DUMMY.to_owned())).await?;
    if known && matches { Ok(by_name(conn, name).await?) } else { Ok(None) }
}

async fn hash(password: String) -> anyhow::Result<String> {
    let _permit = HASHING.acquire().await?;
    tokio::task::spawn_blocking(move || {
        let hash = Argon2::default().hash_password(password.as_bytes());
        hash.map(|h| h.to_string()).map_err(|e| anyhow::anyhow!("hashing a password: {e}"))
    })
    .await?
}

async fn verify(password: String, stored: String) -> anyhow::Result<bool> {
    let _permit = HASHING.acquire().await?;
    tokio::task::spawn_blocking(move || {
        let hash = PasswordHash::new(&stored).map_err(|e| anyhow::anyhow!("{e}")).context("a stored password hash")?;
        Ok(Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    })
    .await?
}
