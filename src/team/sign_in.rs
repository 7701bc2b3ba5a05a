//! Getting in: with a password, counted; making an account, counted; a new password.

use std::net::IpAddr;

use sqlx::PgPool;

use super::{
    account::{self, Account, AccountError, NewAccount},
    attempt::{self, Kind, TooMany},
    password::{self, Work},
    session,
};
use crate::ids::{AccountId, SessionId};

/// What came of a name and a password.
#[derive(Debug)]
pub struct Tried {
    /// `None`: no such account, or not its password, or it is shut out. Which of them is not told.
    pub account: Option<Account>,
    /// What it cost to find out; the same for each of them.
    pub work: Work,
}

/// The account of this name or mail address and password. An unknown name takes the same work as a wrong password, and is
/// counted alike.
pub async fn with_password(
    pool: &PgPool,
    login: &str,
    password: &str,
    from: IpAddr,
) -> anyhow::Result<Result<Tried, TooMany>> {
    let login = login.trim();
    let found = sqlx::query!(
        r#"select id as "id: AccountId", password_hash, disabled_at is not null as "disabled!" from account
           where lower(name) = lower($1) or (lower(email) = lower($1) and strpos($1, '@') > 0)
           order by lower(name) = lower($1) desc, email_confirmed_at is null, created_at, id limit 1"#,
        login
    )
    .fetch_optional(pool)
    .await?;
    let subject = found.as_ref().map_or_else(|| attempt::unknown(login), |row| row.id.to_string());
    let attempt = match attempt::admit(pool, Kind::SignIn, &subject, from).await? {
        Ok(attempt) => attempt,
        Err(too_many) => return Ok(Err(too_many)),
    };
    let (id, stored) = match found {
        Some(row) => (Some(row.id), row.password_hash.filter(|_| !row.disabled)),
        None => (None, None),
    };
    let (matches, work) = password::verify(password.to_owned(), stored).await?;
    let account = match id.filter(|_| matches) {
        Some(id) => {
            attempt.succeeded(pool).await?;
            account::get(&mut *pool.acquire().await?, id).await?
        }
        None => None,
    };
    Ok(Ok(Tried { account, work }))
}

/// Makes an account for whoever asks.
pub async fn sign_up(
    pool: &PgPool,
    mut new: NewAccount,
    from: IpAddr,
) -> Result<Result<AccountId, TooMany>, AccountError> {
    new.is_organizer = false;
    account::check(&mut new)?;
    // Counted once it is well-formed: from then on it costs us something, and tells whether a name is taken.
    if let Err(too_many) = attempt::admit(pool, Kind::SignUp, &attempt::unknown(&new.name), from).await? {
        return Ok(Err(too_many));
    }
    let hash = match new.password.take() {
        Some(password) => Some(password::hash(password).await?),
        None => None,
    };
    let id = account::insert(&mut *pool.acquire().await?, new, hash).await?;
    tracing::info!(account = %id, "an account was made");
    Ok(Ok(id))
}

/// Why a password was not changed.
#[derive(Debug)]
pub enum NotChanged {
    /// The present one was wrong.
    Wrong,
    TooMany(TooMany),
    Account(AccountError),
}

impl<E: Into<AccountError>> From<E> for NotChanged {
    fn from(error: E) -> Self {
        NotChanged::Account(error.into())
    }
}

/// Sets a new password of an account that knows the present one, or has none yet; ends its other sessions and its reset
/// links.
pub async fn change_password(
    pool: &PgPool,
    account: &Account,
    present: &str,
    new: String,
    from: IpAddr,
    keep: Option<SessionId>,
) -> Result<(), NotChanged> {
    let stored = sqlx::query_scalar!("select password_hash from account where id = $1", account.id.0)
        .fetch_optional(pool)
        .await?
        .flatten();
    if stored.is_some() {
        // The same count as at the door: who found a browser open may not guess on here.
        let attempt = attempt::admit(pool, Kind::SignIn, &account.id.to_string(), from).await?;
        let attempt = attempt.map_err(NotChanged::TooMany)?;
        if !password::verify(present.to_owned(), stored).await?.0 {
            return Err(NotChanged::Wrong);
        }
        attempt.succeeded(pool).await?;
    }
    account::check_password(&new, &account.name, account.email.as_deref())?;
    let hash = password::hash(new).await?;
    let mut tx = pool.begin().await?;
    store(&mut tx, account.id, &hash).await?;
    session::end_others(&mut tx, account.id, keep).await?;
    tx.commit().await?;
    tracing::info!(account = %account.id, "a password was changed");
    Ok(())
}

/// Stores a new password; links that would set another end.
pub(super) async fn store(conn: &mut sqlx::PgConnection, account: AccountId, hash: &str) -> sqlx::Result<()> {
    sqlx::query!("update account set password_hash = $2 where id = $1", account.0, hash).execute(&mut *conn).await?;
    sqlx::query!("delete from reset_link where account_id = $1", account.0).execute(conn).await?;
    Ok(())
}

/// Whether an account can sign in with a password.
pub async fn has_password(pool: &PgPool, account: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(r#"select password_hash is not null as "has!" from account where id = $1"#, account.0)
        .fetch_one(pool)
        .await
}
