//! Who takes part: accounts, their sign-ins and tokens, and teams, one per account and challenge.

pub mod account;
pub mod attempt;
pub mod invitation;
pub mod name;
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
    audit::{self, Act, Power},
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
    #[error("the name looks like that of another team")]
    NameLooksAlike,
    #[error("a team's name has 1 to 100 characters, all of them visible, and neither starts nor ends with a space")]
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
    #[error("only the team's owner may do this")]
    OwnersOnly,
    #[error(transparent)]
    Database(sqlx::Error),
}

impl TeamError {
    /// Stable word for the situation; `None`: a fault of ours.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            TeamError::NameTaken => Some("team_name_taken"),
            TeamError::NameLooksAlike => Some("name_looks_alike"),
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
            TeamError::OwnersOnly => Some("owners_only"),
            TeamError::Database(_) => None,
        }
    }
}

impl From<sqlx::Error> for TeamError {
    fn from(error: sqlx::Error) -> Self {
        match db::broken_constraint(&error) {
            Some("team_name_key") => TeamError::NameTaken,
            Some("team_look_key") => TeamError::NameLooksAlike,
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
    let name = name::checked(name).ok_or(TeamError::BadName)?;
    sqlx::query!(
        "insert into team (id, challenge_id, name, look) values ($1, $2, $3, $4)",
        id.0,
        challenge.0,
        name,
        name::look(name)
    )
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

/// By what right somebody changes a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// They own it; asked again where it is changed, as it may have been handed over since they were let in.
    Owner(AccountId),
    Organizer(Power),
}

impl Right {
    fn power(&self) -> Option<&Power> {
        match self {
            Right::Owner(_) => None,
            Right::Organizer(power) => Some(power),
        }
    }

    /// Call it while the team's row is locked.
    async fn holds(&self, tx: &mut PgConnection, team: TeamId) -> Result<(), TeamError> {
        match self {
            Right::Owner(account) if role(tx, team, *account).await? != Some(Role::Owner) => Err(TeamError::OwnersOnly),
            _ => Ok(()),
        }
    }
}

/// For the audit log: a team is found again by its name and id.
fn act<'a>(challenge: ChallengeId, action: &'static str, object: &'a str, team: TeamId) -> Act<'a> {
    Act::of(challenge, action, object).with(serde_json::json!({ "team": team }))
}

async fn account_name(conn: &mut PgConnection, id: AccountId) -> sqlx::Result<String> {
    Ok(account::get(conn, id).await?.map_or_else(|| id.to_string(), |account| account.name))
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
pub async fn remove(pool: &PgPool, team: TeamId, account: AccountId, right: &Right) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    let Some(locked) = lock(&mut tx, team).await? else { return Err(TeamError::NoSuchMember) };
    right.holds(&mut tx, team).await?;
    match role(&mut tx, team, account).await? {
        None => return Err(TeamError::NoSuchMember),
        Some(Role::Owner) => return Err(TeamError::OwnerLeaves),
        Some(Role::Member) => take_out(&mut tx, team, account, &locked).await?,
    }
    let name = account_name(&mut tx, account).await?;
    audit::note_power(&mut tx, right.power(), act(locked.challenge, "team.remove_member", &name, team)).await?;
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
pub async fn hand_over(pool: &PgPool, team: TeamId, to: AccountId, right: &Right) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    hand_over_by(&mut tx, team, to, right).await?;
    tx.commit().await?;
    Ok(())
}

async fn hand_over_by(tx: &mut PgConnection, team: TeamId, to: AccountId, right: &Right) -> Result<(), TeamError> {
    let Some(locked) = lock(tx, team).await? else { return Err(TeamError::NoSuchMember) };
    right.holds(tx, team).await?;
    if role(tx, team, to).await?.is_none() {
        return Err(TeamError::NoSuchMember);
    }
    hand_over_in(tx, team, to).await?;
    let name = account_name(tx, to).await?;
    audit::note_power(tx, right.power(), act(locked.challenge, "team.hand_over", &name, team)).await?;
    Ok(())
}

/// Renames a team, hands it over, or both: all of it or nothing.
pub async fn change(
    pool: &PgPool,
    team: TeamId,
    name: Option<&str>,
    owner: Option<AccountId>,
    right: &Right,
) -> Result<(), TeamError> {
    let mut tx = pool.begin().await?;
    if let Some(name) = name {
        rename(&mut tx, team, name, right).await?;
    }
    if let Some(owner) = owner {
        hand_over_by(&mut tx, team, owner, right).await?;
    }
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

/// Call it in a transaction.
pub async fn rename(conn: &mut PgConnection, team: TeamId, name: &str, right: &Right) -> Result<(), TeamError> {
    let name = name::checked(name).ok_or(TeamError::BadName)?;
    lock(conn, team).await?;
    right.holds(conn, team).await?;
    let Some(before) = get(conn, team).await? else { return Err(TeamError::NoSuchMember) };
    sqlx::query!("update team set name = $2, look = $3 where id = $1", team.0, name, name::look(name))
        .execute(&mut *conn)
        .await?;
    let act = Act::of(before.challenge, "team.rename", name)
        .with(serde_json::json!({ "team": team, "name": [before.name, name] }));
    audit::note_power(conn, right.power(), act).await?;
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
