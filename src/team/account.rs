//! Accounts: who somebody is.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use thiserror::Error;
use utoipa::ToSchema;

use super::{name, password};
use crate::{
    db,
    ids::{AccountId, ChallengeId},
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    /// Unproven until `email_confirmed_at`.
    pub email: Option<String>,
    /// Runs every challenge, makes new ones and helps accounts.
    pub is_organizer: bool,
    /// The challenges that it runs beyond that.
    #[serde(skip)]
    pub organizes: Vec<ChallengeId>,
    pub created_at: DateTime<Utc>,
}

impl Account {
    /// Whether it runs this challenge.
    pub fn organizes(&self, challenge: ChallengeId) -> bool {
        self.is_organizer || self.organizes.contains(&challenge)
    }
}

#[derive(Debug, Clone, Default)]
pub struct NewAccount {
    pub name: String,
    pub email: Option<String>,
    /// `None`: signs in by token only.
    pub password: Option<String>,
    pub is_organizer: bool,
}

/// Why an account was not made or changed.
#[derive(Debug, Error)]
pub enum AccountError {
    #[error("this name is taken")]
    Taken,
    #[error("this name looks like that of another account")]
    LooksAlike,
    #[error("a name has 1 to 64 letters, digits and single spaces or _ . - between them")]
    BadName,
    #[error("this is no mail address")]
    BadEmail,
    #[error("a password has 8 to 256 characters")]
    BadPassword,
    #[error("this password is among the first that a guesser tries")]
    GuessablePassword,
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
            AccountError::LooksAlike => Some("name_looks_alike"),
            AccountError::BadName => Some("bad_account_name"),
            AccountError::BadEmail => Some("bad_email"),
            AccountError::BadPassword => Some("bad_password"),
            AccountError::GuessablePassword => Some("guessable_password"),
            AccountError::Database(_) | AccountError::Other(_) => None,
        }
    }

    /// The field at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            AccountError::Taken | AccountError::LooksAlike | AccountError::BadName => Some("name"),
            AccountError::BadEmail => Some("email"),
            AccountError::BadPassword | AccountError::GuessablePassword => Some("password"),
            AccountError::Database(_) | AccountError::Other(_) => None,
        }
    }
}

impl From<sqlx::Error> for AccountError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("account_name_key") => AccountError::Taken,
            Some("account_look_key") => AccountError::LooksAlike,
            Some("account_name_check") => AccountError::BadName,
            Some("account_email_check") => AccountError::BadEmail,
            _ => AccountError::Database(error),
        }
    }
}

pub async fn create(conn: &mut PgConnection, mut new: NewAccount) -> Result<AccountId, AccountError> {
    check(&mut new)?;
    let hash = match new.password.take() {
        Some(password) => Some(password::hash(password).await?),
        None => None,
    };
    insert(conn, new, hash).await
}

/// Tidies a new account's mail address, and says what is wrong with its fields.
pub(super) fn check(new: &mut NewAccount) -> Result<(), AccountError> {
    if !is_name(&new.name) {
        return Err(AccountError::BadName);
    }
    new.email = new.email.take().map(|email| email.trim().to_owned()).filter(|email| !email.is_empty());
    if new.email.as_deref().is_some_and(|email| !is_email(email)) {
        return Err(AccountError::BadEmail);
    }
    match &new.password {
        Some(password) => check_password(password, &new.name, new.email.as_deref()),
        None => Ok(()),
    }
}

/// Whether a new password is good enough.
pub(super) fn check_password(password: &str, name: &str, email: Option<&str>) -> Result<(), AccountError> {
    if !password::LENGTH.contains(&password.chars().count()) {
        return Err(AccountError::BadPassword);
    }
    if password::is_guessable(password, name, email) {
        return Err(AccountError::GuessablePassword);
    }
    Ok(())
}

