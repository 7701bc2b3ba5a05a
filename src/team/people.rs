//! What organizers do with those who take part: see them all, take one out, ban one. Each act is in the audit log, and none
//! takes an entry away.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool};
use utoipa::ToSchema;

use super::{Role, TeamError, account, hand_over_in, lock, participant::State};
use crate::{
    audit::{self, Act, Actor},
    ids::{AccountId, ChallengeId, TeamId},
};

/// An account that takes part, took part, or wants to.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Person {
    pub account: AccountId,
    pub name: String,
    /// `None`: in no team at the moment.
    pub team: Option<String>,
    pub team_id: Option<TeamId>,
    pub role: Option<Role>,
    /// `None`: an organizer put it into its team.
    pub state: Option<State>,
    /// Shown to the account.
    pub ban_reason: Option<String>,
    /// Names the terms that it accepted; `None`: there were none.
    pub terms_sha256: Option<String>,
    /// When it accepted the terms or asked, or was put into its team.
    pub since: Option<DateTime<Utc>>,
    /// Entries that it sent in, in all phases and teams of the challenge.
    pub entries: i64,
}

/// How many [`list`] gives at most.
pub const PAGE: usize = 200;

/// By name, those after `after`; only in this state, and whose name or team's name holds `words`.
pub async fn list(
    conn: &mut PgConnection,
    challenge: ChallengeId,
    state: Option<State>,
    words: &str,
    after: &str,
) -> sqlx::Result<Vec<Person>> {
    sqlx::query_as!(
        Person,
        r#"select a.id as "account: _", a.name, t.name as "team?", t.id as "team_id?: _", m.role as "role?: _",
                  p.state as "state?: _", p.ban_reason, p.terms_sha256, coalesce(p.accepted_at, m.joined_at) as since,
                  (select count(*) from submission s join phase h on h.id = s.phase_id
                   where s.account_id = a.id and h.challenge_id = $1) as "entries!"
           from account a
           left join participant p on p.account_id = a.id and p.challenge_id = $1
           left join membership m on m.account_id = a.id and m.challenge_id = $1
           left join team t on t.id = m.team_id
           where (p.account_id is not null or m.account_id is not null)
             and ($2::text is null or p.state = $2 or ($2 = 'joined' and p.state is null))
             and ($3 = '' or position(lower($3) in lower(a.name)) > 0 or position(lower($3) in lower(t.name)) > 0)
             and lower(a.name) > lower($4)
           order by lower(a.name) limit $5"#,
        challenge.0,
        state as _,
        words,
        after,
        PAGE as i64
    )
    .fetch_all(conn)
    .await
}

/// Takes an account out of its team and the challenge; it may ask to come back. Its entries stay with the team, which gets
/// another owner where it was the owner; a team that has neither members nor entries ends.
pub async fn remove(
    pool: &PgPool,
    challenge: ChallengeId,
    account: AccountId,
    reason: &str,
    by: &Actor,
) -> Result<(), TeamError> {
    let reason = checked(reason)?;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let name = name(&mut tx, account).await?;
    let team = super::of_account(&mut tx, challenge, account).await?;
    let known = sqlx::query_scalar!(
        r#"select state as "state: State" from participant where challenge_id = $1 and account_id = $2 for update"#,
        challenge.0,
        account.0
    )
    .fetch_optional(&mut *tx)
    .await?;
    if team.is_none() && !matches!(known, Some(State::Joined | State::Waiting)) {
        return Err(TeamError::NotTakingPart);
    }
    let mut bound = None;
    if let Some(team) = &team {
        let locked = lock(&mut tx, team.id).await?.ok_or(TeamError::NotTakingPart)?;
        let was = super::role(&mut tx, team.id, account).await?.ok_or(TeamError::NotTakingPart)?;
        sqlx::query!("delete from membership where team_id = $1 and account_id = $2", team.id.0, account.0)
            .execute(&mut *tx)
            .await?;
        let next = super::members(&mut tx, team.id).await?.into_iter().next();
        match next {
            Some(next) if was == Role::Owner => hand_over_in(&mut tx, team.id, next.account).await?,
            None if !locked.has_entries => {
                sqlx::query!("delete from team where id = $1", team.id.0).execute(&mut *tx).await?;
            }
            _ => {}
        }
        bound = locked.has_entries.then_some(team.id.0);
    }
    sqlx::query!(
        "insert into participant (challenge_id, account_id, state, bound_to, decided_by, decided_at)
         values ($1, $2, 'removed', $3, $4, now())
         on conflict (challenge_id, account_id) do update
         set state = case when participant.state = 'banned' then 'banned' else 'removed' end,
             bound_to = coalesce($3, participant.bound_to), decided_by = $4, decided_at = now(),
             wanted_name = null, wanted_team = null",
        challenge.0,
        account.0,
        bound,
        by.account().map(|id| id.0)
    )
    .execute(&mut *tx)
    .await?;
    let details = serde_json::json!({ "account": account, "team": team.map(|team| team.name) });
    audit::note(&mut tx, by, Act::of(challenge, "participant.remove", &name).because(reason).with(details)).await?;
    tx.commit().await?;
    tracing::info!(%account, %challenge, "an organizer removed somebody from a challenge");
    Ok(())
}

