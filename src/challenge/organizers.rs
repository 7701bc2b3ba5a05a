//! Who runs a challenge beside the administrators. An organizer may name others; the last one cannot take themself out,
//! since only an administrator could then name another.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    audit::{self, Act, Actor},
    db,
    ids::{AccountId, ChallengeId},
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Organizer {
    pub account: AccountId,
    pub name: String,
    pub added_at: DateTime<Utc>,
    /// Who named them; `None`: the shell, or an account that is gone.
    pub added_by: Option<String>,
}

/// Why somebody was not made an organizer, or stays one.
#[derive(Debug, Error)]
pub enum OrganizersError {
    #[error("there is no such account")]
    NoSuchAccount,
    #[error("this account is an organizer of the challenge already")]
    Already,
    #[error("this account is no organizer of the challenge")]
    NotAnOrganizer,
    #[error("the last organizer cannot leave: name another first, or ask an administrator")]
    Last,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl OrganizersError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            OrganizersError::NoSuchAccount => Some("account_not_found"),
            OrganizersError::Already => Some("already_an_organizer"),
            OrganizersError::NotAnOrganizer => Some("not_an_organizer"),
            OrganizersError::Last => Some("last_organizer"),
            OrganizersError::Database(_) => None,
        }
    }
}

impl From<sqlx::Error> for OrganizersError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("challenge_organizer_pkey") => OrganizersError::Already,
            _ => OrganizersError::Database(error),
        }
    }
}

/// In the order they were named.
pub async fn list(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Vec<Organizer>> {
    sqlx::query_as!(
        Organizer,
        r#"select o.account_id as "account: _", a.name, o.added_at, b.name as "added_by?"
           from challenge_organizer o join account a on a.id = o.account_id left join account b on b.id = o.added_by
           where o.challenge_id = $1 order by o.added_at, a.id"#,
        challenge.0
    )
    .fetch_all(conn)
    .await
}

/// Makes the account of this name an organizer.
pub async fn add(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    name: &str,
    by: &Actor,
) -> Result<AccountId, OrganizersError> {
    let mut tx = conn.begin().await?;
    let account =
        sqlx::query!(r#"select id as "id: AccountId", name from account where lower(name) = lower($1)"#, name.trim())
            .fetch_optional(&mut *tx)
            .await?
            .ok_or(OrganizersError::NoSuchAccount)?;
    sqlx::query!(
        "insert into challenge_organizer (challenge_id, account_id, added_by) values ($1, $2, $3)",
        challenge.0,
        account.id.0,
        by.account().map(|id| id.0)
    )
    .execute(&mut *tx)
    .await?;
    let details = serde_json::json!({ "account": account.id });
    audit::note(&mut tx, by, Act::of(challenge, "organizer.add", &account.name).with(details)).await?;
    tx.commit().await?;
    tracing::info!(account = %account.id, %challenge, "a challenge has another organizer");
    Ok(account.id)
}

/// Takes an organizer out. `all`: whoever does it runs every challenge, and may take the last one out.
pub async fn remove(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    account: AccountId,
    by: &Actor,
    all: bool,
) -> Result<(), OrganizersError> {
    let mut tx = conn.begin().await?;
    // Two who take each other out at once wait here.
    sqlx::query!("select id from challenge where id = $1 for update", challenge.0).fetch_one(&mut *tx).await?;
    let organizers = list(&mut tx, challenge).await?;
    let found = organizers.iter().find(|o| o.account == account).ok_or(OrganizersError::NotAnOrganizer)?;
    if organizers.len() == 1 && !all {
        return Err(OrganizersError::Last);
    }
    sqlx::query!("delete from challenge_organizer where challenge_id = $1 and account_id = $2", challenge.0, account.0)
        .execute(&mut *tx)
        .await?;
    let details = serde_json::json!({ "account": account });
    audit::note(&mut tx, by, Act::of(challenge, "organizer.remove", &found.name).with(details)).await?;
    tx.commit().await?;
    tracing::info!(%account, %challenge, "a challenge has an organizer less");
    Ok(())
}
