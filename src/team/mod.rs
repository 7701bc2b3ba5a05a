//! Who takes part: accounts, their sign-ins and tokens, and teams, one per account and challenge.

pub mod account;
pub mod secret;
pub mod session;
pub mod token;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use thiserror::Error;
use utoipa::ToSchema;

use crate::{
    db,
    ids::{AccountId, ChallengeId, TeamId},
};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Team {
    pub id: TeamId,
    pub challenge: ChallengeId,
    pub name: String,
    pub created_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Role {
    /// Invites, renames, removes.
    Owner,
    Member,
}

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Member {
    pub account: AccountId,
    pub name: String,
    pub role: Role,
    pub joined_at: DateTime<Utc>,
}

/// Why a team was not made or joined.
#[derive(Debug, Error)]
pub enum TeamError {
    #[error("a team of this name takes part already")]
    NameTaken,
    #[error("a team's name has 1 to 100 characters and neither starts nor ends with a space")]
    BadName,
    #[error("this account is in a team of this challenge already")]
    InATeam,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl TeamError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            TeamError::NameTaken => Some("team_name_taken"),
            TeamError::BadName => Some("bad_team_name"),
            TeamError::InATeam => Some("already_in_a_team"),
            TeamError::Database(_) => None,
        }
    }
}

impl From<sqlx::Error> for TeamError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("team_name_key") => TeamError::NameTaken,
            Some("team_name_check") => TeamError::BadName,
            Some("membership_one_team" | "membership_pkey") => TeamError::InATeam,
            _ => TeamError::Database(error),
        }
    }
}

/// Makes a team with `owner` as its first member. Call it in a transaction: a failure leaves a team without members.
pub async fn create(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    name: &str,
    owner: AccountId,
) -> Result<TeamId, TeamError> {
    let id = TeamId::new();
    sqlx::query!("insert into team (id, challenge_id, name) values ($1, $2, $3)", id.0, challenge.0, name)
        .execute(&mut *conn)
        .await?;
    join(conn, id, owner, Role::Owner).await?;
    Ok(id)
}

pub async fn join(conn: &mut PgConnection, team: TeamId, account: AccountId, role: Role) -> Result<(), TeamError> {
    sqlx::query!(
        "insert into membership (team_id, challenge_id, account_id, role)
         select id, challenge_id, $2, $3 from team where id = $1",
        team.0,
        account.0,
        role as _
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The account's team in a challenge.
pub async fn of_account(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    account: AccountId,
) -> sqlx::Result<Option<Team>> {
    sqlx::query_as!(
        Team,
        r#"select t.id as "id: _", t.challenge_id as "challenge: _", t.name, t.created_at
           from membership m join team t on t.id = m.team_id where m.challenge_id = $1 and m.account_id = $2"#,
        challenge.0,
        account.0
    )
    .fetch_optional(conn)
    .await
}

/// All teams of an account, newest first.
pub async fn all_of_account(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<Team>> {
    sqlx::query_as!(
        Team,
        r#"select t.id as "id: _", t.challenge_id as "challenge: _", t.name, t.created_at
           from membership m join team t on t.id = m.team_id where m.account_id = $1 order by t.id desc"#,
        account.0
    )
    .fetch_all(conn)
    .await
}

pub async fn get(conn: &mut PgConnection, id: TeamId) -> sqlx::Result<Option<Team>> {
    sqlx::query_as!(
        Team,
        r#"select id as "id: _", challenge_id as "challenge: _", name, created_at from team where id = $1"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// In the order they joined.
pub async fn members(conn: &mut PgConnection, team: TeamId) -> sqlx::Result<Vec<Member>> {
    sqlx::query_as!(
        Member,
        r#"select a.id as "account: _", a.name, m.role as "role: _", m.joined_at
           from membership m join account a on a.id = m.account_id where m.team_id = $1 order by m.joined_at, a.id"#,
        team.0
    )
    .fetch_all(conn)
    .await
}

pub async fn is_member(conn: &mut PgConnection, team: TeamId, account: AccountId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from membership where team_id = $1 and account_id = $2) as "is!""#,
        team.0,
        account.0
    )
    .fetch_one(conn)
    .await
}

/// How many teams take part in a challenge.
pub async fn count(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(r#"select count(*) as "n!" from team where challenge_id = $1"#, challenge.0)
        .fetch_one(conn)
        .await
}
