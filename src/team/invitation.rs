//! Links that let accounts into a team.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Acquire, PgConnection};
use utoipa::ToSchema;

use super::{
    Right, TeamError,
    secret::{self, Secret},
};
use crate::{
    audit::{self, Act},
    ids::{AccountId, ChallengeId, InvitationId, TeamId},
};

/// An invitation in its team's list.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Invitation {
    pub id: InvitationId,
    /// Who made it.
    pub made_by: Option<String>,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    /// People who may still use it; `null`: any number until it expires.
    pub uses_left: Option<i32>,
    /// People who did.
    pub uses: i32,
}

/// Where a link leads.
#[derive(Debug, Clone)]
pub struct Target {
    pub id: InvitationId,
    pub team: TeamId,
    pub team_name: String,
    pub challenge: ChallengeId,
    pub challenge_slug: String,
    pub challenge_title: String,
}

/// For the audit log, where an organizer does it in the owner's place.
async fn note(
    conn: &mut PgConnection,
    right: &Right,
    team: TeamId,
    action: &'static str,
    id: InvitationId,
) -> sqlx::Result<()> {
    let Some(found) = super::get(conn, team).await? else { return Ok(()) };
    let details = serde_json::json!({ "team": team, "invitation": id });
    audit::note_power(conn, right.power(), Act::of(found.challenge, action, &found.name).with(details)).await
}

/// Makes a link for `uses` people (`None`: any number) that works so long; the secret is shown once.
pub async fn create(
    conn: &mut PgConnection,
    team: TeamId,
    by: AccountId,
    uses: Option<u16>,
    lifetime: Duration,
    right: &Right,
) -> Result<(InvitationId, Secret), TeamError> {
    let mut tx = conn.begin().await?;
    super::lock(&mut tx, team).await?;
    right.holds(&mut tx, team).await?;
    let (id, secret) = (InvitationId::new(), Secret::new(""));
    sqlx::query!(
        "insert into invitation (id, team_id, token_sha256, made_by, expires_at, uses_left)
         values ($1, $2, $3, $4, now() + make_interval(secs => $5), $6)",
        id.0,
        team.0,
        secret.sha256(),
        by.0,
        lifetime.as_secs_f64(),
        uses.map(i32::from)
    )
    .execute(&mut *tx)
    .await?;
    note(&mut tx, right, team, "team.invite", id).await?;
    tx.commit().await?;
    Ok((id, secret))
}

/// Those of a team that still work, newest first.
pub async fn list(conn: &mut PgConnection, team: TeamId) -> sqlx::Result<Vec<Invitation>> {
    sqlx::query_as!(
        Invitation,
        r#"select i.id as "id: _", a.name as "made_by?", i.created_at, i.expires_at, i.uses_left, i.uses
           from invitation i left join account a on a.id = i.made_by
           where i.team_id = $1 and i.revoked_at is null and i.expires_at > now() and i.uses_left is distinct from 0
           order by i.id desc"#,
        team.0
    )
    .fetch_all(conn)
    .await
}

/// Ends a link at once; false: the team has no such link.
pub async fn revoke(conn: &mut PgConnection, team: TeamId, id: InvitationId, right: &Right) -> Result<bool, TeamError> {
    let mut tx = conn.begin().await?;
    super::lock(&mut tx, team).await?;
    right.holds(&mut tx, team).await?;
    let done = sqlx::query!(
        "update invitation set revoked_at = coalesce(revoked_at, now()) where id = $1 and team_id = $2",
        id.0,
        team.0
    )
    .execute(&mut *tx)
    .await?;
    let known = done.rows_affected() == 1;
    if known {
        note(&mut tx, right, team, "team.revoke_invitation", id).await?;
    }
    tx.commit().await?;
    Ok(known)
}

/// Where a link leads, locked until the transaction ends so that its last use is one; `None`: unknown, used up, revoked or
/// expired.
pub async fn find(conn: &mut PgConnection, key: &str) -> sqlx::Result<Option<Target>> {
    sqlx::query_as!(
        Target,
        r#"select i.id as "id: _", t.id as "team: _", t.name as team_name, c.id as "challenge: _",
                  c.slug as challenge_slug, c.title as challenge_title
           from invitation i join team t on t.id = i.team_id join challenge c on c.id = t.challenge_id
           where i.token_sha256 = $1 and i.revoked_at is null and i.expires_at > now()
             and i.uses_left is distinct from 0
           for update of i"#,
        secret::digest(key)
    )
    .fetch_optional(conn)
    .await
}

/// Counts one person in.
pub(super) async fn used(conn: &mut PgConnection, id: InvitationId) -> sqlx::Result<()> {
    sqlx::query!("update invitation set uses = uses + 1, uses_left = uses_left - 1 where id = $1", id.0)
        .execute(conn)
        .await?;
    Ok(())
}
