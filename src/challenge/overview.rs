//! What an organizer sees first of a challenge: how much is there, and what waits for a word.

use serde::Serialize;
use sqlx::PgConnection;
use utoipa::ToSchema;

use super::Challenge;
use crate::ids::{ChallengeId, PhaseId};

/// How many wait for an organizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ToSchema)]
pub struct Waiting {
    /// Accounts that want to take part.
    pub requests: i64,
    /// Entries that are held and not withdrawn.
    pub held: i64,
    /// Objections that nobody has answered.
    pub objections: i64,
}

impl Waiting {
    pub fn any(self) -> bool {
        self != Waiting::default()
    }
}

/// The teams' entries of a phase by what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Entries {
    #[serde(skip)]
    pub phase: PhaseId,
    /// All that were sent in, withdrawn ones too.
    pub all: i64,
    /// Whose newest evaluation has a result.
    pub scored: i64,
    /// Queued or running.
    pub live: i64,
    pub failed: i64,
    /// Teams that sent one in.
    pub teams: i64,
}

/// The challenges with these ids, or all; newest first.
pub async fn challenges(conn: &mut PgConnection, own: Option<&[ChallengeId]>) -> sqlx::Result<Vec<Challenge>> {
    let mut all = super::list(conn).await?;
    all.retain(|challenge| own.is_none_or(|own| own.contains(&challenge.id)));
    Ok(all)
}

pub async fn waiting(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Waiting> {
    sqlx::query_as!(
        Waiting,
        r#"select (select count(*) from participant where challenge_id = $1 and state = 'waiting') as "requests!",
                  (select count(*) from submission s join phase p on p.id = s.phase_id
                   where p.challenge_id = $1 and s.organizer_status = 'held' and s.withdrawn_at is null) as "held!",
                  (select count(*) from objection o join submission s on s.id = o.submission_id
                   join phase p on p.id = s.phase_id
                   where p.challenge_id = $1 and o.closed_at is null and s.withdrawn_at is null) as "objections!""#,
        challenge.0
    )
    .fetch_one(conn)
    .await
}

/// Of every phase of a challenge, in no order.
pub async fn entries(conn: &mut PgConnection, challenge: ChallengeId) -> sqlx::Result<Vec<Entries>> {
    sqlx::query_as!(
        Entries,
        r#"select p.id as "phase: _", count(s.id) as "all!", count(*) filter (where e.state = 'scored') as "scored!",
                  count(*) filter (where e.state in ('queued', 'running')) as "live!",
                  count(*) filter (where e.state = 'failed') as "failed!", count(distinct s.team_id) as "teams!"
           from phase p left join submission s on s.phase_id = p.id and not s.own_images
           left join lateral
               (select state from evaluation where submission_id = s.id and official order by number desc limit 1) e on true
           where p.challenge_id = $1 group by p.id"#,
        challenge.0
    )
    .fetch_all(conn)
    .await
}