/// Writes a checked account down.
pub(super) async fn insert(
    conn: &mut PgConnection,
    new: NewAccount,
    hash: Option<String>,
) -> Result<AccountId, AccountError> {
    let NewAccount { name, email, password: _, is_organizer } = new;
    let id = AccountId::new();
    sqlx::query!(
        "insert into account (id, name, email, password_hash, is_organizer, look) values ($1, $2, $3, $4, $5, $6)",
        id.0,
        name,
        email,
        hash,
        is_organizer,
        name::look(&name)
    )
    .execute(conn)
    .await?;
    Ok(id)
}

/// What a person may be called. No @, so that no name looks like another's mail address.
fn is_name(name: &str) -> bool {
    let edges = name.starts_with(' ') || name.ends_with(' ') || name.contains("  ");
    !edges && name::checked(name).is_some() && !name.contains('@') && (1..=64).contains(&name.chars().count())
}

fn is_email(email: &str) -> bool {
    email.len() <= 254 && email.parse::<lettre::Address>().is_ok()
}

pub async fn get(conn: &mut PgConnection, id: AccountId) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select id as "id: _", name, email, is_organizer, created_at,
                  array(select challenge_id from challenge_organizer where account_id = account.id) as "organizes!: _"
           from account where id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// By login name, without regard to case.
pub async fn by_name(conn: &mut PgConnection, name: &str) -> sqlx::Result<Option<Account>> {
    sqlx::query_as!(
        Account,
        r#"select id as "id: _", name, email, is_organizer, created_at,
                  array(select challenge_id from challenge_organizer where account_id = account.id) as "organizes!: _"
           from account where lower(name) = lower($1)"#,
        name
    )
    .fetch_optional(conn)
    .await
}

/// Those that state this mail address and are not shut out.
pub async fn by_email(conn: &mut PgConnection, email: &str) -> sqlx::Result<Vec<Account>> {
    sqlx::query_as!(
        Account,
        r#"select id as "id: _", name, email, is_organizer, created_at,
                  array(select challenge_id from challenge_organizer where account_id = account.id) as "organizes!: _"
           from account
           where lower(email) = lower($1) and disabled_at is null order by id limit 10"#,
        email
    )
    .fetch_all(conn)
    .await
}

/// States another mail address, unproven, or none.
pub async fn set_email(conn: &mut PgConnection, id: AccountId, email: Option<&str>) -> Result<(), AccountError> {
    let email = email.map(str::trim).filter(|email| !email.is_empty());
    if email.is_some_and(|email| !is_email(email)) {
        return Err(AccountError::BadEmail);
    }
    sqlx::query!(
        "update account set email = $2, email_confirmed_at = case when lower(email) = lower($2) then email_confirmed_at end
         where id = $1",
        id.0,
        email
    )
    .execute(&mut *conn)
    .await?;
    // A link that lies in another mailbox proves nothing of this one.
    sqlx::query!("delete from reset_link where account_id = $1 and mailed", id.0).execute(conn).await?;
    Ok(())
}

/// Whether announcements go to it by mail.
pub async fn wants_mails(conn: &mut PgConnection, id: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar!("select announcements_by_mail from account where id = $1", id.0).fetch_one(conn).await
}

pub async fn set_mails(conn: &mut PgConnection, id: AccountId, wanted: bool) -> sqlx::Result<()> {
    sqlx::query!("update account set announcements_by_mail = $2 where id = $1", id.0, wanted).execute(conn).await?;
    Ok(())
}

/// Stops the mails of the account that this key was mailed to; whether there is one.
pub async fn stop_mails(conn: &mut PgConnection, key: uuid::Uuid) -> sqlx::Result<bool> {
    let done = sqlx::query!("update account set announcements_by_mail = false where mail_key = $1", key);
    Ok(done.execute(conn).await?.rows_affected() > 0)
}

/// Shuts an account out, or lets it in again. Its sessions end; its entries stay.
pub async fn set_disabled(conn: &mut PgConnection, id: AccountId, disabled: bool) -> sqlx::Result<()> {
    sqlx::query!(
        "update account set disabled_at = case when $2 then coalesce(disabled_at, now()) end where id = $1",
        id.0,
        disabled
    )
    .execute(&mut *conn)
    .await?;
    if disabled {
        super::session::end_all(conn, id).await?;
    }
    Ok(())
}
