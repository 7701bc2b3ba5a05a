//! Joining a challenge: by oneself, which makes a team of one, or by a team's invitation; and an organizer's word where the
//! challenge asks for one.
//!
//! Whoever leaves a team that has sent entries in may come back to it and join no other: a second team would be a second
//! quota.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Acquire, PgConnection, PgPool};
use utoipa::ToSchema;

use super::{Role, TeamError, account::Account, add_member, create, invitation, name};
use crate::{
    audit::{self, Act, Actor},
    challenge::joining::{self, JoinPolicy, Joining},
    ids::{AccountId, ChallengeId, TeamId},
};

/// Where an account stands in a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type, ToSchema)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// For an organizer's word.
    Waiting,
    Joined,
    Declined,
    /// Taken out by an organizer; may ask again.
    Removed,
    /// Neither joins, nor submits, nor accepts invitations.
    Banned,
}

/// What came of joining.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joined {
    In(TeamId),
    Waiting,
}

/// An account that waits for an organizer's word.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Waiting {
    pub challenge: String,
    pub account: AccountId,
    pub account_name: String,
    /// The team to be made, or the one whose invitation was accepted.
    pub team: Option<String>,
    pub asked_at: DateTime<Utc>,
}

struct Row {
    state: State,
    ban_reason: Option<String>,
    bound_to: Option<TeamId>,
}

async fn row(conn: &mut PgConnection, challenge: ChallengeId, account: AccountId) -> sqlx::Result<Option<Row>> {
    sqlx::query_as!(
        Row,
        r#"select state as "state: _", ban_reason, bound_to as "bound_to: _" from participant
           where challenge_id = $1 and account_id = $2 for update"#,
        challenge.0,
        account.0
    )
    .fetch_optional(conn)
    .await
}

/// `None`: it has not asked; also where an organizer put it into a team.
pub async fn state(conn: &mut PgConnection, challenge: ChallengeId, account: AccountId) -> sqlx::Result<Option<State>> {
    sqlx::query_scalar!(
        r#"select state as "state: State" from participant where challenge_id = $1 and account_id = $2"#,
        challenge.0,
        account.0
    )
    .fetch_optional(conn)
    .await
}

/// Joins a challenge by a team of one's own, called `name`. `terms` names the terms that were accepted.
pub async fn join(
    pool: &PgPool,
    challenge: ChallengeId,
    account: &Account,
    name: &str,
    terms: Option<&str>,
) -> Result<Joined, TeamError> {
    let mut tx = pool.begin().await?;
    let rules = joining::get(&mut tx, challenge).await?;
    let known = admit(&mut tx, challenge, account, &rules, terms, None).await?;
    let name = name::checked(name).ok_or(TeamError::BadName)?;
    if rules.policy == JoinPolicy::Approval && known != Some(State::Joined) {
        let other = sqlx::query!(
            r#"select bool_or(lower(name) = lower($2)) as taken, bool_or(look = $3) as alike
               from team where challenge_id = $1"#,
            challenge.0,
            name,
            name::look(name)
        )
        .fetch_one(&mut *tx)
        .await?;
        if other.taken == Some(true) {
            return Err(TeamError::NameTaken);
        }
        if other.alike == Some(true) {
            return Err(TeamError::NameLooksAlike);
        }
        ask(&mut tx, challenge, account.id, terms, Some(name), None).await?;
        tx.commit().await?;
        return Ok(Joined::Waiting);
    }
    let team = create(&mut tx, challenge, name, account.id).await?;
    joined(&mut tx, challenge, account.id, terms).await?;
    tx.commit().await?;
    tracing::info!(account = %account.id, %team, "an account joined a challenge");
    Ok(Joined::In(team))
}

