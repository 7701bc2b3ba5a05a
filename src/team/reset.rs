//! Links that set a new password, once: made by an organizer, or mailed to the account's address.

use std::{net::IpAddr, time::Duration};

use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{
    account::{self, Account, AccountError},
    attempt::{self, Kind, TooMany},
    password,
    secret::{self, Secret},
    session, sign_in,
};
use crate::ids::AccountId;

/// How long a link works that an organizer hands over by whatever way.
pub const HANDED: Duration = Duration::from_secs(24 * 3600);
/// How long a mailed one does.
pub const MAILED: Duration = Duration::from_secs(3600);

/// Who made a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    Organizer(AccountId),
    Shell,
    Mail,
}

/// Makes a link for an account; the secret is shown or mailed once.
pub async fn create(conn: &mut PgConnection, account: AccountId, maker: Maker) -> sqlx::Result<Secret> {
    let secret = Secret::new("");
    let (mailed, made_by, lifetime) = match maker {
        Maker::Organizer(id) => (false, Some(id.0), HANDED),
        Maker::Shell => (false, None, HANDED),
        Maker::Mail => (true, None, MAILED),
    };
    sqlx::query!(
        "insert into reset_link (id, account_id, token_sha256, mailed, made_by, expires_at)
         values ($1, $2, $3, $4, $5, now() + make_interval(secs => $6))",
        Uuid::now_v7(),
        account.0,
        secret.sha256(),
        mailed,
        made_by,
        lifetime.as_secs_f64()
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!("delete from reset_link where expires_at <= now()").execute(conn).await?;
    tracing::info!(account = %account, maker = ?maker, "a reset link was made");
    Ok(secret)
}

/// Whose password a link sets; `None`: unknown, used or expired.
pub async fn find(conn: &mut PgConnection, key: &str) -> sqlx::Result<Option<Account>> {
    let id = sqlx::query_scalar!(
        r#"select l.account_id as "id: AccountId" from reset_link l join account a on a.id = l.account_id
           where l.token_sha256 = $1 and l.expires_at > now() and a.disabled_at is null"#,
        secret::digest(key)
    )
    .fetch_optional(&mut *conn)
    .await?;
    match id {
        Some(id) => account::get(conn, id).await,
        None => Ok(None),
    }
}

/// Sets the new password and ends every session; the link is used up by it. `None`: there is no such link.
pub async fn redeem(pool: &PgPool, key: &str, new: String) -> Result<Option<Account>, AccountError> {
    let Some(account) = find(&mut *pool.acquire().await?, key).await? else { return Ok(None) };
    account::check_password(&new, &account.name, account.email.as_deref())?;
    let hash = password::hash(new).await?;
    let mut tx = pool.begin().await?;
    // Whoever deletes the row has used the link.
    let mailed = sqlx::query_scalar!(
        "delete from reset_link where token_sha256 = $1 and expires_at > now() returning mailed",
        secret::digest(key)
    )
    .fetch_optional(&mut *tx)
    .await?;
    let Some(mailed) = mailed else { return Ok(None) };
    sign_in::store(&mut tx, account.id, &hash).await?;
    session::end_all(&mut tx, account.id).await?;
    if mailed {
        sqlx::query!(
            "update account set email_confirmed_at = coalesce(email_confirmed_at, now()) where id = $1",
            account.id.0
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    tracing::info!(account = %account.id, "a password was set by a link");
    Ok(Some(account))
}

/// Counts a request for a mail with a link; `Ok(false)`: the address has had mails enough, which the asker is not told.
pub async fn admit(pool: &PgPool, email: &str, from: IpAddr) -> sqlx::Result<Result<bool, TooMany>> {
    match attempt::admit(pool, Kind::Reset, &attempt::unknown(email.trim()), from).await? {
        Ok(_) => Ok(Ok(true)),
        Err(TooMany { of_subject: true, .. }) => Ok(Ok(false)),
        Err(too_many) => Ok(Err(too_many)),
    }
}

/// What is mailed to an address that somebody typed in.
#[derive(Debug)]
pub struct Links {
    /// As the account states it: not one that only looks the same without case.
    pub email: String,
    /// Account name and secret, of each account that states the address.
    pub links: Vec<(String, Secret)>,
}

/// Makes the links for an address; `None`: no account states it.
pub async fn for_email(conn: &mut PgConnection, email: &str) -> sqlx::Result<Option<Links>> {
    let accounts = account::by_email(conn, email.trim()).await?;
    let Some(email) = accounts.first().and_then(|a| a.email.clone()) else { return Ok(None) };
    let mut links = Vec::new();
    for account in accounts.into_iter().filter(|a| a.email.as_deref() == Some(&email)) {
        links.push((account.name, create(conn, account.id, Maker::Mail).await?));
    }
    Ok(Some(Links { email, links }))
}
