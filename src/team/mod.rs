//! Who takes part: accounts, their sign-ins and tokens, and teams, one per account and challenge.

pub mod account;
pub mod attempt;
pub mod invitation;
pub mod participant;
pub mod password;
pub mod people;
pub mod reset;
pub mod secret;
pub mod session;
pub mod sign_in;
pub mod token;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
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

/// Why a team was not made, joined, left or changed.
#[derive(Debug, Error)]
pub enum TeamError {
    #[error("a team of this name takes part already")]
    NameTaken,
    #[error("a team's name has 1 to 100 characters and neither starts nor ends with a space")]
    BadName,
    #[error("this account is in a team of this challenge already")]
    InATeam,
    #[error("this link does not work: it is unknown, used, revoked or too old")]
    LinkNotFound,
    #[error("the challenge has terms, and they were not accepted")]
    TermsNotAccepted,
    #[error("the challenge's terms are not those that were shown")]
    TermsChanged,
    #[error("the organizers declined that this account takes part")]
    Declined,
    #[error("this account left a team that has sent entries in, and may come back to that team only")]
    Bound,
    #[error("the organizers banned this account from the challenge: {0}")]
    Banned(String),
    #[error("this account does not take part in the challenge")]
    NotTakingPart,
    #[error("this account is not banned")]
    NotBanned,
    #[error("a reason has 1 to 2000 characters")]
    BadReason,
    #[error("the team has as many members as the challenge allows")]
    Full,
    #[error("the account does not wait for an organizer's word")]
    NotWaiting,
    #[error("the last member cannot leave a team that has sent entries in")]
    LastMember,
    #[error("an owner hands the team over before leaving it")]
    OwnerLeaves,
    #[error("the team has no such member")]
    NoSuchMember,
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
            TeamError::LinkNotFound => Some("link_not_found"),
            TeamError::TermsNotAccepted => Some("terms_not_accepted"),
            TeamError::TermsChanged => Some("terms_changed"),
            TeamError::Declined => Some("join_declined"),
            TeamError::Bound => Some("bound_to_another_team"),
            TeamError::Banned(_) => Some("banned_here"),
            TeamError::NotTakingPart => Some("not_taking_part"),
            TeamError::NotBanned => Some("not_banned"),
            TeamError::BadReason => Some("bad_reason"),
            TeamError::Full => Some("team_full"),
            TeamError::NotWaiting => Some("not_waiting"),
            TeamError::LastMember => Some("last_member"),
            TeamError::OwnerLeaves => Some("owner_leaves"),
            TeamError::NoSuchMember => Some("no_such_member"),
            TeamError::Database(_) => None,
        }
    }
}

impl From<sqlx::Error> for TeamError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("team_name_key") => TeamError::NameTaken,
            Some("team_name_check" | "participant_wanted_name_check") => TeamError::BadName,
            Some("participant_ban_reason_check") => TeamError::BadReason,
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

/// Adds a member, within the challenge's limit on members. Call it in a transaction: the team's row is locked.
async fn add_member(conn: &mut PgConnection, team: TeamId, account: AccountId, role: Role) -> Result<(), TeamError> {
    let Some(Locked { challenge, members, .. }) = lock(conn, team).await? else { return Err(TeamError::LinkNotFound) };
    let max = sqlx::query_scalar!("select max_members from challenge where id = $1", challenge.0)
        .fetch_one(&mut *conn)
        .await?;
    if max.is_some_and(|max| members >= i64::from(max)) {
        return Err(TeamError::Full);
    }
    join(conn, team, account, role).await
}

/// A team as it is while its row is locked.
struct Locked {
    challenge: ChallengeId,
    members: i64,
    has_entries: bool,
}