/// Joins a team by its invitation. Whoever is in it already stays in, and uses nothing up.
pub async fn accept(pool: &PgPool, key: &str, account: &Account, terms: Option<&str>) -> Result<Joined, TeamError> {
    let mut tx = pool.begin().await?;
    let target = invitation::find(&mut tx, key).await?.ok_or(TeamError::LinkNotFound)?;
    if super::is_member(&mut tx, target.team, account.id).await? {
        return Ok(Joined::In(target.team));
    }
    let rules = joining::get(&mut tx, target.challenge).await?;
    let known = admit(&mut tx, target.challenge, account, &rules, terms, Some(target.team)).await?;
    invitation::used(&mut tx, target.id).await?;
    if rules.policy == JoinPolicy::Approval && known != Some(State::Joined) {
        ask(&mut tx, target.challenge, account.id, terms, None, Some(target.team)).await?;
        tx.commit().await?;
        return Ok(Joined::Waiting);
    }
    add_member(&mut tx, target.team, account.id, Role::Member).await?;
    joined(&mut tx, target.challenge, account.id, terms).await?;
    tx.commit().await?;
    tracing::info!(account = %account.id, team = %target.team, "an account joined a team");
    Ok(Joined::In(target.team))
}

/// Whether the account may ask at all; gives where it stands.
async fn admit(
    tx: &mut PgConnection,
    challenge: ChallengeId,
    account: &Account,
    rules: &Joining,
    terms: Option<&str>,
    into: Option<TeamId>,
) -> Result<Option<State>, TeamError> {
    let known = row(tx, challenge, account.id).await?;
    if let Some(Row { ban_reason: Some(reason), .. }) = known {
        return Err(TeamError::Banned(reason));
    }
    let present = rules.terms_sha256();
    match (&present, terms) {
        (Some(_), None) => return Err(TeamError::TermsNotAccepted),
        (present, given) if present.as_deref() != given => return Err(TeamError::TermsChanged),
        _ => {}
    }
    if super::of_account(tx, challenge, account.id).await?.is_some() {
        return Err(TeamError::InATeam);
    }
    match known {
        Some(Row { state: State::Declined, .. }) => Err(TeamError::Declined),
        Some(Row { bound_to: Some(bound), .. }) if into != Some(bound) => Err(TeamError::Bound),
        known => Ok(known.map(|row| row.state)),
    }
}