/// Bans an account from a challenge, or states another reason. It stays in its team and neither submits for it, nor joins
/// or accepts an invitation.
pub async fn ban(
    pool: &PgPool,
    challenge: ChallengeId,
    account: AccountId,
    reason: &str,
    by: &Actor,
) -> Result<(), TeamError> {
    let reason = checked(reason)?;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let name = name(&mut tx, account).await?;
    sqlx::query!(
        "insert into participant (challenge_id, account_id, state, ban_reason, decided_by, decided_at)
         values ($1, $2, 'banned', $3, $4, now())
         on conflict (challenge_id, account_id) do update
         set state = 'banned', ban_reason = $3, decided_by = $4, decided_at = now()",
        challenge.0,
        account.0,
        reason,
        by.account().map(|id| id.0)
    )
    .execute(&mut *tx)
    .await?;
    let details = serde_json::json!({ "account": account });
    audit::note(&mut tx, by, Act::of(challenge, "participant.ban", &name).because(reason).with(details)).await?;
    tx.commit().await?;
    tracing::info!(%account, %challenge, "an organizer banned somebody from a challenge");
    Ok(())
}

/// Takes a ban back: whoever waited waits again; the others may take part as before.
pub async fn unban(
    pool: &PgPool,
    challenge: ChallengeId,
    account: AccountId,
    reason: &str,
    by: &Actor,
) -> Result<(), TeamError> {
    let reason = checked(reason)?;
    let mut conn = pool.acquire().await?;
    let mut tx = conn.begin().await?;
    let name = name(&mut tx, account).await?;
    let known = sqlx::query!(
        "update participant set ban_reason = null, decided_by = $3, decided_at = now(),
             state = case when wanted_name is not null or wanted_team is not null then 'waiting'
                 when exists (select from membership where challenge_id = $1 and account_id = $2) then 'joined'
                 else 'removed' end
         where challenge_id = $1 and account_id = $2 and state = 'banned'",
        challenge.0,
        account.0,
        by.account().map(|id| id.0)
    );
    if known.execute(&mut *tx).await?.rows_affected() == 0 {
        return Err(TeamError::NotBanned);
    }
    let details = serde_json::json!({ "account": account });
    audit::note(&mut tx, by, Act::of(challenge, "participant.unban", &name).because(reason).with(details)).await?;
    tx.commit().await?;
    tracing::info!(%account, %challenge, "an organizer took a ban back");
    Ok(())
}

async fn name(conn: &mut PgConnection, account: AccountId) -> Result<String, TeamError> {
    Ok(account::get(conn, account).await?.ok_or(TeamError::NotTakingPart)?.name)
}

fn checked(reason: &str) -> Result<&str, TeamError> {
    audit::reason(reason).ok_or(TeamError::BadReason)
}