/// Whoever changes who is in a team waits here.
async fn lock(conn: &mut PgConnection, team: TeamId) -> sqlx::Result<Option<Locked>> {
    let challenge = sqlx::query_scalar!(
        r#"select challenge_id as "challenge: ChallengeId" from team where id = $1 for update"#,
        team.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(challenge) = challenge else { return Ok(None) };
    // Counted in a statement of its own, which sees what was committed while the lock was waited for.
    let counted = sqlx::query!(
        r#"select (select count(*) from membership where team_id = $1) as "members!",
                  exists (select from submission where team_id = $1) as "has_entries!""#,
        team.0
    )
    .fetch_one(conn)
    .await?;
    Ok(Some(Locked { challenge, members: counted.members, has_entries: counted.has_entries }))
}

/// Leaves a team. Its entries stay with it; a team of one that never sent one in ends.
pub async fn leave(pool: &PgPool, team: TeamId, account: AccountId) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    let Some(locked) = lock(&mut tx, team).await? else { return Err(TeamError::NoSuchMember) };
    let role = role(&mut tx, team, account).await?.ok_or(TeamError::NoSuchMember)?;
    match locked {
        Locked { members: 1, has_entries: true, .. } => return Err(TeamError::LastMember),
        Locked { members: 1, has_entries: false, .. } => {
            sqlx::query!("delete from team where id = $1", team.0).execute(&mut *tx).await?;
        }
        _ if role == Role::Owner => return Err(TeamError::OwnerLeaves),
        locked => take_out(&mut tx, team, account, &locked).await?,
    }
    tx.commit().await?;
    tracing::info!(%account, %team, "an account left a team");
    Ok(())
}

/// Removes a member other than the owner.
pub async fn remove(pool: &PgPool, team: TeamId, account: AccountId) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    let Some(locked) = lock(&mut tx, team).await? else { return Err(TeamError::NoSuchMember) };
    match role(&mut tx, team, account).await? {
        None => return Err(TeamError::NoSuchMember),
        Some(Role::Owner) => return Err(TeamError::OwnerLeaves),
        Some(Role::Member) => take_out(&mut tx, team, account, &locked).await?,
    }
    tx.commit().await?;
    tracing::info!(%account, %team, "a member was removed from a team");
    Ok(())
}

async fn take_out(tx: &mut PgConnection, team: TeamId, account: AccountId, locked: &Locked) -> sqlx::Result<()> {
    sqlx::query!("delete from membership where team_id = $1 and account_id = $2", team.0, account.0)
        .execute(&mut *tx)
        .await?;
    if locked.has_entries {
        participant::bind(tx, locked.challenge, account, team).await?;
    }
    Ok(())
}

/// Makes another member the owner; who was becomes a member.
pub async fn hand_over(pool: &PgPool, team: TeamId, to: AccountId) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    lock(&mut tx, team).await?;
    if role(&mut tx, team, to).await?.is_none() {
        return Err(TeamError::NoSuchMember);
    }
    hand_over_in(&mut tx, team, to).await?;
    tx.commit().await?;
    Ok(())
}

/// `to` is a member, and the team's row is locked.
async fn hand_over_in(tx: &mut PgConnection, team: TeamId, to: AccountId) -> sqlx::Result<()> {
    sqlx::query!(
        "update membership set role = case when account_id = $2 then 'owner' else 'member' end where team_id = $1",
        team.0,
        to.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub async fn rename(conn: &mut PgConnection, team: TeamId, name: &str) -> Result<(), TeamError> {
    sqlx::query!("update team set name = $2 where id = $1", team.0, name.trim()).execute(conn).await?;
    Ok(())
}

/// What an account is in a team; `None`: not in it.
pub async fn role(conn: &mut PgConnection, team: TeamId, account: AccountId) -> sqlx::Result<Option<Role>> {
    sqlx::query_scalar!(
        r#"select role as "role: Role" from membership where team_id = $1 and account_id = $2"#,
        team.0,
        account.0
    )
    .fetch_optional(conn)
    .await
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

/// How many teams take part in each challenge that has any.
pub async fn counts(conn: &mut PgConnection) -> sqlx::Result<HashMap<ChallengeId, i64>> {
    let rows = sqlx::query!(
        r#"select challenge_id as "challenge: ChallengeId", count(*) as "n!" from team group by challenge_id"#
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.challenge, row.n)).collect())
}

/// How many teams take part in a challenge.
pub async fn count(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "n!" from team where challenge_id = $1 and not of_organizers"#,
        challenge.0
    )
    .fetch_one(conn)
    .await
}