/// Notes that an account waits; a second request takes the place of the first.
async fn ask(
    tx: &mut PgConnection,
    challenge: ChallengeId,
    account: AccountId,
    terms: Option<&str>,
    name: Option<&str>,
    team: Option<TeamId>,
) -> Result<(), TeamError> {
    sqlx::query!(
        "insert into participant (challenge_id, account_id, terms_sha256, state, wanted_name, wanted_team)
         values ($1, $2, $3, 'waiting', $4, $5)
         on conflict (challenge_id, account_id) do update
         set terms_sha256 = $3, accepted_at = now(), state = 'waiting', wanted_name = $4, wanted_team = $5",
        challenge.0,
        account.0,
        terms,
        name,
        team.map(|id| id.0)
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Notes that an account is in.
async fn joined(
    tx: &mut PgConnection,
    challenge: ChallengeId,
    account: AccountId,
    terms: Option<&str>,
) -> Result<(), TeamError> {
    sqlx::query!(
        "insert into participant (challenge_id, account_id, terms_sha256, state) values ($1, $2, $3, 'joined')
         on conflict (challenge_id, account_id) do update
         set terms_sha256 = $3, accepted_at = now(), state = 'joined', wanted_name = null, wanted_team = null",
        challenge.0,
        account.0,
        terms
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Binds an account that leaves a team with entries to that team.
pub(super) async fn bind(
    tx: &mut PgConnection,
    challenge: ChallengeId,
    account: AccountId,
    team: TeamId,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into participant (challenge_id, account_id, state, bound_to) values ($1, $2, 'joined', $3)
         on conflict (challenge_id, account_id) do update set bound_to = $3",
        challenge.0,
        account.0,
        team.0
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Why an account is banned from a challenge; `None`: it is not.
pub async fn ban(conn: &mut PgConnection, challenge: ChallengeId, account: AccountId) -> sqlx::Result<Option<String>> {
    let row = sqlx::query_scalar!(
        "select ban_reason from participant where challenge_id = $1 and account_id = $2",
        challenge.0,
        account.0
    );
    Ok(row.fetch_optional(conn).await?.flatten())
}

/// The challenges that an account is banned from: title and reason.
pub async fn bans_of(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<(String, String)>> {
    let rows = sqlx::query!(
        r#"select c.title, p.ban_reason as "reason!" from participant p join challenge c on c.id = p.challenge_id
           where p.account_id = $1 and p.state = 'banned' order by c.title"#,
        account.0
    );
    Ok(rows.fetch_all(conn).await?.into_iter().map(|row| (row.title, row.reason)).collect())
}

/// Those who wait, longest first; in these challenges or in all.
pub async fn waiting(conn: &mut PgConnection, challenges: Option<&[ChallengeId]>) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"select c.slug as challenge, p.account_id as "account: _", a.name as account_name,
                  coalesce(t.name, p.wanted_name) as team, p.accepted_at as asked_at
           from participant p join challenge c on c.id = p.challenge_id join account a on a.id = p.account_id
           left join team t on t.id = p.wanted_team
           where p.state = 'waiting' and ($1::uuid[] is null or p.challenge_id = any($1))
           order by p.accepted_at, p.account_id"#,
        challenges as _
    )
    .fetch_all(conn)
    .await
}

/// The titles of the challenges where an account waits.
pub async fn waiting_of(conn: &mut PgConnection, account: AccountId) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar!(
        "select c.title from participant p join challenge c on c.id = p.challenge_id
         where p.account_id = $1 and p.state = 'waiting' order by p.accepted_at",
        account.0
    )
    .fetch_all(conn)
    .await
}

/// An organizer's word on an account that waits, or was declined before: lets it into the team it asked for, or declines for a
/// reason.
pub async fn decide(
    pool: &PgPool,
    challenge: ChallengeId,
    account: AccountId,
    let_in: bool,
    reason: &str,
    by: &Actor,
) -> Result<(), TeamError> {
    // Who is let in needs no reason; who is not, does.
    let reason = match (let_in, reason.trim()) {
        (true, "") => "",
        (_, reason) => audit::reason(reason).ok_or(TeamError::BadReason)?,
    };
    let mut tx = pool.begin().await?;
    let asked = sqlx::query!(
        r#"select p.wanted_name, p.wanted_team as "wanted_team: TeamId", a.name from participant p
           join account a on a.id = p.account_id
           where p.challenge_id = $1 and p.account_id = $2 and p.state in ('waiting', 'declined') for update of p"#,
        challenge.0,
        account.0
    )
    .fetch_optional(&mut *tx)
    .await?
    .ok_or(TeamError::NotWaiting)?;
    if let_in {
        match asked.wanted_team {
            Some(team) => add_member(&mut tx, team, account, Role::Member).await?,
            None => {
                let name = asked.wanted_name.as_ref().unwrap_or(&asked.name);
                create_with_free_name(&mut tx, challenge, name, account).await?;
            }
        }
    }
    sqlx::query!(
        "update participant set state = $3, decided_by = $4, decided_at = now(),
             wanted_name = case when $5 then null else wanted_name end,
             wanted_team = case when $5 then null else wanted_team end
         where challenge_id = $1 and account_id = $2",
        challenge.0,
        account.0,
        (if let_in { State::Joined } else { State::Declined }) as _,
        by.account().map(|id| id.0),
        let_in
    )
    .execute(&mut *tx)
    .await?;
    let action = if let_in { "participant.approve" } else { "participant.decline" };
    audit::note(&mut tx, by, Act::of(challenge, action, &asked.name).because(reason)).await?;
    tx.commit().await?;
    tracing::info!(%account, %challenge, let_in, "an organizer decided who takes part");
    Ok(())
}

/// The name may have been taken while the account waited: then with a number.
async fn create_with_free_name(
    tx: &mut PgConnection,
    challenge: ChallengeId,
    name: &str,
    owner: AccountId,
) -> Result<(), TeamError> {
    for n in 1..=20 {
        let numbered =
            if n == 1 { name.to_owned() } else { format!("{} {n}", name.chars().take(96).collect::<String>()) };
        let mut step = tx.begin().await?;
        match create(&mut step, challenge, &numbered, owner).await {
            Ok(_) => return Ok(step.commit().await?),
            Err(TeamError::NameTaken) => step.rollback().await?,
            Err(error) => return Err(error),
        }
    }
    Err(TeamError::NameTaken)
}
